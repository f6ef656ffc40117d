"""Run: a finished or interrupted run on disk, as tables, measures, comparisons and a report."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from quark_bench import store
from quark_bench.arm_run import agent_named, arm_run, factors_of, least_busy, overheads, threads
from quark_bench.arrivals import arrivals_of
from quark_bench.arrivals_check import ArrivalsCheck, check_arrivals
from quark_bench.attainment import Attained, attained
from quark_bench.blame import Blame
from quark_bench.capacity import Asked, capacity, counts, place_of
from quark_bench.compare import SET_BY_SCHEDULE, Attribution, Comparison, attribute, compare_arms
from quark_bench.critical_path import Layout
from quark_bench.dataset import Dataset, Prompt, PromptsById
from quark_bench.errors import QuarkBenchError, RunNotFoundError, UsageError
from quark_bench.faces import shown, shown_blame, shown_capacity, shown_what_if
from quark_bench.manifest import as_it_stands
from quark_bench.measures import Measure, agent_table, measure_arm, measures_as_data
from quark_bench.model_calls import COLUMNS as CALL_COLUMNS
from quark_bench.model_calls import sum_calls
from quark_bench.pairing import PAIRED
from quark_bench.parts import list_tables
from quark_bench.plan import BUILT_IN_ARMS
from quark_bench.progress import waiting
from quark_bench.report.findings import Findings
from quark_bench.resolve import scorers_for
from quark_bench.score_measures import Repeated, clusters_in
from quark_bench.score_run import score_again
from quark_bench.slo import DEFAULT_SLOS, Slo, SloResult, check, parse_slo, slo_as_data
from quark_bench.sources.recall import recall
from quark_bench.span_sums import SpanSums, sum_spans
from quark_bench.stats import Interval
from quark_bench.stored_trials import StoredTrials
from quark_bench.trials import SCORE_PREFIX, failed_prompts
from quark_bench.weigh_agents import blame_of, discriminations_of, named_blame
from quark_bench.what_if import WhatIf, what_if

if TYPE_CHECKING:
    from dask.delayed import Delayed

    from quark_bench.notebook import Drawn, ShownCapacity, Told

REPORT = "report.html"


class Run:
    """A run's directory as it stood when it was opened. Tables are read when first asked for."""

    def __init__(self, path: str | Path, dataset: Dataset | None = None) -> None:
        self.path = Path(path)
        manifest = store.read_manifest(self.path)
        self._tables = list_tables(self.path)  # after the manifest: where that tells of an end, nothing is missing
        self.manifest = as_it_stands(manifest, self._tables.records)
        self._dataset = dataset

    @classmethod
    def open(cls, named: str | Path, out: str | Path = "reports") -> Run:
        """A run by path, by id below `out`, or `last`. Raises RunNotFoundError."""
        return cls(store.find_run(named, out))

    def __repr__(self) -> str:
        ended = self.manifest["conservation"]
        return f"Run({self.manifest['run_id']!r}, {self.manifest['state']}, {ended['ok']} of {ended['planned']} ok)"

    def _repr_html_(self) -> str:
        from quark_bench import notebook

        return notebook.run_html(self)

    def show(self, prompt_id: str, repeat: int | None = None) -> Told:
        """One prompt, agent by agent, under each arm, in one repeat, counted from 0, or all.

        Raises UsageError, naming the nearest id, where there is no record of it.
        """
        from quark_bench.notebook import record_told

        return record_told(self.findings, prompt_id, repeat)

    def dag(self, arm: str | None = None) -> Drawn:
        """The DAG with what each agent took in an arm, the last unless named, and its share of the critical paths.

        Raises UsageError for an arm that the run does not have.
        """
        from quark_bench.notebook import drawn_dag
        from quark_bench.report.agent_cells import agent_weights

        return drawn_dag(self.layout, agent_weights(self.findings, self._arm(arm or self.arms[-1])))

    def figure(self, name: str) -> Drawn:
        """A figure of the report: `attribution`, `latency`, `waterfall`, `load` or `order`.

        Raises UsageError for another name, and where there is nothing to draw.
        """
        from quark_bench.notebook import drawn_figure

        return drawn_figure(self.findings, name)

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms in the order in which they were given."""
        return tuple(arm["name"] for arm in self.manifest["arms"])

    @property
    def layout(self) -> Layout:
        """The DAG: each agent with the agents it needs, in the order of the pipeline."""
        return tuple((agent["name"], tuple(agent["needs"])) for agent in self.manifest["pipeline"]["agents"])

    @cached_property
    def records(self) -> pd.DataFrame:
        """One row per trial, with a column `score_<name>` for every scorer that judged it."""
        return self.trials.with_scores(self._tables.records.read())

    @cached_property
    def spans(self) -> pd.DataFrame:
        """One row per attempt of an agent's call."""
        return self._tables.spans.read()

    @cached_property
    def calls(self) -> pd.DataFrame:
        """One row per question to a model."""
        return self._tables.calls.read()

    @cached_property
    def trials(self) -> StoredTrials:
        """The same rows for what need not have all of them at once."""
        return StoredTrials(self._tables, self.manifest["scorers"])

    @cached_property
    def _span_sums(self) -> Mapping[str, SpanSums]:
        return {arm: sum_spans(self.trials, arm, self.layout) for arm in self.arms}

    @cached_property
    def measures(self) -> Mapping[str, Mapping[str, Measure]]:
        """All measures by arm."""
        with waiting("weighing"):
            return {
                arm["name"]: measure_arm(
                    self.trials,
                    arm["name"],
                    self._span_sums[arm["name"]],
                    None if arrivals_of(arm) else arm["in_flight"],
                    self.manifest["usage"],
                    self._attained[arm["name"]].good,
                    self._repeated,
                )
                for arm in self.manifest["arms"]
            }

    @cached_property
    def _repeated(self) -> Repeated:
        field = self.manifest.get("clusters")
        return Repeated(self.manifest["repeats"], field and clusters_in(self._data_at_hand or (), field))

    def failed(self, scorer: str | None = None) -> tuple[str, ...]:
        """Ids of the prompts of which a trial failed, in any arm; with a scorer also those that it gave less than 1.

        `data.only(run.failed("exact"))` is what to look at again. Raises UsageError for a scorer that judged nothing.
        """
        try:
            return failed_prompts(self.trials, scorer)
        except UsageError as error:
            raise UsageError(f"run {self.path.name} {error}") from None

    def compare(self, a: str, b: str) -> Comparison:
        """Arm `b` against arm `a`, paired by prompt; ratios above 1 mean that `b` is faster.

        Raises UsageError for an arm that the run does not have.
        """
        a, b = self._arm(a), self._arm(b)
        found = compare_arms(self._paired_columns, a, b, self.measures[a], self.measures[b])
        if any(arrivals_of(arm) for arm in self.manifest["arms"] if arm["name"] in (a, b)):
            found = replace(found, throughput=Interval(None, None, None, 0, SET_BY_SCHEDULE))
        return shown(found)

    def what_if(
        self, agents: Mapping[str, float] | None = None, drop: Collection[str] = (), *, arm: str | None = None
    ) -> WhatIf:
        """What an arm, the last unless named, would do with the durations of `agents` multiplied, and without `drop`.

        Without either, only what making each agent faster gives. Names compare without case and underscores. Raises
        UsageError for an unknown arm or agent, with the nearest, and for an arm without records.
        """
        chosen = arm_run(self.manifest, self.measures, self.trials, arm or self.arms[-1])
        factors = factors_of(self.layout, self._answer, agents or {}, drop)
        with waiting("predicting"):
            return shown_what_if(what_if(self.trials, chosen, self.layout, self._answer, factors))

    def capacity(  # noqa: PLR0913 - one parameter per option of `quark-bench whatif --workers`
        self,
        workers: Sequence[int],
        in_flight: Sequence[int] = (8,),
        *,
        agents: Mapping[str, float] | None = None,
        drop: Collection[str] = (),
        arm: str | None = None,
        granularity: str | None = None,
        cores: float = 1.0,
        rates: Mapping[str, float] | None = None,
        seed: int = 0,
    ) -> ShownCapacity:
        """What the pipeline would do on each number of workers with each number of prompts in flight, simulated.

        Prompts are drawn from the records of an arm, the one with the fewest in flight unless named. `cores` are those
        of a worker, `rates` calls a second by agent, or by several that share them, as in `{"reasoning,planning": 20}`;
        `granularity` is chunk or agent, None the run's. Raises UsageError for what the run does not have, with the
        nearest, and for numbers that are not above 0.
        """
        chosen = arm_run(self.manifest, self.measures, self.trials, arm or least_busy(self.manifest))
        factors = factors_of(self.layout, self._answer, agents or {}, drop)
        place = place_of(self.layout, granularity or self.manifest["granularity"]["choice"], cores, rates or {})
        place = replace(place, threads=threads(self.manifest))
        asked = Asked(counts("workers", workers), counts("in_flight", in_flight), place, factors)
        draws = np.random.default_rng(seed)
        with waiting("simulating"):
            return shown_capacity(capacity(self.trials, chosen, self.layout, asked, overheads(self.manifest), draws))

    def _arm(self, name: str) -> str:
        if name not in self.arms:
            raise UsageError(f"run {self.path.name} has no arm {name!r}; its arms: {', '.join(self.arms)}")
        return name

    @property
    def _answer(self) -> str:
        return agent_named(self.manifest["pipeline"]["answer"], self.layout)

    def blame(self, scorer: str | None = None) -> Blame:
        """Of the wrong answers in each arm, at which agent it first went wrong, by the scores of agents.

        `scorer` says which answers are wrong: one of the run's that judges answers; None means the overall score, or
        the first that reads what the answer says. Raises UsageError for another, and where no agent was judged.
        """
        try:
            return shown_blame(named_blame(self.trials, self.arms, self.layout, self._answer, scorer))
        except UsageError as error:
            raise UsageError(f"run {self.path.name}: {error}") from None

    @cached_property
    def _paired_columns(self) -> pd.DataFrame:
        """What comparing needs of the records of all arms."""
        return self.trials.records([*PAIRED, *(f"{SCORE_PREFIX}{name}" for name in self.trials.scorers)])

    @cached_property
    def slos(self) -> Sequence[SloResult]:
        """The objectives that were given and the default targets, judged."""
        shares = {slo: result for each in self._attained.values() for slo, result in each.results.items()}
        with self._reading_objectives():
            return check([*self._given_slos, *DEFAULT_SLOS], self.measures, self.arms[-1], shares)

    @cached_property
    def _given_slos(self) -> Sequence[Slo]:
        with self._reading_objectives():
            return [parse_slo(text) for text in self.manifest["slos"]]

    @cached_property
    def _attained(self) -> Mapping[str, Attained]:
        agents = [name for name, _ in self.layout]
        with self._reading_objectives():
            return {arm: attained(self.trials, arm, self._given_slos, self.arms, agents) for arm in self.arms}

    @contextmanager
    def _reading_objectives(self) -> Iterator[None]:
        try:
            yield
        except UsageError as error:
            raise RunNotFoundError(f"{self.path}: its objectives cannot be read: {error}") from None

    @property
    def prompts(self) -> Mapping[str, Prompt]:
        """The prompts by id, where the data set is at hand unchanged; else nothing."""
        return {} if self._data_at_hand is None else PromptsById(self._data_at_hand)

    @cached_property
    def _data_at_hand(self) -> Dataset | None:
        try:
            return self.data_set()
        except QuarkBenchError:
            return None

    def data_set(self, path: str | Path | None = None) -> Dataset:
        """The prompts that the run was made of, from their file or a copy of it at `path`.

        Raises DataError where they are not at hand, or are not what they were.
        """
        about, ids = self.manifest["dataset"], lambda: set(self.trials.records(["prompt_id"])["prompt_id"])
        return recall(about, ids, self._dataset, path)

    @cached_property
    def findings(self) -> Findings:
        """Everything that is told about the run, weighed."""
        pairs = [(self.arms[0], arm) for arm in self.arms[1:]]
        throughput, latency = self._attributions()
        return Findings(
            manifest=self.manifest | {"arrivals": [each.as_data() for each in self.arrivals]},
            trials=self.trials,
            measures=self.measures,
            arrivals=self.arrivals,
            comparisons=[self.compare(a, b) for a, b in pairs],
            attribution=throughput,
            latency_attribution=latency,
            slos=self.slos,
            agents={arm: agent_table(self._span_sums[arm], self.layout) for arm in self.arms},
            prompts=self.prompts,
            blame=blame_of(self.trials, self.arms, self.layout, self._answer),
            discriminations=discriminations_of(self.trials, self.arms),
            model_calls=sum_calls((part.read(CALL_COLUMNS) for part in self._tables.calls.parts()), self.arms),
        )

    @cached_property
    def arrivals(self) -> Sequence[ArrivalsCheck]:
        """For every arm with an open load that has records, how its prompts came."""
        checks = (
            check_arrivals(self.trials, arm["name"], asked, arm["in_flight"])
            for arm in self.manifest["arms"]
            if (asked := arrivals_of(arm)) is not None
        )
        return tuple(each for each in checks if each is not None)

    def _attributions(self) -> tuple[Attribution | None, Attribution | None]:
        """Of a gain to prompts in flight: their number is nobody's choice in an open load."""
        if any(map(arrivals_of, self.manifest["arms"])) or not set(BUILT_IN_ARMS) <= set(self.arms):
            return None, None
        return attribute(self._paired_columns)

    def weighed(self) -> dict[str, Any]:
        """What a manifest tells of measures, arrivals and objectives."""
        return {
            "measures": {arm: measures_as_data(found) for arm, found in self.measures.items()},
            "arrivals": [each.as_data() for each in self.arrivals],
            "slo_results": [slo_as_data(each) for each in self.slos],
        }

    def report(self) -> Path:
        """Write the report as one HTML file into the run's directory; its path."""
        from quark_bench.report.html import render

        path = self.path / REPORT
        with waiting("writing the report"):
            store.replace_text(path, render(replace(self.findings, what_if=self._gains())))
        return path

    def score(
        self,
        scores: Sequence[str] | None = None,
        prompts: str | Path | None = None,
        told: Callable[[int, int], object] = lambda done, records: None,
    ) -> Run:
        """Score the stored answers, run nothing, and write measures and report again; the run as it stands then.

        `scores` are scorers as `bench` takes them; scores of the same name and another version are replaced. `told` is
        called with how many records are scored, and of how many. Raises UsageError for a run that is not complete and
        for wrong scorers, DataError where its prompts (a copy of them is `prompts`) are not what they were.
        """
        if self.manifest["state"] != "complete":
            raise UsageError(f"run {self.path.name} is {self.manifest['state']}: scores are for complete runs; end it")
        dataset = self.data_set(prompts)
        score_again(self.path, scorers_for(scores, dataset, self.layout), dataset, told)
        run = Run(self.path, dataset)
        store.write_manifest(self.path, store.read_manifest(self.path) | run.weighed())
        run = Run(self.path, dataset)
        run.report()
        return run

    def export(self, form: str, path: str | Path) -> Sequence[Path]:
        """Write the run in the form of other tools; the files. `form` is `inspect`, `chrome`, `csv`, `parquet` or
        `junit`; `path` a folder for `inspect` (a log for every arm), `csv` and `parquet`, else a file.

        Raises UsageError for another form, ExecutionError where it cannot be written.
        """
        from quark_bench.export import FORMATS, Kept
        from quark_bench.report.run_junit import run_junit_xml

        if form == "junit":
            store.replace_text(Path(path), run_junit_xml(self.manifest, self.trials))
            return [Path(path)]
        if form not in FORMATS:
            raise UsageError(f"--to {form}: no form that a run is written in; give {', '.join(FORMATS)} or junit")
        return FORMATS[form](Kept(self.manifest, self._tables, self.prompts), Path(path))

    def _gains(self) -> WhatIf | None:
        """What making each agent of the last arm faster would give; None where that arm has no records."""
        return None if self.trials.records(["repeat"], self.arms[-1]).empty else self.what_if()

    def graph(self) -> Delayed:
        """The Delayed graph of one prompt, a node an agent: `run.graph().visualize()` draws it."""
        from quark_bench.execute.graph import drawn_graph

        names = [name for name, _ in self.layout]
        return drawn_graph([(name, tuple(names.index(need) for need in needs)) for name, needs in self.layout])
