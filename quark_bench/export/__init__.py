"""Export: a run in the files that other tools read, a part of its tables in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from quark_bench.export.chrome import export_chrome
from quark_bench.export.inspect import export_inspect
from quark_bench.export.kept import Kept
from quark_bench.export.tables import export_csv, export_parquet

__all__ = ["FORMATS", "Kept"]

FORMATS: Mapping[str, Callable[[Kept, Path], Sequence[Path]]] = {
    "inspect": export_inspect,
    "chrome": export_chrome,
    "csv": export_csv,
    "parquet": export_parquet,
}
"""By name what writes a run to a path, and gives the files that it wrote. Raises ExecutionError where it cannot."""
