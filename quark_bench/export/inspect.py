"""Inspect: a run as `.eval` logs of the Inspect framework, one for every arm, since such a log tells of one model.

Source of the format: inspect_ai 0.3.285, `log/_recorders/eval.py` and `log/_log.py`. A zip of JSON; its reader takes
deflate as well as the zstd that it writes itself.
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any

from quark_bench.dataset import Prompt
from quark_bench.export.inspect_events import OURS, ModelUsage, Told, answered, events_of, usage_of
from quark_bench.export.kept import Kept, KeptTrial, make_folder
from quark_bench.parts import replace_file

LOG_VERSION = 2
STATES = {"complete": "success", "interrupted": "cancelled", "failed": "error", "running": "started"}
"""The state of a run, and what Inspect calls it."""
LONGEST_SUMMARY = 1_000
"""Characters of a text in a summary; Inspect cuts them there too."""


def export_inspect(kept: Kept, out: Path) -> list[Path]:
    """A log for every arm, in a folder, under the name that Inspect gives its own: time, task, id."""
    make_folder(out)
    started = datetime.fromisoformat(kept.manifest["started"]).strftime("%Y-%m-%dT%H-%M-%S+00-00")
    files = []
    for arm in kept.manifest["arms"]:
        log = _Log(kept, arm["name"])
        files.append(out / f"{started}_{_plain(log.task)}_{_plain(log.eval_id)}.eval")
        replace_file(files[-1], partial(_write, log))
    return files


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name)


def _json(data: object) -> str:
    return json.dumps(data, default=str)


@dataclass(slots=True)
class _Sums:
    """What is known of all trials of an arm once each was written."""

    trials: int = 0
    failed: int = 0
    usage: ModelUsage = field(default_factory=ModelUsage)
    scores: defaultdict[str, list[float | None]] = field(default_factory=lambda: defaultdict(list))

    def add(self, trial: KeptTrial, usage: ModelUsage) -> None:
        self.trials += 1
        self.failed += trial.record["status"] == "failed"
        self.usage.add(usage)
        for score in trial.scores:
            self.scores[score["scorer"]].append(score["value"])

    def results(self) -> dict[str, Any]:
        return {
            "total_samples": self.trials,
            "completed_samples": self.trials - self.failed,
            "scores": [_score_results(name, values) for name, values in self.scores.items()],
        }


def _score_results(name: str, values: list[float | None]) -> dict[str, Any]:
    judged = [value for value in values if value is not None]
    mean = {"mean": {"name": "mean", "value": sum(judged) / len(judged), "params": {}}} if judged else {}
    scored = {"scored_samples": len(judged), "unscored_samples": len(values) - len(judged)}
    return {"name": name, "scorer": name, "params": {}, "metrics": mean, **scored}


class _Log:
    """What a log says of its arm."""

    def __init__(self, kept: Kept, arm: str) -> None:
        manifest = kept.manifest
        self.kept = kept
        self.arm = arm
        self.task = manifest["pipeline"]["name"]
        self.eval_id = f"{manifest['run_id']}-{arm}"
        self.model = manifest["pipeline"]["model"] or f"{OURS}/{self.task}"
        self.answers = manifest["pipeline"]["answer"]

    @property
    def start(self) -> dict[str, Any]:
        """What stands in the log from its beginning."""
        manifest = self.kept.manifest
        dataset = manifest["dataset"]
        return {
            "version": LOG_VERSION,
            "eval": {
                "eval_id": self.eval_id,
                "run_id": manifest["run_id"],
                "created": manifest["started"],
                "task": self.task,
                "task_id": self.eval_id,
                "task_version": 0,
                "dataset": {
                    "name": dataset["name"],
                    "location": dataset["path"],
                    "samples": dataset["prompts"],
                    "shuffled": False,
                },
                "model": self.model,
                "config": {"epochs": manifest["repeats"], **self._in_flight()},
                "packages": {"quark_bench": manifest["provenance"].get("quark-bench", "unknown")},
                "metadata": {"arm": self.arm, "seed": manifest["seed"], "command": manifest["command"]},
            },
            "plan": {
                "name": "plan",
                "steps": [{"solver": agent["name"], "params": {}} for agent in manifest["pipeline"]["agents"]],
                "config": {},
            },
        }

    def _in_flight(self) -> dict[str, int]:
        return next({"max_samples": arm["in_flight"]} for arm in self.kept.manifest["arms"] if arm["name"] == self.arm)

    def header(self, sums: _Sums) -> dict[str, Any]:
        """What stands at its end."""
        manifest = self.kept.manifest
        return {
            **self.start,
            "status": STATES.get(manifest["state"], "error"),
            "results": sums.results(),
            "stats": {
                "started_at": manifest["started"],
                "completed_at": manifest["ended"] or "",
                "model_usage": sums.usage.as_data(),
            },
        }


def _write(log: _Log, place: Path) -> None:
    """Trial by trial; the summaries, which the reader wants in one piece, wait in a temporary file."""
    sums = _Sums()
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as file, tempfile.TemporaryFile("w+b") as summaries:
        file.writestr("_journal/start.json", _json(log.start))
        for trial in log.kept.trials(log.arm):
            usage = usage_of(trial, log.model)
            told = _trial_data(log, trial, usage)
            file.writestr(f"samples/{told['id']}_epoch_{told['epoch']}.json", _json(told))
            summaries.write(b",\n" if sums.trials else b"[")
            summaries.write(_json(_summary(told)).encode())
            sums.add(trial, usage)
        summaries.write(b"]" if sums.trials else b"[]")
        summaries.seek(0)
        _copy(summaries, file, "summaries.json")
        file.writestr("header.json", _json(log.header(sums)))


def _copy(source: IO[bytes], file: zipfile.ZipFile, name: str) -> None:
    with file.open(name, "w", force_zip64=True) as member:
        for block in iter(lambda: source.read(1 << 20), b""):
            member.write(block)


def _trial_data(log: _Log, trial: KeptTrial, usage: ModelUsage) -> dict[str, Any]:
    """Everything of one trial, as one of Inspect's cases."""
    record = trial.record
    prompt = log.kept.prompts.get(record["prompt_id"]) or Prompt(record["prompt_id"], "", record["category"])
    name = f"{log.eval_id}-{record['prompt_id']}-{record['repeat']}"
    told = {
        "id": record["prompt_id"],
        "epoch": record["repeat"] + 1,
        "uuid": name,
        "input": prompt.text,
        "target": list(prompt.reference) if len(prompt.reference) != 1 else prompt.reference[0],
        "messages": list(_messages(name, prompt.text, record["answer"])),
        "output": answered(log.model, record["answer"], usage.total()),
        "scores": {
            each["scorer"]: _score(each, record["answer"]) for each in trial.scores if each["value"] is not None
        },
        "metadata": {**prompt.metadata, "category": record["category"], **_facts(record)},
        "model_usage": usage.as_data(),
        "started_at": log.kept.moment(record["start_s"]),
        "completed_at": log.kept.moment(record["start_s"] + record["latency_s"]),
        "total_time": record["latency_s"],
        "working_time": record["service_s"],
        "events": list(events_of(trial, Told(name, prompt.text, log.answers, log.kept.moment))),
    }
    if record["status"] == "failed":
        told["error"] = {"message": record["error"] or "no answer", "traceback": "", "traceback_ansi": ""}
    return told


def _facts(record: dict[str, Any]) -> dict[str, Any]:
    names = ("status", "arm", "session", "block", "work_s", "critical_path_s", "simulated_s", "attempts", "fallbacks")
    return {f"quark_bench_{name}": record[name] for name in names}


def _messages(name: str, text: str, answer: str | None) -> Iterator[dict[str, Any]]:
    yield {"id": f"{name}-u", "role": "user", "content": text, "source": "input"}
    if answer is not None:
        yield {"id": f"{name}-a", "role": "assistant", "content": answer}


def _score(row: dict[str, Any], answer: str | None) -> dict[str, Any]:
    return {"value": row["value"], "answer": answer, "explanation": row["explanation"]}


def _summary(told: dict[str, Any]) -> dict[str, Any]:
    """The same in short: what tables of many trials are made from."""
    names = ("id", "epoch", "uuid", "model_usage", "started_at", "completed_at", "total_time", "working_time")
    scores = {name: {key: _short(value) for key, value in each.items()} for name, each in told["scores"].items()}
    return {
        **{name: told[name] for name in names},
        **{name: _short(told[name]) for name in ("input", "target")},
        "scores": scores,
        "metadata": {name: _short(value) for name, value in told["metadata"].items() if _is_scalar(value)},
        "error": told["error"]["message"] if "error" in told else None,
        "completed": True,
        "message_count": len(told["messages"]),
    }


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _short(value: Any) -> Any:
    return value[:LONGEST_SUMMARY] if isinstance(value, str) else value
