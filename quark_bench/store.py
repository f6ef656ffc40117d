"""Store: a run's directory. Appended to by one writer, readable by anyone at any moment.

Reading executes nothing: no pickle is ever stored, and no file is opened that is not an ordinary one inside the
directory.

Formats of the directory:
    1   first one
    2   calls/: one row per question to a model; spans tell waited_s, and the outputs of agents that are scored; scores
        tell order_bias, and have no value where a record could not be judged
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quark_bench.errors import ExecutionError, RunNotFoundError, UsageError, describe
from quark_bench.parts import (
    MEASURED,
    PLACE_FIELDS,
    SCHEMAS,
    SCORES,
    list_parts,
    list_tables,
    next_number,
    own_file,
    part_number,
    replace_file,
    write_part,
)
from quark_bench.record import CLOCKS, Batch, Columns
from quark_bench.redact import redact_data, redact_known
from quark_bench.shape import check_manifest

FORMAT = 2
READABLE = (1, 2)
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 64_000_000
"""Bytes; the manifest of a thousand arms has fewer."""
WRITE_EVERY_S = 1.0
LARGEST_PART = 50_000
"""Spans; a part is read as a whole."""
TRIAL = ("arm", "repeat", "prompt_id")
"""Columns that say which trial a score belongs to."""
TOLD = frozenset({"answer", "error", "output", "reply", "finish_reason"})
"""Columns that agents fill with what they like."""


def new_run(out: str | Path, name: str) -> Path:
    """Make the directory of a new run below `out`, with room for its tables. Raises ExecutionError if it cannot."""
    path = new_folder(out, name)
    for kind in SCHEMAS:
        (path / kind).mkdir()
    return path


def new_folder(out: str | Path, name: str) -> Path:
    """Make a new folder below `out`; its name sorts by time. Raises ExecutionError if it cannot."""
    stem = (
        f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')[:20].strip('-') or 'run'}"
    )
    for suffix in ("", *(f"-{n}" for n in range(2, 100))):
        path = Path(out) / (stem + suffix)
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if not Path(out).is_dir():
                break
            continue
        except OSError as error:
            raise ExecutionError(f"{path} cannot be made: {error.strerror}; choose a folder with --out") from error
        return path
    raise ExecutionError(f"no run can be made below {out}; choose another folder with --out")


def check_out(out: str | Path) -> None:
    """Raise UsageError where no run could be kept below `out`, before any work is done for one."""
    place = next(folder for folder in (Path(out), *Path(out).resolve().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise UsageError(f"--out {out}: {place} is no folder that can be written to; choose another")


def find_run(named: str | Path, out: str | Path = "reports") -> Path:
    """The directory of a run given by path, by id below `out`, or as `last`. Raises RunNotFoundError."""
    runs = list_runs(out)
    if str(named) == "last":
        if not runs:
            raise RunNotFoundError(f"there are no runs in {out}; make one with: quark-bench run PROMPTS")
        return runs[-1]
    for path in (Path(named), Path(out) / named):
        if _is_there(path):
            return path
    newest = f"; the newest is {runs[-1].name}" if runs else ""
    raise RunNotFoundError(f"no run {str(named)!r}, neither a folder with a {MANIFEST} nor an id in {out}{newest}")


def _is_there(path: Path) -> bool:
    try:
        return (path / MANIFEST).exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def list_runs(out: str | Path) -> list[Path]:
    """The runs below a folder, oldest first."""
    return sorted(path.parent for path in Path(out).glob(f"*/{MANIFEST}"))


def read_manifests(out: str | Path) -> Iterator[tuple[Path, dict[str, Any] | None]]:
    """The runs below a folder, oldest first, each with its manifest, or None where it cannot be read."""
    for path in list_runs(out):
        try:
            yield path, read_manifest(path)
        except RunNotFoundError:
            yield path, None


def read_manifest(path: Path) -> dict[str, Any]:
    """A run's manifest. Raises RunNotFoundError for one that is damaged, of an unknown format, or no such thing."""
    try:
        manifest = json.loads(own_file(path / MANIFEST, LARGEST_MANIFEST).read_text("utf-8"))
        version = manifest["format"]
        json.dumps(manifest, ensure_ascii=False).encode()  # half a surrogate pair could not be written again
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunNotFoundError(f"{path / MANIFEST} cannot be read: {describe(error, 300)}") from error
    if type(version) is not int or version not in READABLE:
        raise RunNotFoundError(
            f"{path} is of format {version}, this quark-bench reads formats up to {FORMAT}; "
            "use the version that wrote it"
        )
    try:
        check_manifest(manifest)
    except (ValueError, UsageError) as error:
        raise RunNotFoundError(
            f"{path / MANIFEST} cannot be read: {error}; it is damaged or was not made here"
        ) from None
    if linked := [kind for kind in SCHEMAS if (path / kind).is_symlink()]:
        raise RunNotFoundError(f"{path / linked[0]} is a link: a run's tables stand in its own folder; copy them there")
    return dict(manifest)


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    """Replace the manifest as a whole; no secret stands in it."""
    text = json.dumps(redact_data(manifest), indent=1, ensure_ascii=False)
    replace_text(path / MANIFEST, text)


def replace_text(path: Path, text: str) -> None:
    """Write a text file as a whole: readers see the old one or the new one."""
    replace_file(path, lambda place: place.write_text(text, "utf-8", "replace"))


def scored_trials(path: Path, scorers: Collection[str] | None = None) -> set[tuple[str, int, str]]:
    """Arm, repeat and prompt id of the trials that have been scored, by any of these scorers or by any at all."""
    by = None if scorers is None else pc.field("scorer").isin(pa.array(list(scorers), pa.string()))
    scores = list_tables(path).scores.read(TRIAL, by)
    return set(zip(*(scores[name] for name in TRIAL), strict=True))


def forget_blocks(path: Path, blocks: Collection[int]) -> None:
    """Take these blocks out of a run that nobody is writing to, so that they are made anew.

    Scores first, which nothing tells from those of the trials to come; then records, for what stands without records
    counts as not written. Raises ExecutionError where it cannot be written.
    """
    within = pc.field("block").isin(pa.array(list(blocks), pa.int32()))
    trials = list_tables(path).records.read(TRIAL, within)
    _keep(path, "scores", lambda table: _outside(table, trials))
    for kind in reversed(MEASURED):
        _keep(path, kind, lambda table: table.filter(~within))


def forget_scores(path: Path, scorers: Collection[str]) -> None:
    """Take the scores of these scorers out of a run. Raises ExecutionError where it cannot be written."""
    theirs = pc.field("scorer").isin(pa.array(list(scorers), pa.string()))
    _keep(path, "scores", lambda table: table.filter(~theirs))


def _keep(path: Path, kind: str, chosen: Callable[[pa.Table], pa.Table]) -> None:
    """Write those parts of a table again that lose rows. Their numbers stay: records and spans go by pairs."""
    for part in list_parts(path, kind):
        table = pq.read_table(part, schema=SCHEMAS[kind])
        kept = chosen(table)
        if len(kept) < len(table):
            write_part(path / kind, kept, part_number(part))


def _outside(scores: pa.Table, trials: pd.DataFrame) -> pa.Table:
    """The scores of other trials."""
    forgotten = set(zip(*(trials[name] for name in TRIAL), strict=True))
    keys = zip(*(scores[name].to_pylist() for name in TRIAL), strict=True)
    return scores.filter(pa.array([key not in forgotten for key in keys], pa.bool_()))


def write_scores(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write score rows, each in the order of the SCORES schema, as one part."""
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(SCORES)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCORES, strict=True)]
    write_part(path / "scores", pa.Table.from_arrays(arrays, schema=SCORES), next_number(path / "scores"))


class RunWriter:
    """Appends the batches of one session to a run's directory. Used as a context manager.

    Clocks become offsets from `origin_s`, this process's monotonic clock at the session's start. Chunks that
    arrived since the last write form one part, written each second, sooner when there are many spans, or at once where
    prompts last longer.
    """

    def __init__(self, path: Path, session: int, origin_s: float) -> None:
        self.path = path
        self._session = session
        self._origin_s = origin_s
        self._held: dict[str, list[pa.Table]] = {kind: [] for kind in MEASURED}
        self._written_s = time.monotonic()
        self._writing = threading.RLock()
        self._closed = threading.Event()
        self._keeper = threading.Thread(target=self._keep_writing, name="quark-bench-writer", daemon=True)
        _drop_unpaired(path)
        self._number = max(next_number(path / kind) for kind in MEASURED)
        written = list_tables(path).records.read(["arm", "block", "chunk"])
        self.finished_trials = dict(Counter(written["arm"]))
        self._finished = set(zip(written["block"], written["chunk"], strict=True))

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self.write()

    def _keep_writing(self) -> None:
        """What has arrived is written also while nothing more arrives: the next prompts may take an hour. A disk that
        is full is told of by the next write of the run itself."""
        while not self._closed.wait(WRITE_EVERY_S):
            with contextlib.suppress(ExecutionError):
                self.write()

    def finished_chunks(self, block: int) -> set[int]:
        """Numbers of the chunks of a block that are written or held: each is taken in once."""
        return {chunk for of, chunk in self._finished if of == block}

    def append(self, batch: Batch) -> None:
        """Take in a chunk's rows; a chunk that is there already is dropped."""
        if (batch.block, batch.chunk) in self._finished:
            return
        self._finished.add((batch.block, batch.chunk))
        shift_s = batch.clock_offset_s - self._origin_s
        place = (self._session, batch.arm, batch.repeat, batch.block, batch.chunk)
        rows = {"calls": batch.calls, "spans": batch.spans, "records": batch.records}
        tables = {kind: _table(SCHEMAS[kind], rows[kind], place, shift_s) for kind in MEASURED}
        with self._writing:
            for kind, table in tables.items():
                self._held[kind].append(table)
            held = sum(map(len, self._held["spans"]))
        late = time.monotonic() - self._written_s >= WRITE_EVERY_S
        if late or held >= LARGEST_PART or max(batch.records["latency_s"]) >= WRITE_EVERY_S:
            self.write()

    def write(self) -> None:
        """Write what is held as one part of each kind. Records last: one is never there without its spans and calls.
        What could not be written as a whole is held on to, and written again."""
        with self._writing:
            if self._held["records"]:
                for kind in MEASURED:
                    table = pa.concat_tables(self._held[kind])
                    if len(table) or kind != "calls":
                        write_part(self.path / kind, table, self._number)
                self._number += 1
                self._held = {kind: [] for kind in MEASURED}
            self._written_s = time.monotonic()


def _table(schema: pa.Schema, rows: Columns, place: tuple[int, str, int, int, int], shift_s: float) -> pa.Table:
    """Rows with the columns that are equal in all of them, clocks shifted."""
    if not rows:
        return schema.empty_table()
    length = len(rows["prompt_id"])
    constant = dict(zip((name for name, _ in PLACE_FIELDS), place, strict=True))
    arrays = []
    for field in schema:
        if field.name in constant:
            arrays.append(pa.repeat(pa.scalar(constant[field.name], field.type), length))
        else:
            values = redact_known(rows[field.name]) if field.name in TOLD else rows[field.name]
            array = _array(values, field.type)
            arrays.append(pc.add(array, shift_s) if field.name in CLOCKS else array)
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        # A model's broken JSON may hold half a surrogate pair, which no encoding can write.
        whole = [text and text.encode("utf-8", "replace").decode() for text in values]
        return pa.array(whole, kind)


def _drop_unpaired(path: Path) -> None:
    """Remove what a killed writer left: files under a hidden name, and what stands without its records."""
    for kind in MEASURED:
        (path / kind).mkdir(exist_ok=True)  # a run of format 1 that is continued has no calls
        for hidden in (path / kind).glob(".part-*"):
            hidden.unlink(missing_ok=True)
        for part in list_parts(path, kind):
            if not (path / "records" / part.name).exists():
                part.unlink()
