"""Run data: a run as plain data, as its manifest keeps it and `--json` prints it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from quark_bench.measures import Measure
from quark_bench.report.scoring import scored

if TYPE_CHECKING:
    from quark_bench.run import Run

REPORT = "report.html"


def summary(run: Run) -> dict[str, Any]:
    """What `--json` prints: plain data, every measure with unit and interval."""
    return {
        "run_id": run.manifest["run_id"],
        "path": str(run.path),
        "state": run.manifest["state"],
        "conservation": run.manifest["conservation"],
        "granularity": run.manifest["granularity"],
        "latency_profile": run.manifest["pipeline"]["latency_profile"],
        "learns_in": (learns_in := run.manifest["pipeline"].get("learns_in")),
        "comparable": learns_in is None,
        "chaos": run.manifest.get("chaos"),
        "cache": run.manifest.get("cache"),
        "measures": {arm: measures_as_data(found) for arm, found in run.measures.items()},
        "comparisons": [
            {
                "a": each.a,
                "b": each.b,
                "latency": _ratio(each.latency),
                "throughput": _ratio(each.throughput),
                "pairs": each.pairs,
                "lost_pairs": each.lost_pairs,
                "mde": each.mde,
                "answers_differ": each.answers_differ_count,
                "went_sequential": dict(zip((each.a, each.b), each.went_sequential, strict=True)),
            }
            for each in run.findings.comparisons
        ],
        "scoring": {name: sums.as_data() for name, sums in scored(run.findings).items()},
        "breakers": list(run.findings.breakers),
        "model_limits": list(run.findings.rations),
        "budget": run.manifest.get("budget"),
        "gate": run.manifest.get("gate"),
        "slos": [{"text": r.slo.text, "value": r.value, "met": r.met, "given": r.given} for r in run.slos],
        "report": str(run.path / REPORT) if (run.path / REPORT).is_file() else None,
    }


def measures_as_data(measures: Mapping[str, Measure]) -> dict[str, dict[str, Any]]:
    """Measures as JSON-able data."""
    return {
        name: {"value": m.value, "low": m.low, "high": m.high, "unit": m.unit.name, "note": m.note}
        for name, m in measures.items()
    }


def weighed(run: Run) -> dict[str, Any]:
    """What a manifest says of a run's measures and objectives."""
    return {
        "measures": {arm: measures_as_data(found) for arm, found in run.measures.items()},
        "slo_results": [{"text": each.slo.text, "met": each.met, "given": each.given} for each in run.slos],
    }


def _ratio(ratio: Any) -> dict[str, Any]:
    return {"value": ratio.value, "low": ratio.low, "high": ratio.high, "n": ratio.n, "note": ratio.note}
