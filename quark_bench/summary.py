"""Summary: a run as plain data, for programs."""

from __future__ import annotations

from typing import Any

from quark_bench.measures import measures_as_data
from quark_bench.report.scoring import scored
from quark_bench.run import REPORT, Run
from quark_bench.slo import slo_as_data


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
                "answers_differ_prompts": list(each.answers_differ),
                "went_sequential": dict(zip((each.a, each.b), each.went_sequential, strict=True)),
            }
            for each in run.findings.comparisons
        ],
        "blame": None if run.findings.blame is None else run.findings.blame.as_data(),
        "discrimination": [each.as_data() for each in run.findings.discriminations],
        "scoring": {name: sums.as_data() for name, sums in scored(run.findings).items()},
        "breakers": list(run.findings.breakers),
        "model_limits": list(run.findings.rations),
        "budget": run.manifest.get("budget"),
        "arrivals": [each.as_data() for each in run.arrivals],
        "gate": run.manifest.get("gate"),
        "slos": [slo_as_data(result) for result in run.slos],
        "report": str(run.path / REPORT) if (run.path / REPORT).is_file() else None,
    }


def _ratio(ratio: Any) -> dict[str, Any]:
    return {"value": ratio.value, "low": ratio.low, "high": ratio.high, "n": ratio.n, "note": ratio.note}
