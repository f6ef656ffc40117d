"""Bench: prompts -> plan -> Dask graph -> records -> scores -> Run, as one function."""

from __future__ import annotations

import math
import operator
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from quark_bench import store
from quark_bench.chaos import Chaos, ChaoticShipment, parse_chaos
from quark_bench.dataset import Dataset
from quark_bench.errors import ConservationError, ExecutionError, RunInterrupted, UsageError
from quark_bench.execute import Consumption, Executor, Setting, Work
from quark_bench.execute.cluster_spec import read_spec
from quark_bench.execute.drain import DRAIN_S
from quark_bench.execute.process import check_can_spawn, cores
from quark_bench.interrupt import first_interrupt
from quark_bench.layout import Layout, lay_out
from quark_bench.manifest import Manifest, count_trials, first_manifest, measured
from quark_bench.measures import measure_names
from quark_bench.parts import count_statuses, list_tables
from quark_bench.pipeline import Pipeline, Shipment
from quark_bench.plan import BUILT_IN_ARMS, Arm, Block, Chunk, Granularity, Plan, built_in_arm, make_plan
from quark_bench.record import Batch
from quark_bench.resolve import resolve
from quark_bench.resume import continued, layout_of
from quark_bench.reuse import counted, described_cache, opened_cache, with_cache
from quark_bench.run import Run, measures_as_data
from quark_bench.scoring import Scorer, default_scorers, score_records, scorers_named
from quark_bench.slo import parse_slo, require_known
from quark_bench.user_code import pack_pipeline

MOST_WORKERS = 4
MOST_THREADS = 256


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


class Silent:
    """A watcher that shows nothing."""

    def stage(self, name: str) -> None: ...
    def began(self, plan: Plan, dashboard: str | None) -> None: ...
    def finished_before(self, arm: str, trials: int) -> None: ...
    def advanced(self, batch: Batch) -> None: ...


def bench(  # noqa: PLR0913 - one parameter per option of `quark-bench run`
    dataset: Dataset,
    pipeline: Pipeline | str = "quark",
    *,
    arms: Sequence[Arm | str] | None = None,
    on: str = "local",
    insecure: bool = False,
    workers: int | None = None,
    in_flight: int = 8,
    granularity: str = "auto",
    repeats: int = 1,
    warmup: int | None = None,
    seed: int = 0,
    scores: Sequence[str] | None = None,
    slos: Sequence[str] = (),
    chaos: str | Sequence[str] = (),
    cache: str | Path | None = None,
    out: str | Path = "reports",
    resume: str | Path | None = None,
    watcher: Watcher | None = None,
    command: str | None = None,
) -> Run:
    """Run every prompt through the pipeline in every arm, and keep what was measured.

    `pipeline` is a Pipeline, `quark`, `FILE.py:NAME` or `package.module:NAME`. `arms` are names of built-in
    arms or Arm objects; None means sync, parallel, async. `on` is `local`, `inline`, a scheduler's address or file,
    or a TOML file; `insecure` allows a plain address beyond this machine.
    `workers` None means the cores, at most 4. `granularity` is auto, agent or chunk. `warmup` None means
    max(8, in flight) trials an arm. `scores` None means all that fit where the data set has references. `chaos`
    injects faults at agents: `reasoning: error=0.05, delay=0.5s@0.1`. `cache` is a file in which the outputs of agents
    with `cache=True` are kept between runs, and from which equal calls are answered, on each machine its own. `resume`
    names an unfinished run, which is continued with the chunks that are missing.

    Raises UsageError for wrong options, ClusterError or ExecutionError when the run cannot start or finish.
    """
    watcher = watcher or Silent()
    chosen = [arm if isinstance(arm, Arm) else built_in_arm(arm, in_flight) for arm in arms or BUILT_IN_ARMS]
    plan = make_plan(chosen, len(dataset), repeats=repeats, seed=seed, warmup=warmup)
    scorers = default_scorers(dataset) if scores is None else scorers_named(scores)
    require_known(map(parse_slo, slos), [arm.name for arm in plan.arms], measure_names([s.name for s in scorers]))
    store.check_out(out)
    main, shipments = resolve_pipelines(pipeline, plan)
    disturbed = chosen_chaos(chaos, main, plan)
    manifest = first_manifest(dataset, main, shipments, plan, [scorer.name for scorer in scorers])
    manifest |= {"run_key": secrets.token_hex(8), "command": command, "folder": str(Path.cwd()), "slos": list(slos)}
    manifest |= {"chaos": disturbed and str(disturbed), "cache": described_cache(cache, main, plan)}
    path = None if resume is None else store.find_run(resume, out)
    if path is not None:
        manifest = continued(path, manifest)
    opening = open_executor(on, workers, plan, main, granularity, insecure=insecure)
    watcher.stage({"local": "starting workers", "inline": "starting"}.get(on, f"connecting to {on}"))
    with opened_cache(cache) as kept, opening as executor:
        watcher.stage("loading agents")
        travelling = with_cache(_disturb(shipments, disturbed), main, plan, kept)
        executor.prepare(_work(dataset, plan, travelling, manifest["run_key"]))
        watcher.stage("warming up")
        layout = lay_out(executor, plan, main, granularity)
        if path is None:
            path = store.new_run(out, Path(dataset.name).stem)
            manifest |= {"run_id": path.name, "granularity": layout.as_data()}
        else:
            layout = layout_of(manifest)
        manifest["cluster"] = dict(executor.describe())
        watcher.began(plan, manifest["cluster"].get("dashboard"))
        record_blocks(path, manifest, plan, executor, layout, watcher)
    watcher.stage("scoring and weighing")
    _score(path, dataset, scorers, layout.chunks(plan))
    return conclude(path, manifest, dataset)


def resolve_pipelines(pipeline: Pipeline | str, plan: Plan) -> tuple[Pipeline, dict[str, Shipment]]:
    """The run's main pipeline, and for each arm what travels to the workers. Raises PipelineError."""
    main, pack_main = resolve(pipeline)
    shipment = pack_main()
    shipments: dict[str, Shipment] = {}
    for arm in plan.arms:
        shipments[arm.name] = shipment if arm.pipeline is None else pack_pipeline(arm.pipeline)
    return main, shipments


def chosen_chaos(texts: str | Sequence[str], main: Pipeline, plan: Plan) -> Chaos | None:
    """The faults to inject. Raises UsageError for what cannot be read and for agents that no arm has."""
    chaos = parse_chaos([texts] if isinstance(texts, str) else texts)
    if chaos is not None:
        chaos.require_agents([agent.name for arm in plan.arms for agent in (arm.pipeline or main).agents])
    return chaos


def _disturb(shipments: Mapping[str, Shipment], chaos: Chaos | None) -> Mapping[str, Shipment]:
    return shipments if chaos is None else {arm: ChaoticShipment(each, chaos) for arm, each in shipments.items()}


def _work(dataset: Dataset, plan: Plan, shipments: Mapping[str, Shipment], run_key: str) -> Work:
    arms = {arm.name: arm for arm in plan.arms}
    return Work(run_key, plan.seed, dataset.prompts, arms, shipments)


def open_executor(
    on: str, workers: int | None, plan: Plan, pipeline: Pipeline, granularity: str, *, insecure: bool = False
) -> Executor:
    """The executor that `on` names. Raises UsageError for an unknown granularity, wrong counts or a wrong place."""
    if granularity not in ("auto", *(each.value for each in Granularity)):
        raise UsageError(f"--granularity {granularity!r}: give auto, agent or chunk")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers}: give 1 or more")
    if on == "inline":
        from quark_bench.execute.inline import Inline

        return Inline()
    spec = read_spec(on, insecure=insecure)
    if spec.starts:
        check_can_spawn()
    from quark_bench.execute.on_dask import OnDask

    count = workers or local_workers()
    in_flight = max(arm.in_flight for arm in plan.arms)
    # A task that waits holds its thread: room for every call that can be under way at agent granularity.
    threads = min(MOST_THREADS, -(-in_flight * pipeline.width // count) + 1)
    return OnDask(spec, count, threads)


def local_workers() -> int:
    """Worker processes that are started on this machine where nobody says how many."""
    return min(MOST_WORKERS, cores())


def record_blocks(
    path: Path, manifest: Manifest, plan: Plan, executor: Executor, layout: Layout, watcher: Watcher
) -> None:
    """Carry out all blocks and write what comes back. Whatever happens, the manifest tells how it ended."""
    store.write_manifest(path, manifest)
    state = "failed"

    def ask_to_end() -> None:
        executor.drain.begin()
        watcher.stage(f"ending what is under way, {DRAIN_S:.0f} s at most; Ctrl-C again quits at once")

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
        if executor.drain.begun:
            raise KeyboardInterrupt  # it ends as after a second Ctrl-C
        state = "running"  # until it is weighed: a run killed in between is continued there
    except KeyboardInterrupt:
        state = "interrupted"
        raise RunInterrupted(path) from None
    except ExecutionError as error:
        raise type(error)(f"{error}; continue with: quark-bench run --resume {path}") from error
    finally:
        ended = count_statuses(list_tables(path).records)
        manifest.update(measured(manifest, state, count_trials(ended, plan.planned)))
        store.write_manifest(path, manifest)


def _batches(
    plan: Plan, executor: Executor, layout: Layout, writer: store.RunWriter, manifest: Manifest, began_s: float
) -> Iterator[Batch]:
    """What comes of the blocks, one after another, without the chunks that an earlier session finished."""
    earlier, answered_before = manifest.get("breakers", []), manifest.get("cache")
    for block in plan.blocks:
        setting, finished = layout.settings[block.arm], writer.finished_chunks(block.index)
        if executor.drain.begun:
            return
        if len(finished) < sum(1 for _ in setting.chunks(block)):
            yield from metered(executor, block, setting, finished, manifest)
            now = [{"session": manifest["session"], **each} for each in executor.breakers(began_s)]
            manifest["breakers"] = [*earlier, *now]
            manifest["cache"] = answered_before and counted(answered_before, executor.cache_counts())


def metered(
    executor: Executor, block: Block, setting: Setting, finished: Collection[int], manifest: Manifest
) -> Iterator[Batch]:
    """The block's batches; afterwards its CPU time and peak memory stand in the manifest, and what its arm took so far
    beside what was predicted."""
    before, first_s, last_s = executor.consumption(), math.inf, -math.inf
    for batch in executor.run(block, setting, finished):
        admitted_s, latencies_s = batch.records["start_s"], batch.records["latency_s"]
        first_s = min(first_s, min(admitted_s) + batch.clock_offset_s)
        last_s = max(last_s, max(map(operator.add, admitted_s, latencies_s)) + batch.clock_offset_s)
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


def conclude(path: Path, manifest: Manifest, dataset: Dataset) -> Run:
    """Keep the measures of a run that is scored, and check that no trial was lost. Raises ConservationError."""
    run = Run(path, dataset)
    ended = manifest["conservation"]
    manifest["state"] = "failed" if ended["not_run"] else "complete"
    manifest["measures"] = {arm: measures_as_data(found) for arm, found in run.measures.items()}
    manifest["slo_results"] = [{"text": each.slo.text, "met": each.met, "given": each.given} for each in run.slos]
    store.write_manifest(path, manifest)
    run.manifest = store.read_manifest(path)  # as it is kept: without secrets
    if ended["not_run"]:
        raise ConservationError(
            f"{path.name}: {ended['planned']} trials were planned but {ended['planned'] - ended['not_run']} recorded; "
            "please report this, with the run's folder"
        )
    return run


def _score(
    path: Path,
    dataset: Dataset,
    scorers: Sequence[Scorer],
    chunks: Iterable[Chunk],
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Score the records part by part; the prompts of a part's records are those of its chunks."""
    if not scorers:
        return
    ranges = {(chunk.block.index, chunk.index): slice(chunk.start, chunk.stop) for chunk in chunks}
    for part in list_tables(path).records.parts():
        records = part.read(["block", "chunk", "arm", "repeat", "prompt_id", "answer"])
        here = dict.fromkeys(zip(records["block"], records["chunk"], strict=True))
        prompts = {prompt.id: prompt for place in here for prompt in dataset.prompts[ranges[place]]}
        trials = zip(records["arm"], records["repeat"], records["prompt_id"], records["answer"], strict=True)
        answered = ((a, int(r), p, answer if isinstance(answer, str) else None) for a, r, p, answer in trials)
        store.write_scores(path, score_records(answered, prompts, scorers, clock))
