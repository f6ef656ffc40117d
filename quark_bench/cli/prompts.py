"""Prompts: from a file's name and the options beside it to the prompts that are asked for."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from quark_bench.dataset import Dataset
from quark_bench.errors import RunNotFoundError, UsageError
from quark_bench.plain import one_line
from quark_bench.sources import LARGEST_IN_MEMORY

CONTEXTS = "contexts"
"""What `--knowledge` says for the contexts of the prompts themselves."""

_SHARD = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a prompt's fields are taken from: pairs of `--field`, a file of `--fields`, the text of `--template`."""

    pairs: Sequence[str]
    file: Path | None
    template: str | None

    def fields(self) -> dict[str, Any]:
        """What the options tell, without the file. Raises UsageError."""
        told: dict[str, Any] = {}
        for pair in self.pairs:
            name, separator, column = pair.partition("=")
            if not separator or not name or not column:
                raise UsageError(f"--field {pair!r}: write FIELD=COLUMN, for example --field text=question")
            told[name.strip()] = column.strip()
        if self.template is not None:
            if "text" in told:
                raise UsageError("--template beside --field text=...: both say what the text is; leave one out")
            told["text"] = {"template": self.template}
        return told


@dataclass(frozen=True, slots=True)
class Part:
    """Which of a file's prompts: the first N of a category and of what failed in a run, and of these a shard.

    The shard comes last, so that all shards together are what the same command without `--shard` would run.
    """

    limit: int | None = None
    category: str | None = None
    failed_in: str | None = None
    shard: str | None = None

    def of(self, dataset: Dataset, out: Path) -> Dataset:
        """Raises UsageError where nothing is left, RunNotFoundError for an unknown run."""
        if self.category is not None:
            dataset = dataset.where(self.category)
        if self.failed_in is not None:
            dataset = _failed(dataset, self.failed_in, out)
        if self.limit is not None:
            dataset = dataset.limit(self.limit)
        return dataset if self.shard is None else dataset.shard(*_shard(self.shard))


def read_prompts(path: Path, columns: Columns) -> Dataset:
    """All prompts of the file. Raises UsageError or DataError."""
    takes_a_while = path.is_file() and path.stat().st_size > LARGEST_IN_MEMORY
    with Console(stderr=True).status(f"reading {one_line(path)}") if takes_a_while else nullcontext():
        return Dataset.read(path, fields=columns.fields(), fields_file=columns.file)


def _shard(text: str) -> tuple[int, int]:
    found = _SHARD.fullmatch(text)
    if not found:
        raise UsageError(f"--shard {text!r}: write PART/PARTS, as in --shard 2/8 for the second of eight")
    return int(found[1]), int(found[2])


def _failed(dataset: Dataset, named: str, out: Path) -> Dataset:
    from quark_bench.run import Run

    place, scorer = _run_and_scorer(named, out)
    ids = Run(place).failed(scorer)
    if not ids:
        what = "failed" if scorer is None else f"failed or had {scorer} below 1"
        raise UsageError(f"--failed-in {named}: no prompt {what} in {place.name}; there is nothing to run again")
    return dataset.only(ids)


def settled(command: str, failed_in: str | None, out: Path) -> str:
    """The command with the run of `--failed-in` by its path: `last` is another one when the command is continued."""
    if failed_in is None:
        return command
    place, scorer = _run_and_scorer(failed_in, out)
    now = str(place.resolve()) if scorer is None else f"{place.resolve()}:{scorer}"
    words = shlex.split(command)
    for at, word in enumerate(words):
        if word == f"--failed-in={failed_in}":
            words[at] = f"--failed-in={now}"
        elif word == failed_in and words[at - 1] == "--failed-in":
            words[at] = now
    return shlex.join(words)


def _run_and_scorer(named: str, out: Path) -> tuple[Path, str | None]:
    """A run's folder, and the scorer if one stands after a colon: a path may hold colons too."""
    from quark_bench.store import find_run

    try:
        return find_run(named, out), None
    except RunNotFoundError:
        run, colon, scorer = named.rpartition(":")
        if not colon:
            raise
    return find_run(run, out), scorer
