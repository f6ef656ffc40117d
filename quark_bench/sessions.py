"""Sessions: what live sessions did, a line of JSON each, in a file that several processes may add to at once."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from quark_bench.errors import UsageError
from quark_bench.walls import Target, Wall

FORMAT = 1
"""1: the first."""
LATENCIES = ("mean", "p50", "p95", "p99")


class Estimate(NamedTuple):
    """A number with its 95 % interval; None where there is none."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Session:
    """One session of a live orchestrator. `began` is ISO 8601 in UTC; `busy_s` is the time in which any prompt was
    under way; `latency_s` holds LATENCIES in seconds, from asking to answer."""

    began: str
    lasted_s: float
    command: str
    pipeline: str
    max_workers: int
    prompts: int
    completed: int
    degraded: int
    failed: int
    shared: int
    busy_s: float
    throughput_per_s: float
    latency_s: Mapping[str, Estimate]
    parallel_rate: float | None
    concurrent_agents: int
    wall: Wall | None
    targets: tuple[Target, ...]
    warnings: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """Plain data, as it is kept."""
        latency_s = {name: estimate._asdict() for name, estimate in self.latency_s.items()}
        return {"format": FORMAT, **asdict(self), "latency_s": latency_s}


def session_of(stats: Mapping[str, Any], *, began: str, lasted_s: float, command: str, pipeline: str) -> Session:
    """The session that an orchestrator's `get_performance_stats` tells of."""
    counts, rates = stats["execution_stats"], stats["performance_metrics"]
    return _session(
        {
            "began": began,
            "lasted_s": lasted_s,
            "command": command,
            "pipeline": pipeline,
            "max_workers": stats["max_workers"],
            "prompts": counts["total_tasks"],
            "completed": counts["completed_tasks"],
            "degraded": counts["degraded_tasks"],
            "failed": counts["failed_tasks"],
            "shared": counts["shared_tasks"],
            "throughput_per_s": rates["throughput"],
            **{name: rates[name] for name in ("busy_s", "latency_s", "parallel_rate", "concurrent_agents")},
            **{name: stats[name] for name in ("wall", "targets", "warnings")},
        }
    )


def _session(told: Mapping[str, Any]) -> Session:
    """Raises KeyError, TypeError, ValueError or OverflowError for what is no session."""
    wall = told["wall"]
    return Session(
        began=str(told["began"]),
        lasted_s=_number(told["lasted_s"]),
        command=str(told["command"]),
        pipeline=str(told["pipeline"]),
        max_workers=int(told["max_workers"]),
        prompts=int(told["prompts"]),
        completed=int(told["completed"]),
        degraded=int(told["degraded"]),
        failed=int(told["failed"]),
        shared=int(told["shared"]),
        busy_s=_number(told["busy_s"]),
        throughput_per_s=_number(told["throughput_per_s"]),
        latency_s={name: _estimate(told["latency_s"][name]) for name in LATENCIES},
        parallel_rate=_maybe(told["parallel_rate"]),
        concurrent_agents=int(told["concurrent_agents"]),
        wall=None if wall is None else Wall(str(wall["name"]), float(wall["bound_per_s"]), str(wall["advice"])),
        targets=tuple(map(_target, told["targets"])),
        warnings=tuple(map(str, told["warnings"])),
    )


def _target(told: Mapping[str, Any]) -> Target:
    return Target(
        text=str(told["text"]),
        value=_maybe(told["value"]),
        met=None if told["met"] is None else bool(told["met"]),
        bound=_maybe(told["bound"]),
        reachable=None if told["reachable"] is None else bool(told["reachable"]),
        told=str(told["told"]),
    )


def _estimate(told: Mapping[str, Any]) -> Estimate:
    return Estimate(*(_maybe(told[name]) for name in Estimate._fields))


def _maybe(value: Any) -> float | None:
    return None if value is None else _number(value)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no measured number")
    return number


def check_state(folder: Path) -> None:
    """Make the folder. Raises UsageError where nothing can be kept in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--state {folder}: cannot be made: {error.strerror}; name another folder") from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"--state {folder}: cannot be written; name another folder")


def append_session(path: Path, session: Session) -> None:
    """Add a session in one write, which no other process can come between. Raises OSError."""
    line = json.dumps(session.as_data()).encode() + b"\n"
    with path.open("a+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line  # a line that was cut off damages no other
        file.write(line)


class Sessions(NamedTuple):
    """What a file holds, oldest first, and the numbers of the lines that could not be read."""

    read: tuple[Session, ...]
    damaged: tuple[int, ...]


def read_sessions(path: Path) -> Sessions:
    """The sessions of a file, none where there is no file. Raises UsageError for one that cannot be opened."""
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return Sessions((), ())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; mend it, or name another --state") from error
    found = list(_parsed(text.split("\n")))
    read = sorted((each for _, each in found if each is not None), key=lambda session: session.began)
    return Sessions(tuple(read), tuple(number for number, each in found if each is None))


def _parsed(lines: Sequence[str]) -> Iterator[tuple[int, Session | None]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            yield number, _session(told) if told["format"] == FORMAT else None
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
            yield number, None
