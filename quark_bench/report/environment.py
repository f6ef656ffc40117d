"""Environment: what differs between the arms of a run, and between a gate's run and its stored baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quark_bench.arrivals import arrivals_of
from quark_bench.report.findings import Findings
from quark_bench.units import COUNT


@dataclass(frozen=True, slots=True)
class Facts:
    """One fact under each heading, as text; `differ` where they are not all equal."""

    label: str
    values: tuple[str, ...]

    @property
    def differ(self) -> bool:
        return len(set(self.values)) > 1


def between_arms(findings: Findings) -> list[Facts]:
    """How each arm was run; empty for a run of one arm."""
    arms = findings.manifest["arms"]
    if len(arms) < 2:
        return []
    arrivals = [arrivals_of(arm) or "" for arm in arms]
    sizes = findings.manifest.get("granularity", {}).get("chunk_size", {})
    by_arm = {arm["name"]: _counted(findings, arm["name"]) for arm in arms}
    labels = ("blocks", "sessions", "workers that answered")
    return [
        Facts("strategy", tuple(str(arm["strategy"]) for arm in arms)),
        Facts("prompts in flight", tuple(COUNT.format(arm["in_flight"]) for arm in arms)),
        *([Facts("arrivals", tuple(map(str, arrivals)))] if any(arrivals) else []),
        Facts("pipeline key", tuple(str(arm.get("pipeline_key", ""))[:12] or "n/a" for arm in arms)),
        Facts("chunk size", tuple(COUNT.format(sizes.get(arm["name"])) for arm in arms)),
        *(Facts(label, tuple(by_arm[arm["name"]][label] for arm in arms)) for label in labels),
    ]


def beside_baseline(manifest: Mapping[str, Any]) -> list[Facts]:
    """Where the stored baseline of a gate was measured and where its candidate was; empty for other runs."""
    then, now = (manifest.get("gating") or {}).get("provenance"), manifest["provenance"]
    if not then:
        return []
    names = dict.fromkeys((*then, *now))
    return [Facts(str(name), tuple(str(side.get(name, "n/a")) for side in (then, now))) for name in names]


def _counted(findings: Findings, arm: str) -> dict[str, str]:
    records = findings.trials.records(["session", "block", "worker"], arm)
    counts = {
        "blocks": len(records[["session", "block"]].drop_duplicates()),
        "sessions": records["session"].nunique(),
        "workers that answered": records["worker"].nunique(),
    }
    return {name: COUNT.format(count) for name, count in counts.items()}
