"""Sweep: the same prompts at one load after another, each a run of its own: where is the knee, and up to which load are
the objectives met?

`search` says which load comes next; here it is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quark_bench import store
from quark_bench.bench import bench, check_slos
from quark_bench.dataset import Dataset
from quark_bench.errors import ExecutionError, RunInterrupted, RunNotFoundError, UsageError
from quark_bench.measuring import Silent, Watcher
from quark_bench.model import Model
from quark_bench.model_use import AS_IT_COMES, ModelUse
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Arm, Plan, built_in_arm
from quark_bench.record import Batch
from quark_bench.report.findings import titled
from quark_bench.resolve import resolve, resolve_scorers
from quark_bench.run import Run
from quark_bench.search import Levels, next_level, parse_levels
from quark_bench.slo import parse_slo
from quark_bench.stats import fewest_for_share
from quark_bench.sweep_result import LevelResult, Load, SweepResult
from quark_bench.sweep_store import find_sweep, new_sweep, read_sweep, write_sweep

DEFAULT_LEVELS = "1..64"
PAGE = "sweep.html"
Measure = Callable[[float, Path, Path | None, Watcher], Run]
"""From a level, the folder of its run, the run there that is to be continued, and a watcher, to the finished run."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """A finished sweep: what it found, and its folder, with a folder for the run of each level."""

    result: SweepResult
    path: Path

    def run(self, level: float) -> Run:
        """The run at a level. Raises UsageError, naming those there are, for one that was not measured."""
        found = {each.level: each.run for each in self.result.ascending}
        if level not in found:
            raise UsageError(f"{level:g} was not measured; the levels are {', '.join(f'{each:g}' for each in found)}")
        return Run(self.path / found[level])

    def report(self) -> Path:
        """Write the page with the curves as one HTML file into the sweep's folder; its path."""
        from quark_bench.report.sweep_page import render_sweep

        store.replace_text(self.path / PAGE, render_sweep(self.result))
        return self.path / PAGE

    def __repr__(self) -> str:
        from quark_bench.report.sweep_table import headlines

        return "; ".join(headlines(self.result))

    def _repr_html_(self) -> str:
        from quark_bench import notebook

        return notebook.sweep_html(self.result)


def sweep(  # noqa: PLR0913 - one parameter per option of `quark-bench sweep`
    dataset: Dataset,
    pipeline: Pipeline | str = "quark",
    *,
    in_flight: str | Sequence[int] | None = None,
    rate: str | Sequence[float] | None = None,
    arrivals: str | None = None,
    arm: Arm | str = "async",
    on: str = "local",
    insecure: bool = False,
    workers: int | None = None,
    granularity: str = "auto",
    repeats: int = 1,
    warmup: int | None = None,
    seed: int = 0,
    scores: Sequence[str] | None = None,
    slos: Sequence[str] = (),
    chaos: str | Sequence[str] = (),
    model: Model | None = None,
    use: ModelUse = AS_IT_COMES,
    out: str | Path = "reports",
    resume: str | Path | None = None,
    watcher: Watcher | None = None,
    command: str | None = None,
) -> Sweep:
    """Run the prompts at one load after another, and find the knee and the highest load that meets the objectives.

    `in_flight` are prompts under way at once, `rate` prompts that arrive a second; either a list, every level of which
    is measured, or a range such as `1..64`, which is also what None for both means. A range is doubled until a level
    does not meet `slos` by their whole intervals, then the gap is halved down to 5 %. `resume` names an unfinished
    sweep, of which finished levels are not measured again. The other options are those of `bench`.

    Raises UsageError for wrong options, ClusterError or ExecutionError when a level cannot start or finish.
    """
    load, levels = _asked(in_flight, rate)
    _at(levels.values[0], load, arm, arrivals)  # of arms that have no such load it says so before anything is made
    name = built_in_arm(arm, 1).name if isinstance(arm, str) else arm.name
    store.check_out(out)
    main, pack = resolve(pipeline, model=model)
    check_slos(slos, [name], resolve_scorers(scores, dataset, [main]), main, repeats)
    _require_enough(slos, levels, len(dataset))
    same: dict[str, Any] = {"repeats": repeats, "warmup": warmup, "seed": seed, "granularity": granularity}
    same |= {"scores": scores, "slos": list(slos), "chaos": [chaos] if isinstance(chaos, str) else list(chaos)}
    place: dict[str, Any] = {"on": on, "insecure": insecure, "workers": workers}

    def measure(level: float, folder: Path, begun: Path | None, shown: Watcher) -> Run:
        where: dict[str, Any] = {"out": folder, "resume": begun, "watcher": shown, **place}
        run = bench(dataset, pipeline, **_at(level, load, arm, arrivals), **same, model=model, use=use, **where)
        shown.stage("writing the report")
        run.report()
        return run

    about = {"load": load.value, "levels": str(levels), "arm": name, "data set": dataset.content_hash}
    about |= {"pipeline's code": pack().code_hash, "latency profile": str(main.latency_profile)}
    about |= {"model": main.model.name if main.model else "none"}
    about |= {"arrivals": arrivals or "", "limits of the model": str(use.limits)}
    found = SweepResult(f"{main.name} over {dataset.name}", load, levels, tuple(slos), ())
    if resume is None:
        path = new_sweep(out, Path(dataset.name).stem)
    else:
        path = find_sweep(resume, out)
        found = _begun(path, about | same)
    kept = {"command": command, "folder": str(Path.cwd()), "identity": about | same}
    return Sweep(_carry_out(path, found, kept, measure, watcher or Silent()), path)


def _require_enough(slos: Sequence[str], levels: Levels, prompts: int) -> None:
    """Raise UsageError where no level of a range could be shown to meet an objective: a search would end at once."""
    for slo in map(parse_slo, slos):
        needed = 0 if slo.share is None else fewest_for_share(slo.share)
        if levels.is_range and prompts < needed:
            raise UsageError(
                f"--slo {slo.text!r}: of {prompts:,} prompts not even all within it would show it; a search takes "
                f"{needed:,} prompts or a lower share, or list the levels, as in 1,2,4,8"
            )


def _at(level: float, load: Load, arm: Arm | str, arrivals: str | None) -> dict[str, Any]:
    """What of `bench` makes the load."""
    if load is Load.RATE:
        return {"arms": [arm], "rate": level, "arrivals": arrivals}
    if arrivals is not None:
        raise UsageError(f"--arrivals {arrivals} without a rate; sweep rates, as in --rate 1..100")
    if isinstance(arm, Arm):
        return {"arms": [replace(arm, in_flight=int(level))]}
    if arm != "async":
        raise UsageError(f"--arm {arm} is no arm with many prompts in flight; sweep arm async")
    return {"arms": [arm], "in_flight": int(level)}


def _asked(in_flight: str | Sequence[int] | None, rate: str | Sequence[float] | None) -> tuple[Load, Levels]:
    if in_flight is not None and rate is not None:
        raise UsageError("--in-flight and --rate are two sweeps; give one of them")
    load, given = (Load.RATE, rate) if rate is not None else (Load.IN_FLIGHT, in_flight or DEFAULT_LEVELS)
    text = given if isinstance(given, str) else ",".join(f"{level:.12g}" for level in given)
    return load, parse_levels(text, load.option, whole=load is Load.IN_FLIGHT)


def _begun(path: Path, identity: Mapping[str, Any]) -> SweepResult:
    """What a sweep that is continued has found so far. Raises UsageError naming what changed since it began."""
    told = read_sweep(path)
    try:
        then = told["identity"]
        changed = [name for name, now in identity.items() if then[name] != now]
        found = SweepResult.of_data(told)
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise RunNotFoundError(
            f"{path}: the sweep cannot be read: {error}; it is damaged or was not made here"
        ) from None
    if changed:
        raise UsageError(
            f"{path} cannot be continued: {', '.join(changed)} changed since it began; restore what it was, or begin "
            "a new sweep without --resume"
        )
    return found


def _carry_out(
    path: Path, found: SweepResult, kept: Mapping[str, Any], measure: Measure, watcher: Watcher
) -> SweepResult:
    """Measure level after level; after each, what was found so far is kept."""
    again = f"quark-bench sweep --resume {path}"

    def keep(state: str) -> None:
        write_sweep(path, {**kept, "state": state, **found.as_data()})

    keep("running")
    while (level := next_level(found.asked, found.history, judged=bool(found.slos))) is not None:
        told = found.load.told(level)
        folder = path / told.replace(",", "").replace(" ", "-")
        try:
            run = _finished(folder) or measure(level, folder, _unfinished(folder), _AtLevel(watcher, told))
        except KeyboardInterrupt:
            keep("interrupted")
            raise RunInterrupted(path, again) from None
        except ExecutionError as error:
            keep("failed")
            raise type(error)(f"at {told}: {error}; continue the sweep with: {again}") from error
        result = level_result(level, run, path)
        everywhere = {**run.manifest, "arms": (), "arrivals": ()}  # the arrivals are what differs from level to level
        title = titled(everywhere, f"{run.manifest['pipeline']['name']} over {run.manifest['dataset']['name']}")
        found = replace(found, title=title, levels=(*found.levels, result))
        keep("running")
    keep("complete")
    return found


def _runs(folder: Path) -> list[Run]:
    return [Run(path) for path in store.list_runs(folder)]


def _finished(folder: Path) -> Run | None:
    """The run of a level that was finished before what it found was kept."""
    return next((run for run in _runs(folder) if run.manifest["state"] == "complete"), None)


def _unfinished(folder: Path) -> Path | None:
    return next((run.path for run in _runs(folder)), None)


def level_result(level: float, run: Run, sweep_path: Path) -> LevelResult:
    """What the run of a level found."""
    arm, ended = run.arms[-1], run.manifest["conservation"]
    return LevelResult(
        level=level,
        run=str(run.path.relative_to(sweep_path)),
        prompts=run.manifest["dataset"]["prompts"],
        trials=ended["planned"],
        failed=ended["failed"],
        measures=run.measures[arm],
        objectives=tuple(each for each in run.slos if each.given),
        behind=next((each.why for each in run.arrivals if each.arm == arm), ""),
    )


class _AtLevel:
    """A watcher that says at which level."""

    def __init__(self, watcher: Watcher, told: str) -> None:
        self._watcher = watcher
        self._told = told

    def stage(self, name: str) -> None:
        self._watcher.stage(f"{self._told}: {name}")

    def began(self, plan: Plan, dashboard: str | None) -> None:
        self._watcher.began(plan, dashboard)
        self._watcher.stage(self._told)

    def finished_before(self, arm: str, trials: int) -> None:
        self._watcher.finished_before(arm, trials)

    def advanced(self, batch: Batch) -> None:
        self._watcher.advanced(batch)

    def scored(self, done: int, records: int) -> None:
        self._watcher.scored(done, records)
