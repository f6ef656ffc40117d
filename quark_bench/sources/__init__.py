"""Sources: files of several formats, each read into a Dataset."""

from __future__ import annotations

import difflib
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from quark_bench.dataset import Dataset, Digest, Fields, Prompt
from quark_bench.errors import DataError
from quark_bench.sources.cells import jsonable
from quark_bench.sources.csv import csv_rows
from quark_bench.sources.fields import fields_beside, read_fields, takes_of
from quark_bench.sources.files import ending, is_packed, unpacked_bytes
from quark_bench.sources.json import json_rows
from quark_bench.sources.jsonl import jsonl_rows
from quark_bench.sources.parquet import parquet_bytes, parquet_rows
from quark_bench.sources.rows import Row, prompts_of
from quark_bench.sources.spool import Told, spooled
from quark_bench.sources.yaml import yaml_rows

FORMATS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": jsonl_rows,
    ".ndjson": jsonl_rows,
    ".json": json_rows,
    ".csv": partial(csv_rows, separator=","),
    ".tsv": partial(csv_rows, separator="\t"),
    ".parquet": parquet_rows,
    ".yaml": yaml_rows,
    ".yml": yaml_rows,
}
"""How a file is read, by its ending."""
LARGEST_IN_MEMORY = 16_000_000
"""Bytes, unpacked, of a file whose prompts are held; those of a larger one are read back from a temporary file."""


def read_dataset(path: str | Path, *, fields: Fields | None = None, fields_file: str | Path | None = None) -> Dataset:
    """Read a prompt file, its format told by its ending: JSONL, JSON, CSV, TSV, Parquet or YAML, all but Parquet also
    packed by gzip.

    `fields` tells where a prompt's fields are taken from (`{"text": "question"}`); the others are told by
    `fields_file`, or by the TOML file beside the prompts; one that nobody tells takes the column of its own name, and
    columns that no field takes become metadata. Raises UsageError for a field that prompts do not have, DataError with
    file and row for anything wrong in a file.
    """
    takes_of(fields or {})  # first: a wrong option is told before a missing file
    told = fields_beside(Path(path)) if fields_file is None else read_fields(fields_file)
    return read_mapped(path, {**told, **(fields or {})})


def read_mapped(path: str | Path, fields: Fields) -> Dataset:
    """The same where all fields are told, as those of a data set that was read before: no other file is looked at."""
    file, fields = Path(path), jsonable(fields)
    takes_of(fields)
    rows_of = _format_of(file)

    def read(*watches: Callable[[str], bool]) -> Iterator[Told]:
        return prompts_of(str(file), rows_of(file), fields, *watches)

    try:
        prompts, digest = spooled(read) if _size(file, LARGEST_IN_MEMORY) > LARGEST_IN_MEMORY else _held(read())
        return Dataset.of_unique(prompts, file.name, origin=file.resolve(), fields=fields, digest=digest)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}; check its permissions and the disk") from None


def read_frame(frame: Any, name: str, *, fields: Fields | None = None) -> Dataset:
    """The rows of a pandas DataFrame, taken like those of a file."""
    from quark_bench.sources.frame import frame_rows

    fields = jsonable(fields or {})
    prompts, digest = _held(prompts_of(name, frame_rows(name, frame), fields))
    return Dataset.of_unique(prompts, name, fields=fields, digest=digest)


def _held(told: Iterable[Told]) -> tuple[Sequence[Prompt], Digest]:
    """The prompts, in memory, and what is known of them."""
    digest, prompts = Digest(), []
    for prompt, content in told:
        digest.add(prompt, content)
        prompts.append(prompt)
    return tuple(prompts), digest


def read_bounded(path: str, fields: Fields, most_bytes: int) -> Dataset:
    """The same for a path that somebody else wrote down: only an ordinary file of at most so many bytes, unpacked too.

    Raises DataError for anything else: a pipe or a device would never end.
    """
    file = Path(path)
    try:
        about = file.stat()
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be looked at: {error}; check the path") from None
    if not stat.S_ISREG(about.st_mode) or _size(file, most_bytes) > most_bytes:
        raise DataError(f"{file}: no ordinary file of at most {most_bytes:,} bytes; name the prompt file itself")
    return read_mapped(file, fields)


def _size(file: Path, most: int) -> int:
    """Bytes of the file, unpacked, or more than `most`."""
    unpacked = unpacked_bytes(file, most)
    return max(unpacked, parquet_bytes(file)) if ending(file) == ".parquet" else unpacked


def _format_of(file: Path) -> Callable[[Path], Iterator[Row]]:
    """The reader of this file. Raises DataError where there is no file to read or none that can be."""
    if not file.exists():
        raise DataError(f"{file}: no such file; {_hint(file)}")
    if file.is_dir():
        inside = sorted(entry.name for entry in file.iterdir() if ending(entry) in FORMATS)
        hint = f"name a file in it: {', '.join(inside[:5])}" if inside else "name a prompt file"
        raise DataError(f"{file}: a folder, not a file; {hint}")
    if ending(file) not in FORMATS:
        raise DataError(
            f"{file}: the ending {file.suffix!r} tells no format; "
            f"save the prompts as one of {', '.join(FORMATS)} (one prompt a line or a row)"
        )
    if is_packed(file) and ending(file) == ".parquet":
        raise DataError(f"{file}: Parquet is packed inside; unpack the file: gunzip {shlex.quote(file.name)}")
    return FORMATS[ending(file)]


def _hint(missing: Path) -> str:
    """What may have been meant by a path that does not exist."""
    folder = missing.parent
    if not folder.is_dir():
        return f"nor is there a folder {folder}"
    names = sorted(entry.name for entry in folder.iterdir() if ending(entry) in FORMATS)
    close = difflib.get_close_matches(missing.name, names, 1, cutoff=0.5)
    if close:
        return f"did you mean {folder / close[0]}?"
    return f"prompt files there: {', '.join(names[:5])}" if names else "no prompt file is in that folder"
