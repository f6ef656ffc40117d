"""Resume: what an earlier session of a run left, and whether it may be continued."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quark_bench import store
from quark_bench.comparable import scored_by
from quark_bench.errors import UsageError
from quark_bench.layout import Layout
from quark_bench.manifest import Manifest
from quark_bench.provenance import NOBODY, is_alive, this_client


def continued(path: Path, fresh: Manifest) -> Manifest:
    """The manifest of the run's next session; `fresh` is what a new run with the given options would have.

    Raises UsageError for a run that is complete, or naming what has changed since it began.
    """
    begun = store.read_manifest(path)
    if begun["state"] == "running" and is_alive(begun.get("client", NOBODY)):
        raise UsageError(
            f"{path} is being carried out by process {begun['client']['pid']}; wait for it, or end it first"
        )
    weighed = not begun.get("gating") or begun.get("gate")  # else its verdict is what is missing
    if begun["state"] == "complete" and weighed:
        raise UsageError(f"{path} is complete; look at it with: quark-bench show {path}")
    if "takers" in begun["granularity"]:
        raise UsageError(f"{path} was begun by an earlier version, which cut its chunks otherwise; begin a new run")
    changed = [name for name, now in _identity(fresh).items() if _identity(begun)[name] != now]
    if changed:
        raise UsageError(
            f"{path} cannot be continued: {', '.join(changed)} changed since it began; "
            "restore what it was, or begin a new run without --resume"
        )
    now = {"client": this_client(), "state": "running", "session": begun["session"] + 1, "ended": None}
    return begun | now | {"budget": fresh.get("budget") or begun.get("budget")}


def _identity(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What two sessions of one run must share, by the name a person knows it under."""
    return {
        "the data set": manifest["dataset"]["hash"],
        "the pipeline's code": {arm["name"]: arm["pipeline_key"] for arm in manifest["arms"]},
        "the arms": [(arm["name"], arm["strategy"], arm["in_flight"], arm.get("arrivals")) for arm in manifest["arms"]],
        "the repeats": manifest["repeats"],
        "the seed": manifest["seed"],
        "the latency profile": manifest["pipeline"]["latency_profile"],
        "what it learns in": manifest["pipeline"].get("learns_in"),
        "the model": manifest["pipeline"]["model"],
        "the scores": scored_by(manifest),
        "the chaos": manifest.get("chaos"),
        "the cache": (manifest.get("cache") or {}).get("file"),
    }


def continuing(manifest: Mapping[str, Any], path: Path) -> str:
    """The command that continues the run."""
    return f"quark-bench {'gate' if manifest.get('gating') else 'run'} --resume {path}"


def layout_of(manifest: Manifest) -> Layout:
    """The borders of blocks and chunks as the first session drew them: never from a new calibration."""
    return Layout.of_data(manifest["granularity"])
