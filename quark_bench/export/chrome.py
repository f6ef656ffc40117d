"""Chrome: a run as Chrome trace JSON, which Perfetto and chrome://tracing open.

A process for every worker of an arm; in it a lane for every agent, or several where prompts are side by side. Format:
Trace Event Format, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU, "complete" events.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

from quark_bench.export.kept import Kept, Row
from quark_bench.parts import StoredTables, replace_file

SPAN = ["session", "arm", "repeat", "block", "prompt_id", "agent", "attempt", "status", "start_s", "end_s", "queue_s"]
SPAN += ["error", "worker", "tokens_in", "tokens_out"]
CALL = ["arm", "repeat", "block", "session", "prompt_id", "agent", "attempt", "number", "model", "status", "start_s"]
CALL += ["end_s", "waited_s", "error", "tokens_in", "tokens_out", "retries", "worker"]
TOLD_OF_SPANS = ("prompt_id", "repeat", "attempt", "status", "queue_s", "tokens_in", "tokens_out", "error")
TOLD_OF_CALLS = ("prompt_id", "number", "status", "waited_s", "retries", "tokens_in", "tokens_out", "error")
Block = tuple[int, int]
"""Session and number of a block."""


def export_chrome(kept: Kept, out: Path) -> list[Path]:
    """One JSON file. Times are microseconds from the start of the run; what a later session did follows the earlier."""
    replace_file(out, partial(_write, kept))
    return [out]


def _write(kept: Kept, place: Path) -> None:
    with place.open("w", encoding="utf-8", errors="replace") as file:
        file.write('{"displayTimeUnit":"ms","traceEvents":[\n')
        _write_lines(file, map(_ENCODER.encode, _events(kept.tables)))
        file.write(f'\n],"otherData":{_ENCODER.encode({"run": kept.manifest["run_id"]})}}}\n')


_ENCODER = json.JSONEncoder(separators=(",", ":"))


def _write_lines(file: TextIO, lines: Iterable[str]) -> None:
    for number, line in enumerate(lines):
        file.write(f",\n{line}" if number else line)


def _events(tables: StoredTables) -> Iterator[dict[str, Any]]:
    """Block by block: no two are under way at once, so each has all lanes to itself."""
    places, after_s, before_s, session = _Places(), 0.0, 0.0, 0
    for (of_session, _), spans, calls in _blocks(tables):
        if of_session != session:
            session, before_s = of_session, after_s
        yield from _of_block(spans, calls, places, before_s)
        after_s = max(after_s, before_s + max(span["end_s"] for span in spans))


def _blocks(tables: StoredTables) -> Iterator[tuple[Block, list[Row], list[Row]]]:
    """The spans of each block, in the order in which they began, and its questions to models."""
    asked = {part.files[0].name: part for part in tables.calls.parts()}
    place = itemgetter("session", "block")

    def tagged() -> Iterator[tuple[bool, Row]]:
        for part in tables.spans.parts():
            calls = asked.get(part.files[0].name)
            spans = [(False, row) for row in part.arrow(SPAN).to_pylist()]
            rows = [*spans, *((True, row) for row in (calls.arrow(CALL).to_pylist() if calls else ()))]
            yield from sorted(rows, key=lambda row: place(row[1]))

    for block, rows in itertools.groupby(tagged(), key=lambda row: place(row[1])):
        spans: list[Row] = []
        calls: list[Row] = []
        for is_call, row in rows:
            (calls if is_call else spans).append(row)
        yield block, sorted(spans, key=itemgetter("start_s")), sorted(calls, key=itemgetter("start_s"))


@dataclass(slots=True)
class _Places:
    """Numbers of processes and lanes, each named once."""

    processes: dict[tuple[str, str], int] = field(default_factory=dict)
    lanes: dict[tuple[int, str], int] = field(default_factory=dict)

    def process(self, row: Row) -> tuple[int, Iterator[dict[str, Any]]]:
        place = row["arm"], row["worker"] or ""
        new = place not in self.processes
        number = self.processes.setdefault(place, len(self.processes) + 1)
        return number, _named("process_name", number, 0, " · ".join(filter(None, place))) if new else iter(())

    def lane(self, process: int, name: str) -> tuple[int, Iterator[dict[str, Any]]]:
        new = (process, name) not in self.lanes
        number = self.lanes.setdefault((process, name), len(self.lanes) + 1)
        return number, _named("thread_name", process, number, name) if new else iter(())


def _named(what: str, process: int, lane: int, name: str) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "name": what, "pid": process, "tid": lane, "args": {"name": name}}


class Lanes:
    """Which lane what begins next takes: the first that is free, so that on none of them two overlap."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._busy: list[tuple[float, int]] = []

    def take(self, start_s: float, end_s: float) -> int:
        while self._busy and self._busy[0][0] <= start_s:
            heapq.heappush(self._free, heapq.heappop(self._busy)[1])
        lane = heapq.heappop(self._free) if self._free else len(self._busy)
        heapq.heappush(self._busy, (end_s, lane))
        return lane


def _of_block(spans: Sequence[Row], calls: Sequence[Row], places: _Places, before_s: float) -> Iterator[dict[str, Any]]:
    """Spans, and in each the questions that it asked; one that was asked beside another has a lane of its own."""
    asked = defaultdict(list)
    for call in calls:
        asked[_attempt(call)].append(call)
    lanes: defaultdict[tuple[int, str], Lanes] = defaultdict(Lanes)

    def placed(row: Row, kind: str, within_s: float) -> Iterator[dict[str, Any]]:
        process, named = places.process(row)
        yield from named
        number = lanes[process, kind].take(row["start_s"], within_s)
        lane, named = places.lane(process, f"{kind} {number + 1}" if number else kind)
        yield from named
        told = TOLD_OF_CALLS if "model" in row else TOLD_OF_SPANS
        yield _complete(row, process, lane, before_s, within_s, told)

    for span in spans:
        shown = list(placed(span, span["agent"], span["end_s"]))
        yield from shown
        until_s = span["start_s"]
        for call in asked[_attempt(span)]:
            end_s = min(call["end_s"], span["end_s"])  # of an attempt that timed out, its thread may ask on
            if call["start_s"] >= until_s:
                until_s = end_s
                yield _complete(call, shown[-1]["pid"], shown[-1]["tid"], before_s, end_s, TOLD_OF_CALLS)
            else:
                yield from placed(call, f"{span['agent']}, asked beside", end_s)


def _attempt(row: Row) -> tuple[Any, ...]:
    return row["arm"], row["repeat"], row["prompt_id"], row["agent"], row["attempt"]


def _complete(row: Row, process: int, lane: int, before_s: float, end_s: float, told: Sequence[str]) -> dict[str, Any]:
    """One event; the seconds before its session are added."""
    return {
        "ph": "X",
        "name": row.get("model") or row["agent"],
        "cat": "model" if "model" in row else "agent",
        "pid": process,
        "tid": lane,
        "ts": round((before_s + row["start_s"]) * 1e6, 3),
        "dur": round(max(0.0, end_s - row["start_s"]) * 1e6, 3),
        "args": {name: row[name] for name in told if row[name] is not None},
    }
