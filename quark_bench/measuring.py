"""Measuring: a plan is carried out, what comes back is kept and scored; the way that all commands that measure take."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from quark_bench import store
from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import BudgetSpentError, ConservationError, ExecutionError, RunInterrupted
from quark_bench.execute import Consumption, Executor, Setting, Work
from quark_bench.execute.drain import DRAIN_S
from quark_bench.interrupt import first_interrupt
from quark_bench.layout import Layout, lay_out
from quark_bench.manifest import Manifest, count_trials, measured
from quark_bench.model_use import Budget, parse_budget
from quark_bench.parts import count_statuses, list_tables
from quark_bench.pipeline import Pipeline, Shipment
from quark_bench.plan import Block, Chunk, Plan
from quark_bench.record import Batch
from quark_bench.resume import continuing, layout_of
from quark_bench.reuse import counted
from quark_bench.run import Run
from quark_bench.score_run import score_parts
from quark_bench.scoring import AskedScorer, Overall, asks_models


class Watcher(Protocol):
    """Told how a run gets on; a door shows it to a person."""

    def stage(self, name: str) -> None:
        """The run enters a stage: starting, warming up, ..."""
        ...

    def began(self, plan: Plan, dashboard: str | None) -> None:
        """The first measured block is about to start."""
        ...

    def finished_before(self, arm: str, trials: int) -> None:
        """An earlier session of the run finished so many trials of an arm."""
        ...

    def advanced(self, batch: Batch) -> None:
        """A chunk has come back."""
        ...

    def scored(self, done: int, records: int) -> None:
        """So many of the records are scored, where that takes time: models judge."""
        ...


class Silent:
    """A watcher that shows nothing."""

    def stage(self, name: str) -> None: ...
    def began(self, plan: Plan, dashboard: str | None) -> None: ...
    def finished_before(self, arm: str, trials: int) -> None: ...
    def advanced(self, batch: Batch) -> None: ...
    def scored(self, done: int, records: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be measured: a plan over a data set, the main pipeline, and for each arm what travels."""

    dataset: Dataset
    plan: Plan
    pipeline: Pipeline
    shipments: Mapping[str, Shipment]
    scorers: Sequence[AskedScorer | Overall]
    granularity: str
    out: str | Path

    def work(self, run_key: str) -> Work:
        arms = {arm.name: arm for arm in self.plan.arms}
        return Work(run_key, self.plan.seed, self.dataset.prompts, arms, self.shipments)


def measure(task: Task, executor: Executor, manifest: Manifest, path: Path | None, watcher: Watcher) -> Path:
    """Load, warm up, carry out all blocks that are missing; the run's directory.

    `path` is that of a run to be continued, or None for a new one. Raises ExecutionError where it cannot be finished.
    """
    watcher.stage("loading agents")
    executor.prepare(task.work(manifest["run_key"]))
    watcher.stage("warming up")
    layout = lay_out(executor, task.plan, task.pipeline, task.granularity)
    if path is None:
        path = store.new_run(task.out, Path(task.dataset.name.removesuffix(".gz")).stem)
        manifest |= {"run_id": path.name, "granularity": layout.as_data()}
    else:
        layout = layout_of(manifest)
    manifest["cluster"] = dict(executor.describe())
    watcher.began(task.plan, manifest["cluster"].get("dashboard"))
    record_blocks(path, manifest, task.plan, executor, layout, watcher)
    return path


def record_blocks(
    path: Path, manifest: Manifest, plan: Plan, executor: Executor, layout: Layout, watcher: Watcher
) -> None:
    """Carry out all blocks and write what comes back. Whatever happens, the manifest tells how it ended."""
    state, spending = "failed", Spending.so_far(path, manifest)
    if spending.is_over and spending.trials < plan.planned:
        raise BudgetSpentError(spending.told(plan.planned, path))
    store.write_manifest(path, manifest)

    def ask_to_end() -> None:
        executor.drain.begin()
        watcher.stage(f"ending what is under way, {DRAIN_S:.0f} s at most; Ctrl-C quits")

    began_s = time.perf_counter()
    try:
        with (
            store.RunWriter(path, manifest["session"], began_s) as writer,
            first_interrupt(ask_to_end),
        ):
            for arm, trials in writer.finished_trials.items():
                watcher.finished_before(arm, trials)
            for batch in _batches(plan, executor, layout, writer, manifest, began_s):
                writer.append(batch)
                watcher.advanced(batch)
                if spending.exceeded(batch) and not executor.drain.begun:
                    executor.drain.begin()
                    watcher.stage(f"the budget is spent: ending what is under way, {DRAIN_S:.0f} s at most")
        if spending.is_over and spending.trials < plan.planned:
            state = "interrupted"
            raise BudgetSpentError(spending.told(plan.planned, path))
        if executor.drain.begun and not spending.is_over:
            raise KeyboardInterrupt  # it ends as after a second Ctrl-C
        state = "running"  # until it is weighed: a run killed in between is continued there
    except KeyboardInterrupt:
        state = "interrupted"
        raise RunInterrupted(path, continuing(manifest, path)) from None
    except BudgetSpentError:
        raise
    except ExecutionError as error:
        raise type(error)(f"{error}; continue with: {continuing(manifest, path)}") from error
    finally:
        ended = count_statuses(list_tables(path).records)
        manifest.update(measured(manifest, state, count_trials(ended, plan.planned)))
        store.write_manifest(path, manifest)


@dataclass(slots=True)
class Spending:
    """What a run has spent at models, in all its sessions."""

    budget: Budget | None
    cost_usd: float = 0.0
    tokens: int = 0
    trials: int = 0

    @classmethod
    def so_far(cls, path: Path, manifest: Manifest) -> Spending:
        """By the records that earlier sessions have left."""
        named = manifest.get("budget")
        spending = cls(parse_budget(named) if named else None)
        if spending.budget is not None:
            for part in list_tables(path).records.parts():
                spent = part.read(["cost_usd", "tokens_in", "tokens_out"])
                spending.add({str(name): column for name, column in spent.items()})
        return spending

    def add(self, records: Mapping[str, Any]) -> None:
        self.trials += len(records["cost_usd"])
        self.cost_usd += sum(records["cost_usd"])
        self.tokens += int(sum(records["tokens_in"]) + sum(records["tokens_out"]))

    def exceeded(self, batch: Batch) -> bool:
        """Whether the budget is spent, with what a chunk has taken."""
        if self.budget is not None:
            self.add(batch.records)
        return self.is_over

    @property
    def is_over(self) -> bool:
        return self.budget is not None and self.budget.spent(self.cost_usd, self.tokens) >= self.budget.amount

    def told(self, planned: int, path: Path) -> str:
        assert self.budget is not None, "only a budget is spent"
        spent = self.budget.told(self.budget.spent(self.cost_usd, self.tokens))
        return (
            f"the budget of {self.budget.told(self.budget.amount)} is spent: {spent} for {self.trials:,} of "
            f"{planned:,} trials; go on with a larger one: quark-bench run --resume {path} --budget MORE"
        )


def _batches(
    plan: Plan, executor: Executor, layout: Layout, writer: store.RunWriter, manifest: Manifest, began_s: float
) -> Iterator[Batch]:
    """What comes of the blocks, one after another, without the chunks that an earlier session finished."""
    earlier, answered_before = manifest.get("breakers", []), manifest.get("cache")
    limited_before = manifest.get("rations", [])
    for block in plan.blocks:
        setting, finished = layout.settings[block.arm], writer.finished_chunks(block.index)
        if executor.drain.begun:
            return
        if len(finished) < sum(1 for _ in setting.chunks(block)):
            yield from metered(executor, block, setting, finished, manifest)
            now = [{"session": manifest["session"], **each} for each in executor.breakers(began_s)]
            manifest["breakers"] = [*earlier, *now]
            limited = [{"session": manifest["session"], **each} for each in executor.rations(began_s)]
            manifest["rations"] = [*limited_before, *limited]
            manifest["cache"] = answered_before and counted(answered_before, executor.cache_counts())


def metered(
    executor: Executor, block: Block, setting: Setting, finished: Collection[int], manifest: Manifest
) -> Iterator[Batch]:
    """The block's batches; afterwards its CPU time and peak memory stand in the manifest, and what its arm took so far
    beside what was predicted."""
    before, first_s, last_s = executor.consumption(), math.inf, -math.inf
    for batch in executor.run(block, setting, finished):
        due_s, latencies_s = batch.records["due_s"], batch.records["latency_s"]
        first_s = min(first_s, min(batch.records["start_s"]) + batch.clock_offset_s)
        last_s = max(last_s, max(map(operator.add, due_s, latencies_s)) + batch.clock_offset_s)
        yield batch
    manifest["usage"].append(_usage(block, before, executor.consumption()))
    took_s = manifest["granularity"].setdefault("took_s", {})
    took_s[block.arm] = took_s.get(block.arm, 0.0) + max(0.0, last_s - first_s)


def _usage(block: Block, before: Consumption, after: Consumption) -> dict[str, Any]:
    same = before.processes == after.processes  # what a lost process had used died with it
    return {
        "block": block.index,
        "arm": block.arm,
        "cpu_s": after.cpu_s - before.cpu_s if same else None,
        "peak_memory_bytes": after.peak_memory_bytes,
    }


def conclude(task: Task, path: Path, manifest: Manifest, watcher: Watcher) -> Run:
    """Score what was measured, keep its measures, and check that no trial was lost. Raises ConservationError."""
    watcher.stage("scoring and weighing")
    try:
        _score(path, task, layout_of(manifest).chunks(task.plan), watcher)
    except KeyboardInterrupt:  # what has been scored is kept, and the rest of it is scored when the run is continued
        manifest["state"] = "interrupted"
        store.write_manifest(path, manifest)
        raise RunInterrupted(path, continuing(manifest, path)) from None
    run = Run(path, task.dataset)
    ended = manifest["conservation"]
    manifest["state"] = "failed" if ended["not_run"] else "complete"
    manifest |= run.weighed()
    store.write_manifest(path, manifest)
    run.manifest = store.read_manifest(path)  # as it is kept: without secrets
    if ended["not_run"]:
        raise ConservationError(
            f"{path.name}: {ended['planned']} trials were planned but {ended['planned'] - ended['not_run']} recorded; "
            "please report this, with the run's folder"
        )
    return run


def _score(path: Path, task: Task, chunks: Iterable[Chunk], watcher: Watcher) -> None:
    """Score the records that are not yet; the prompts of a part's records are those of its chunks."""
    if not task.scorers:
        return
    ranges = {(chunk.block.index, chunk.index): slice(chunk.start, chunk.stop) for chunk in chunks}
    waits = asks_models(task.scorers)

    def prompts_of(records: pd.DataFrame) -> dict[str, Prompt]:
        here = dict.fromkeys(zip(records["block"], records["chunk"], strict=True))
        return {prompt.id: prompt for place in here for prompt in task.dataset.prompts[ranges[place]]}

    for done in score_parts(path, task.scorers, prompts_of, store.scored_trials(path)):
        if waits:
            watcher.scored(done, task.plan.planned)
