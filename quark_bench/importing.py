"""Importing: a run's directory made of a log that another tool wrote."""

from __future__ import annotations

import json
import secrets
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from quark_bench import store
from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import DataError
from quark_bench.inspect_log import FollowedBy, InspectLog, LoggedTrial, read_trial
from quark_bench.manifest import Manifest, count_trials
from quark_bench.plan import Granularity, Strategy
from quark_bench.record import Batch, ModelCall, Record, Span, columns
from quark_bench.run import Run

ARM = "inspect"
"""The one arm of an imported run, so that imported runs pair up."""
PROMPTS = "prompts.jsonl"
"""Where the log's prompts are kept in the run, so that they can be shown, compared and scored."""
TOGETHER = 500
"""Trials that are in memory at once."""
STATES = {"success": "complete", "started": "interrupted", "cancelled": "interrupted", "error": "failed"}
NOT_TOLD = "how its prompts were spread over workers, and waits for a slot"


def import_inspect(log: str | Path, out: str | Path = "reports") -> Run:
    """Make a run of an `.eval` log that Inspect wrote, with its report; its arm is called `inspect`.

    What the log does not tell (workers, waits) stays empty. Raises DataError for what is no such log, or holds no
    trials, and ExecutionError where the run cannot be written.
    """
    store.check_out(out)
    with InspectLog(Path(log)) as source:
        header = source.header
        if not source.cases:
            raise DataError(f"{log}: holds no trials: it was written without them, or before the first had ended")
        path = store.new_run(out, str(header["eval"].get("task") or "inspect"))
        try:
            manifest = _take_in(source, header, path)
            store.write_manifest(path, manifest)
            store.write_manifest(path, manifest | Run(path).weighed())
            run = Run(path)
            run.report()
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)  # half a run is none
            raise
    return run


class _Seen:
    """What is known of all trials once each was taken in."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.scorers: dict[str, None] = {}
        self.followed = FollowedBy()
        self.edges: list[tuple[float, int]] = []
        self.answers: Counter[str] = Counter()
        self.repeats = 0

    def add(self, trial: LoggedTrial) -> None:
        record = trial.record
        self.statuses[record.status] += 1
        self.scorers.update(dict.fromkeys(score.scorer for score in trial.scores))
        self.followed.see(trial.spans)
        self.edges += [(record.start_s, 1), (record.start_s + record.latency_s, -1)]
        self.answers[max(trial.spans, key=lambda span: span.end_s).agent] += record.status != "failed"
        self.repeats = max(self.repeats, trial.repeat + 1)

    @property
    def in_flight(self) -> int:
        """The most trials that were under way at once."""
        under_way = most = 0
        for _, change in sorted(self.edges):
            under_way += change
            most = max(most, under_way)
        return max(1, most)


def _take_in(source: InspectLog, header: Mapping[str, Any], path: Path) -> Manifest:
    """Write all that the log holds into the run's directory; its manifest, without measures."""
    seen, chunks = _Seen(), 0
    with (path / PROMPTS).open("w", encoding="utf-8") as prompts, store.RunWriter(path, 0, 0.0) as writer:
        known: set[str] = set()
        for trials in _chunks(source, source.began_s):
            for trial in trials:
                seen.add(trial)
                if trial.prompt.id not in known:
                    known.add(trial.prompt.id)
                    _write_prompt(prompts, trial.prompt)
            writer.append(_batch(trials, chunks))
            store.write_scores(path, [row for trial in trials for row in _score_rows(trial)])
            chunks += 1
    return _manifest(source, header, seen, Dataset.read(path / PROMPTS)) | {"run_id": path.name}


def _chunks(source: InspectLog, session_s: float) -> Iterator[list[LoggedTrial]]:
    """Trials of one repeat at a time, not too many of them."""
    held: defaultdict[int, list[LoggedTrial]] = defaultdict(list)
    for told in source:
        trial = read_trial(told, session_s, str(source.path))
        held[trial.repeat].append(trial)
        if len(held[trial.repeat]) == TOGETHER:
            yield held.pop(trial.repeat)
    yield from held.values()


def _write_prompt(file: TextIO, prompt: Prompt) -> None:
    own = {"id": prompt.id, "text": prompt.text, "category": prompt.category, "reference": list(prompt.reference)}
    file.write(json.dumps({**prompt.metadata, **own}) + "\n")


def _batch(trials: Sequence[LoggedTrial], chunk: int) -> Batch:
    return Batch(
        arm=ARM,
        repeat=trials[0].repeat,
        block=0,
        chunk=chunk,
        records=columns(Record, [trial.record for trial in trials]),
        spans=columns(Span, [span for trial in trials for span in trial.spans]),
        calls=columns(ModelCall, [call for trial in trials for call in trial.calls]),
    )


def _score_rows(trial: LoggedTrial) -> Iterator[tuple[Any, ...]]:
    for score in trial.scores:
        yield ARM, trial.repeat, trial.prompt.id, score.scorer, score.value, score.explanation, 0.0, 0.0, None


def _manifest(source: InspectLog, header: Mapping[str, Any], seen: _Seen, dataset: Dataset) -> Manifest:
    about, stats = header["eval"], header.get("stats") or {}
    layout = seen.followed.layout()
    started, ended = datetime.fromtimestamp(source.began_s, UTC), stats.get("completed_at")
    planned = len(dataset) * seen.repeats
    version = (about.get("packages") or {}).get("inspect_ai", "")
    commit = (about.get("revision") or {}).get("commit")
    facts = {"imported from": f"Inspect {version}, {source.path.name}", "commit": commit}
    return {
        "format": store.FORMAT,
        "state": STATES.get(header.get("status") or "started", "failed"),
        "session": 0,
        "started": started.isoformat(timespec="seconds"),
        "ended": ended or None,
        "duration_s": (datetime.fromisoformat(ended) - started).total_seconds() if ended else None,
        "dataset": {
            "name": str((about.get("dataset") or {}).get("name") or PROMPTS),
            "path": str(dataset.origin),
            "fields": {},
            "hash": dataset.content_hash,
            "prompts": len(dataset),
        },
        "pipeline": {
            "name": about.get("task") or "inspect",
            "key": str(about.get("task_id") or about["eval_id"]),
            "answer": seen.answers.most_common(1)[0][0],
            "model": about.get("model"),
            "latency_profile": None,
            "agents": [{"name": name, "needs": needs} for name, needs in layout],
        },
        "arms": [
            {
                "name": ARM,
                "strategy": Strategy.PARALLEL.value,
                "in_flight": seen.in_flight,
                "pipeline_key": str(about.get("task_id") or about["eval_id"]),
            }
        ],
        "repeats": seen.repeats,
        "blocks": [[ARM, 0, 0, len(dataset)]],
        "seed": 0,
        "warmup": 0,
        "scorers": list(seen.scorers),
        "slos": [],
        "command": None,
        "folder": str(Path.cwd()),
        "run_key": secrets.token_hex(8),
        "granularity": {
            "choice": Granularity.CHUNK.value,
            "reason": f"imported from a log of Inspect, which does not tell {NOT_TOLD}",
            "chunk_size": {ARM: TOGETHER},
        },
        "cluster": {"on": "inspect"},
        "usage": [],
        "provenance": {name: value for name, value in facts.items() if value},
        "conservation": count_trials(seen.statuses, planned),
    }
