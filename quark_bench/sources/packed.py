"""The data files that come with quark-bench: inside the wheel, or beside the package in a checkout."""

from __future__ import annotations

from pathlib import Path

from quark_bench.errors import DataError


def packed_file(name: str) -> Path:
    """Path of a file of `datasets/`, from whatever folder the program was started.

    Raises DataError when the installation lacks it.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "datasets", package.parent / "datasets"):
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{name} is missing from this installation of quark-bench; install it again")
