"""Baseline: what a session of pytest-benchmark was compared with, where pytest-benchmark itself does not look."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from quark_bench.pytest_plugin.feeding import is_ours

CLOCK = ("hz_actual", "hz_actual_friendly")
"""Of the CPU: what its clock happened to be when it was asked."""


def missing(
    baseline: Mapping[str, Mapping[str, Any]],
    fed: Collection[str],
    passed: Collection[str],
    covered: Callable[[str], bool],
    collected: Collection[str],
) -> list[str]:
    """Benchmarks of ours that are in the baseline and were not measured though nothing was left out on purpose.

    All are node ids. One that `passed` fed nothing; one that is not among the `collected`, though its file was
    `covered`, was deleted or renamed. What was deselected, skipped or failed is told by pytest itself.
    """

    def lost(name: str) -> bool:
        return name in passed or (name not in collected and covered(name.partition("::")[0]))

    return sorted(name for name, each in baseline.items() if is_ours(each) and name not in fed and lost(name))


def covers(root: Path, given: Collection[Path], collected: Collection[str]) -> Callable[[str], bool]:
    """Whether a file, named from the root, was collected; or was deleted, where its folder was given to collect."""

    def covered(file: str) -> bool:
        path = root / file
        return file in collected or (not path.exists() and any(folder in path.parents for folder in given))

    return covered


def same_clock(now: Mapping[str, Any], then: Mapping[str, Any]) -> None:
    """Write today's reading of the CPU's clock over the baseline's: that it moved makes no other machine."""
    today, before = now.get("cpu"), then.get("cpu")
    if isinstance(today, dict) and isinstance(before, dict):
        before.update({name: today[name] for name in CLOCK if name in today and name in before})


def differences(now: Mapping[str, Any], then: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """What differs between two machines, a few words for each field."""
    for name in sorted({*now, *then}):
        today, before = now.get(name), then.get(name)
        if isinstance(today, dict) and isinstance(before, dict):
            yield from differences(today, before, f"{within}{name}.")
        elif json.dumps(today, default=str) != json.dumps(before, default=str):
            yield f"{within}{name} is {today}, was {before}"


def has_location(storage: Any) -> bool:
    """Whether pytest-benchmark can name the place of its files: not so where that is beyond the working folder."""
    try:
        return bool(storage.location)
    except ValueError:
        return False
