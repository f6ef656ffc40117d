"""Public test doubles: what stands in for a model server in tests, notebooks and trials of a client.

from quark_bench.testing import Fault, Law, ModelServer, RateLimit

with ModelServer(first_token_s=0.1, between_tokens_s=0.01, tokens=20) as server:
    ...  # any OpenAI-compatible client, at server.base_url
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quark_bench.testing.faults import Fault
    from quark_bench.testing.laws import Law
    from quark_bench.testing.limits import RateLimit
    from quark_bench.testing.model_server import ModelServer
    from quark_bench.testing.sustained import sustained_rps

__all__ = ["Fault", "Law", "ModelServer", "RateLimit", "sustained_rps"]

_HOMES = {
    "Fault": "faults",
    "Law": "laws",
    "ModelServer": "model_server",
    "RateLimit": "limits",
    "sustained_rps": "sustained",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: the process of a server loads only what it needs."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
