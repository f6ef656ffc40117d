"""Sweep store: the folder of a sweep: a folder for the run of each level, and `sweep.json`: what was asked and found.

Formats of `sweep.json`:
    1   first one
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quark_bench.errors import RunNotFoundError, describe
from quark_bench.parts import own_file
from quark_bench.redact import redact_data
from quark_bench.store import new_folder, replace_text

SWEEP = "sweep.json"
FORMAT = 1
LARGEST = 64_000_000
"""Bytes; a sweep of a hundred levels has a hundredth of them."""


def new_sweep(out: str | Path, name: str) -> Path:
    """Make the folder of a new sweep below `out`. Raises ExecutionError if it cannot."""
    return new_folder(out, f"sweep-{name}")


def find_sweep(named: str | Path, out: str | Path) -> Path:
    """The folder of a sweep given by path, by id below `out`, or as `last`. Raises RunNotFoundError."""
    there = sorted(path.parent for path in Path(out).glob(f"*/{SWEEP}"))
    if str(named) == "last" and there:
        return there[-1]
    for path in (Path(named), Path(out) / named):
        if path in there or (path / SWEEP).is_file():
            return path
    newest = f"; the newest is {there[-1].name}" if there else "; make one with: quark-bench sweep PROMPTS"
    raise RunNotFoundError(f"no sweep {str(named)!r}, neither a folder with a {SWEEP} nor an id in {out}{newest}")


def read_sweep(path: Path) -> dict[str, Any]:
    """What `sweep.json` says. Raises RunNotFoundError for one that is damaged, or of an unknown format."""
    try:
        told = json.loads(own_file(path / SWEEP, LARGEST).read_text("utf-8"))
        version = told["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunNotFoundError(f"{path / SWEEP} cannot be read: {describe(error, 300)}") from error
    if type(version) is not int or version != FORMAT:
        raise RunNotFoundError(f"{path} is of format {version}, this quark-bench reads format {FORMAT}")
    return dict(told)


def write_sweep(path: Path, told: Mapping[str, Any]) -> None:
    """Replace `sweep.json` as a whole; no secret stands in it."""
    replace_text(path / SWEEP, json.dumps(redact_data({"format": FORMAT, **told}), indent=1, ensure_ascii=False))
