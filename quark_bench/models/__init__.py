"""Models: how text is generated. Each is one file that fills the Model protocol of `quark_bench.agent`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from quark_bench.agent import Model
from quark_bench.errors import UsageError
from quark_bench.models.offline import OfflineReader

MODELS: Mapping[str, Callable[[], Model]] = {"offline": OfflineReader}
"""How each model is made, by the name that `--model` gives it."""


def make_model(spec: str) -> Model:
    """The model that `spec` names. Raises UsageError, naming the known, for one that is not built in."""
    if spec not in MODELS:
        raise UsageError(f"unknown model {spec!r}; built in so far: {', '.join(MODELS)}")
    return MODELS[spec]()
