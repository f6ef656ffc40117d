"""Gate: did the candidate get worse? Baseline and candidate in one job, in interleaved blocks, and a verdict.

What alarms is measured once more with fresh workers before anybody is told.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quark_bench import store
from quark_bench.arrivals import arrivals_of
from quark_bench.asking import with_use
from quark_bench.baseline import Against, Baseline, find_baseline
from quark_bench.bench import check_slos, chosen_chaos, disturb, open_executor, opening_stage
from quark_bench.changes import ARMS, BASELINE, CANDIDATE
from quark_bench.comparable import changed_conditions, changed_questions, dependent_trials
from quark_bench.dataset import Dataset
from quark_bench.errors import UsageError
from quark_bench.execute import Executor
from quark_bench.execute.apart import Apart
from quark_bench.gate_result import REVISION, RUN, GateResult
from quark_bench.manifest import Manifest, as_asked, count_trials, first_manifest, plan_as_data
from quark_bench.measuring import Silent, Task, Watcher, conclude, measure
from quark_bench.model import Model
from quark_bench.model_use import AS_IT_COMES, ModelUse
from quark_bench.parts import count_statuses, list_tables
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Arm, Plan, blocks_a_repeat, chosen_arms, make_plan
from quark_bench.progress import shows_progress
from quark_bench.resolve import resolve, resolve_scorers
from quark_bench.resume import continued
from quark_bench.rule import alarms, confirm
from quark_bench.run import Run
from quark_bench.score_measures import clusters_of
from quark_bench.scoring import judged_agents
from quark_bench.weigh_gate import Stored, Weighed, told_result, weigh

REPEATS = 5
FEWEST_BLOCK_PAIRS = 15
"""Fewer leave the error of a block's mean uncertain: with 10, its 99 % bound is a tenth further away than with 15."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A finished gate: what it found, and the run that it measured."""

    result: GateResult
    run: Run

    @property
    def line(self) -> str:
        """The verdict and why, in one line."""
        from quark_bench.report.gate_sentences import headline

        return headline(self.result)

    def __repr__(self) -> str:
        return self.line

    def _repr_html_(self) -> str:
        from quark_bench import notebook

        return notebook.gate_html(self.result)


@shows_progress
def gate(  # noqa: PLR0913 - one parameter per option of `quark-bench gate`
    dataset: Dataset,
    pipeline: Pipeline | str = "quark",
    *,
    against: Against = None,
    arm: Arm | str = "async",
    on: str = "local",
    insecure: bool = False,
    workers: int | None = None,
    in_flight: int | None = None,
    rate: float | str | None = None,
    arrivals: str | None = None,
    granularity: str = "auto",
    repeats: int = REPEATS,
    warmup: int | None = None,
    seed: int = 0,
    scores: Sequence[str] | None = None,
    slos: Sequence[str] = (),
    model: Model | None = None,
    chaos: str | Sequence[str] = (),
    clusters: str | None = None,
    allow_stored: bool = False,
    use: ModelUse = AS_IT_COMES,
    out: str | Path = "reports",
    resume: str | Path | None = None,
    watcher: Watcher | None = None,
    command: str | None = None,
) -> Gate:
    """Measure a candidate against a baseline, block by block in turn, and judge every measure.

    `against` is a git revision, a run's folder or id, a Pipeline or its name with a colon; None measures the candidate
    against itself: the noise of this machine. `arm` says how both run their prompts, `sync`, `parallel` or `async`.
    `repeats` grow until there are 15 pairs of blocks. `clusters` names a field of the prompts' metadata: prompts
    that share it count as dependent. `allow_stored` takes the comparison with a stored run for a verdict. The other
    options are those of `bench`; with a `rate` both sides meet the same arrivals.

    Raises UsageError for wrong options, ClusterError or ExecutionError when it cannot start or finish.
    """
    watcher = watcher or Silent()
    path = None if resume is None else store.find_run(resume, out)
    begun = None if path is None else _begun(path)
    main, pack = resolve(pipeline, model=model)
    # Of itself a gate judges answers: every further measure is one more that may alarm.
    scorers = resolve_scorers(scores, dataset, [main], agents=False)
    check_slos(slos, ARMS, scorers, main, repeats)
    store.check_out(out)
    (how,), by_cluster = chosen_arms([arm], in_flight, rate, arrivals), clusters_of(dataset, clusters)
    watcher.stage("looking at the baseline")
    with find_baseline(_recorded(begun, against), pipeline, dataset, out, model) as baseline:
        once = _plan(how, baseline, len(dataset), repeats, seed, warmup)
        plan = once if begun is None else _extended(once, max(begun["repeats"], once.repeats))
        shipments = {CANDIDATE: pack()} | ({} if baseline.shipment is None else {BASELINE: baseline.shipment})
        disturbed = chosen_chaos(chaos, main, plan)
        manifest = first_manifest(dataset, main, shipments, plan, [scorer.name for scorer in scorers])
        manifest |= as_asked(command, slos, disturbed, None, use)
        manifest |= {"clusters": clusters, "score_versions": {each.name: each.version for each in scorers}}
        manifest |= {"gating": _gating(baseline, once, repeats)}
        if path is not None:
            manifest = continued(path, manifest)
        stored = _stored_arm(baseline, manifest, how)
        _check_place(on, baseline)
        if path is not None and stored is None:
            _forget_halves(path, plan)
        travelling = disturb(with_use(shipments, use, judged_agents(scorers)), disturbed)
        task = Task(dataset, plan, main, travelling, scorers, granularity, out)
        opened = functools.partial(_open, on, workers, insecure=insecure)
        watcher.stage(opening_stage(on))
        run, found = _measured(task, _Rules(once, stored, by_cluster), manifest, path, opened, watcher)
    result = told_result(run, found, once, allow_stored=allow_stored)
    manifest["gate"] = result.as_data()
    store.write_manifest(run.path, manifest)
    return Gate(result, Run(run.path, dataset))


@dataclass(frozen=True, slots=True)
class _Rules:
    """How a measurement is weighed: `once` is the plan of one, `stored` the baseline where it is not measured here."""

    once: Plan
    stored: Stored | None
    clusters: Mapping[str, str] | None

    def weigh(self, run: Run, repeats: range) -> Weighed:
        return weigh(run, self.stored, repeats, self.clusters)


def _measured(
    task: Task,
    rules: _Rules,
    manifest: Manifest,
    path: Path | None,
    opened: Callable[[Task], Executor],
    watcher: Watcher,
) -> tuple[Run, Weighed]:
    """Measure once, and what alarms once more, with fresh workers and further repeats; the verdicts after that."""
    run, once = _measure(task, manifest, path, opened(task), watcher), rules.once
    first = rules.weigh(run, range(once.repeats))
    if alarms(first.judged) and task.plan.repeats == once.repeats:
        watcher.stage("measuring again what alarmed")
        task = dataclasses.replace(task, plan=_extended(once, 2 * once.repeats))
        _go_on(manifest, task.plan, run.path)
        run = _measure(task, manifest, run.path, opened(task), watcher)
    if task.plan.repeats == once.repeats:
        return run, first
    second = rules.weigh(run, range(once.repeats, task.plan.repeats))
    return run, dataclasses.replace(first, judged=confirm(first.judged, second.judged))


def _measure(task: Task, manifest: Manifest, path: Path | None, opening: Executor, watcher: Watcher) -> Run:
    with opening as executor:
        path = measure(task, executor, manifest, path, watcher)
    return conclude(task, path, manifest, watcher)


def _plan(how: Arm, baseline: Baseline, prompts: int, repeats: int, seed: int, warmup: int | None) -> Plan:
    """Both arms, or the candidate alone against a stored run; enough repeats for enough pairs of blocks."""
    if repeats < 1:
        raise UsageError(f"--repeats {repeats}: give 1 or more")
    candidate = dataclasses.replace(how, name=CANDIDATE, pipeline=None)
    if baseline.kind == RUN:
        return make_plan([candidate], prompts, repeats=repeats, seed=seed, warmup=warmup)
    arms = [dataclasses.replace(how, name=BASELINE, pipeline=baseline.pipeline), candidate]
    repeats = max(repeats, math.ceil(FEWEST_BLOCK_PAIRS / blocks_a_repeat(arms, prompts)))
    return make_plan(arms, prompts, repeats=repeats, seed=seed, warmup=warmup)


def _extended(plan: Plan, repeats: int) -> Plan:
    """The plan with more repeats after its own."""
    return make_plan(plan.arms, plan.prompts, repeats=repeats, seed=plan.seed, warmup=plan.warmup)


def _go_on(manifest: Manifest, plan: Plan, path: Path) -> None:
    """The manifest of the next session, which measures the repeats that the plan now has more."""
    ended = count_statuses(list_tables(path).records)
    manifest |= plan_as_data(plan)
    manifest |= {"state": "running", "session": manifest["session"] + 1, "ended": None}
    manifest |= {"conservation": count_trials(ended, plan.planned)}
    store.write_manifest(path, manifest)  # whoever is killed from here on is continued here


def _gating(baseline: Baseline, once: Plan, asked: int) -> dict[str, Any]:
    """What the manifest says of the two sides; `asked` are the repeats that were asked for."""
    agents = [step.name for step in baseline.pipeline.steps] if baseline.pipeline else []
    if baseline.run is not None:
        agents = [agent["name"] for agent in baseline.run.manifest["pipeline"]["agents"]]
    return {
        "kind": baseline.kind,
        "against": baseline.told,
        "commit": baseline.commit,
        "agents": agents,
        "data_changes": baseline.data_changes,
        "provenance": None if baseline.run is None else baseline.run.manifest["provenance"],
        "asked": asked,
        "repeats": once.repeats,
    }


def _begun(path: Path) -> Manifest:
    begun = store.read_manifest(path)
    if not begun.get("gating"):
        raise UsageError(f"{path} is no gate; continue it with: quark-bench run --resume {path}")
    return begun


def _recorded(begun: Manifest | None, against: Against) -> Against:
    """What a gate that is continued was begun against: a branch may have moved on since."""
    return begun["gating"]["commit"] or against if begun else against


def _forget_halves(path: Path, plan: Plan) -> None:
    """Both sides of a pair of blocks are measured in one session: a pair that lacks anything is measured anew."""
    records = list_tables(path).records.read(["block"])
    there = records["block"].value_counts()
    arms = len(plan.arms)
    unfinished: list[int] = []
    for first in range(0, len(plan.blocks), arms):
        pair = plan.blocks[first : first + arms]
        if any(there.get(block.index, 0) < len(block) for block in pair):
            unfinished.extend(block.index for block in pair)
    store.forget_blocks(path, unfinished)


def _check_place(on: str, baseline: Baseline) -> None:
    """Raise UsageError where a commit's workers could not be started in its own tree."""
    if baseline.kind == REVISION and on != "local":
        raise UsageError(
            f"--on {on}: a git revision is measured in worker processes that are started in its own tree; use "
            "--on local, or name two pipelines"
        )


def _open(on: str, workers: int | None, task: Task, *, insecure: bool) -> Executor:
    """Each arm has worker processes of its own where we start them: neither meets what the other imported."""

    def opened(pipeline: Pipeline) -> Executor:
        return open_executor(
            on, workers, task.plan, pipeline, task.granularity, insecure=insecure, clusters=len(task.plan.arms)
        )

    if on != "local":
        return opened(task.pipeline)
    return Apart({arm.name: opened(arm.pipeline or task.pipeline) for arm in task.plan.arms})


def _stored_arm(baseline: Baseline, manifest: Manifest, how: Arm) -> Stored | None:
    """The stored run and the arm of it that ran as the candidate will; None where the baseline is measured here.

    Raises UsageError where the two would not compare.
    """
    run = baseline.run
    if run is None:
        return None
    then, ran = run.manifest, (how.strategy.value, how.in_flight, how.arrivals)
    alike = [arm["name"] for arm in then["arms"] if (arm["strategy"], arm["in_flight"], arrivals_of(arm)) == ran]
    found = [*changed_questions(then, manifest), *changed_conditions(then, manifest), *dependent_trials(then)]
    if then["state"] != "complete":
        found.append("it is not complete")
    if not alike:
        load = f"with {how.in_flight} in flight" if how.arrivals is None else f"with arrivals {how.arrivals}"
        found.append(f"it has no arm that ran {how.strategy.value} {load}")
    if found:
        raise UsageError(
            f"--against {run.path}: not comparable: {', '.join(found)}; measure it anew, or compare with a git revision"
        )
    return run, alike[-1]
