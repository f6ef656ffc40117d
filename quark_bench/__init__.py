"""quark-bench: benchmark and evaluate pipelines of agents over files of prompts, on Dask.

from quark_bench import Dataset, Pipeline, agent, bench
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from quark_bench.dataset import Dataset
from quark_bench.display import Displayed

if TYPE_CHECKING:
    from quark_bench.agent import Agent, Call, agent
    from quark_bench.arrivals import Arrivals
    from quark_bench.bench import bench
    from quark_bench.dataset import Prompt
    from quark_bench.errors import QuarkBenchError
    from quark_bench.gate import Gate, gate
    from quark_bench.live_trial import Answer
    from quark_bench.model import Model, Reply
    from quark_bench.models import openai_model
    from quark_bench.orchestrator import AsyncOrchestrator
    from quark_bench.pipeline import Pipeline
    from quark_bench.plan import Arm, Strategy
    from quark_bench.policy import Breaker, Policy
    from quark_bench.routing import Router
    from quark_bench.run import Run
    from quark_bench.sweep import Sweep, sweep
    from quark_bench.synchronous import Orchestrator

__all__ = [
    "Agent",
    "Answer",
    "Arm",
    "Arrivals",
    "AsyncOrchestrator",
    "Breaker",
    "Call",
    "Dataset",
    "Gate",
    "Model",
    "Orchestrator",
    "Pipeline",
    "Policy",
    "Prompt",
    "QuarkBenchError",
    "Reply",
    "Router",
    "Run",
    "Strategy",
    "Sweep",
    "agent",
    "bench",
    "gate",
    "openai_model",
    "sweep",
]

_HOMES = {
    "Agent": "agent",
    "Answer": "live_trial",
    "Arm": "plan",
    "Arrivals": "arrivals",
    "AsyncOrchestrator": "orchestrator",
    "Breaker": "policy",
    "Call": "agent",
    "Gate": "gate",
    "Model": "model",
    "Orchestrator": "synchronous",
    "Pipeline": "pipeline",
    "Policy": "policy",
    "Prompt": "dataset",
    "QuarkBenchError": "errors",
    "Reply": "model",
    "Router": "routing",
    "Run": "run",
    "Strategy": "plan",
    "Sweep": "sweep",
    "agent": "agent",
    "bench": "bench",
    "gate": "gate",
    "openai_model": "models",
    "sweep": "sweep",
}


def _forms(thing: object) -> Mapping[str, str]:
    from quark_bench.notebook import forms

    return forms(thing)


def _read(*arguments: Any, **options: Any) -> Dataset:
    from quark_bench.sources import read_dataset

    return read_dataset(*arguments, **options)


def _read_frame(*arguments: Any, **options: Any) -> Dataset:
    from quark_bench.sources import read_frame

    return read_frame(*arguments, **options)


# The things' layer knows no file format and no notebook; this door lends it both, loaded when they are first used.
Dataset.reader = staticmethod(_read)
Dataset.frame_reader = staticmethod(_read_frame)
Displayed.forms = staticmethod(_forms)


class _Package(ModuleType):
    """Keeps `quark_bench.agent` and `quark_bench.bench` the functions: importing a submodule sets its name here."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
for _name in _HOMES.keys() & globals().keys():
    del globals()[_name]  # set by the imports above, before the class was


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing the package stays fast."""
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def _version() -> str:
    """The installed version; `unknown` where the package is imported from a folder that was never installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("quark-bench")
    except PackageNotFoundError:
        return "unknown"


def __dir__() -> list[str]:
    return sorted(__all__)
