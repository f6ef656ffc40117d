"""Bench: prompts -> plan -> Dask graph -> records -> scores -> Run, as one function."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from quark_bench import store
from quark_bench.asking import with_use
from quark_bench.chaos import Chaos, ChaoticShipment, parse_chaos
from quark_bench.dataset import Dataset
from quark_bench.errors import UsageError
from quark_bench.execute import Executor
from quark_bench.execute.cluster_spec import read_spec
from quark_bench.execute.process import check_can_spawn, cores
from quark_bench.manifest import as_asked, first_manifest
from quark_bench.measures import measure_names
from quark_bench.measuring import Silent, Task, Watcher, conclude, measure
from quark_bench.model import Model
from quark_bench.model_use import AS_IT_COMES, ModelUse
from quark_bench.pipeline import Pipeline, Shipment
from quark_bench.plan import Arm, Granularity, Plan, chosen_arms, make_plan
from quark_bench.progress import shows_progress
from quark_bench.resolve import resolve, resolve_scorers
from quark_bench.resume import continued
from quark_bench.reuse import described_cache, opened_cache, with_cache
from quark_bench.run import Run
from quark_bench.score_measures import clusters_of
from quark_bench.scoring import AskedScorer, Overall, judged_agents
from quark_bench.slo import parse_slo, require_known
from quark_bench.user_code import pack_pipeline

MOST_WORKERS = 4
MOST_THREADS = 256


@shows_progress
def bench(  # noqa: PLR0913 - one parameter per option of `quark-bench run`
    dataset: Dataset,
    pipeline: Pipeline | str = "quark",
    *,
    arms: Sequence[Arm | str] | None = None,
    on: str = "local",
    insecure: bool = False,
    workers: int | None = None,
    in_flight: int | None = None,
    rate: float | str | None = None,
    arrivals: str | None = None,
    granularity: str = "auto",
    repeats: int = 1,
    warmup: int | None = None,
    seed: int = 0,
    scores: Sequence[str] | None = None,
    slos: Sequence[str] = (),
    model: Model | None = None,
    chaos: str | Sequence[str] = (),
    clusters: str | None = None,
    cache: str | Path | None = None,
    use: ModelUse = AS_IT_COMES,
    out: str | Path = "reports",
    resume: str | Path | None = None,
    watcher: Watcher | None = None,
    command: str | None = None,
) -> Run:
    """Run every prompt through the pipeline in every arm, and keep what was measured.

    `pipeline` is a Pipeline, `quark`, `FILE.py:NAME` or `package.module:NAME`. `arms` are names of built-in
    arms or Arm objects; None means sync, parallel, async. `on` is `local`, `inline`, a scheduler's address or file,
    or a TOML file; `insecure` allows a plain address beyond this machine.
    `rate` makes the load open: so many prompts a second, or `5..50` for a ramp, start when they are due, by the
    `arrivals` poisson (unless named), constant, burst or burst:N; `arms` None means async alone then. `in_flight` None
    means 8, and at most 1,000 in an open load.
    `workers` None means the cores, at most 4. `granularity` is auto, agent or chunk. `warmup` None means
    max(8, in flight) trials an arm. `scores` are scorers as `--score` takes them; None means exact, contains, number
    and f1 where the data set has references, and for agents called nlu, memory, retrieval, planning and
    self_improvement those that it has gold for. `clusters` names a field of the prompts' metadata: prompts that share
    it count as dependent in the intervals of scores. `model` takes the place of every pipeline's own. `chaos` injects
    faults at agents: `reasoning: error=0.05, delay=0.5s@0.1`. `cache` is a file in which the outputs of agents with
    `cache=True` are kept between runs, and from which equal calls are answered, on each machine its own. `use` limits
    the pipelines' model over all workers, records its answers, or sets a budget. `resume` names an unfinished run,
    which is continued with the chunks that are missing.

    Raises UsageError for wrong options, ClusterError or ExecutionError when the run cannot start or finish.
    """
    watcher = watcher or Silent()
    chosen = [with_own(arm, model) for arm in chosen_arms(arms, in_flight, rate, arrivals)]
    plan = make_plan(chosen, len(dataset), repeats=repeats, seed=seed, warmup=warmup)
    store.check_out(out)
    main, shipments = resolve_pipelines(pipeline, plan, model)
    scorers = resolve_scorers(scores, dataset, [main, *(arm.pipeline for arm in plan.arms if arm.pipeline)])
    clusters_of(dataset, clusters)  # before any work is done
    check_slos(slos, [arm.name for arm in plan.arms], scorers, main, repeats)
    require_model(use, main, plan)
    disturbed = chosen_chaos(chaos, main, plan)
    manifest = first_manifest(dataset, main, shipments, plan, [scorer.name for scorer in scorers])
    manifest |= as_asked(command, slos, disturbed, described_cache(cache, main, plan), use)
    manifest |= {"clusters": clusters, "score_versions": {each.name: each.version for each in scorers}}
    path = None if resume is None else store.find_run(resume, out)
    if path is not None:
        manifest = continued(path, manifest)
    opening = open_executor(on, workers, plan, main, granularity, insecure=insecure)
    watcher.stage(opening_stage(on))
    with opened_cache(cache) as kept, opening as executor:
        travelling = with_cache(disturb(with_use(shipments, use, judged_agents(scorers)), disturbed), main, plan, kept)
        task = Task(dataset, plan, main, travelling, scorers, granularity, out)
        path = measure(task, executor, manifest, path, watcher)
    return conclude(task, path, manifest, watcher)


def resolve_pipelines(
    pipeline: Pipeline | str, plan: Plan, model: Model | None = None
) -> tuple[Pipeline, dict[str, Shipment]]:
    """The run's main pipeline, and for each arm what travels to the workers. Raises PipelineError."""
    main, pack_main = resolve(pipeline, model=model)
    shipment = pack_main()
    shipments: dict[str, Shipment] = {}
    for arm in plan.arms:
        shipments[arm.name] = shipment if arm.pipeline is None else pack_pipeline(arm.pipeline)
    return main, shipments


def check_slos(
    slos: Sequence[str], arms: Sequence[str], scorers: Sequence[AskedScorer | Overall], main: Pipeline, repeats: int = 1
) -> None:
    """Raise UsageError for objectives that cannot be read, and for what no run of this pipeline in these arms has."""
    measures = measure_names([scorer.name for scorer in scorers], repeats)
    require_known(map(parse_slo, slos), arms, measures, [step.name for step in main.steps])


def with_own(arm: Arm, model: Model | None) -> Arm:
    """The arm; one with a pipeline of its own has it ask that model, where there is one."""
    return arm if arm.pipeline is None else dataclasses.replace(arm, pipeline=arm.pipeline.with_model(model))


def require_model(use: ModelUse, main: Pipeline, plan: Plan) -> None:
    """Raise UsageError for a way to use models where no arm has any."""
    if use != AS_IT_COMES and all((arm.pipeline or main).model is None for arm in plan.arms):
        raise UsageError(
            f"pipeline {main.name!r} has no model to record, or to limit: give Pipeline(..., model=...), whose agents "
            "ask it with call.model"
        )


def chosen_chaos(texts: str | Sequence[str], main: Pipeline, plan: Plan) -> Chaos | None:
    """The faults to inject. Raises UsageError for what cannot be read and for agents that no arm has."""
    chaos = parse_chaos([texts] if isinstance(texts, str) else texts)
    if chaos is not None:
        chaos.require_agents([agent.name for arm in plan.arms for agent in (arm.pipeline or main).agents])
    return chaos


def disturb(shipments: Mapping[str, Shipment], chaos: Chaos | None) -> Mapping[str, Shipment]:
    """The shipments with the faults in them."""
    return shipments if chaos is None else {arm: ChaoticShipment(each, chaos) for arm, each in shipments.items()}


def opening_stage(on: str) -> str:
    """What a person reads while the executor opens."""
    return {"local": "starting workers", "inline": "starting"}.get(on, f"connecting to {on}")


def open_executor(
    on: str,
    workers: int | None,
    plan: Plan,
    pipeline: Pipeline,
    granularity: str,
    *,
    insecure: bool = False,
    clusters: int = 1,
) -> Executor:
    """The executor that `on` names, one of so many `clusters` that share this machine's memory.

    Raises UsageError for an unknown granularity, wrong counts or a wrong place.
    """
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
    return OnDask(spec, count, threads, clusters)


def local_workers() -> int:
    """Worker processes that are started on this machine where nobody says how many."""
    return min(MOST_WORKERS, cores())
