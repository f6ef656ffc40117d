"""Fixture: `quark`, a run as part of a test, and the run as the test's outcome."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import QuarkBenchError, UsageError
from quark_bench.plain import one_line, shortened
from quark_bench.pytest_plugin.feeding import Feed
from quark_bench.pytest_plugin.mark import Wanted, wanted
from quark_bench.pytest_plugin.summary import IDLE, TOLD, UNUSED

if TYPE_CHECKING:
    from quark_bench.measures import Measure
    from quark_bench.pipeline import Pipeline
    from quark_bench.plan import Arm
    from quark_bench.rule import Verdict
    from quark_bench.run import Run
    from quark_bench.slo import SloResult

Prompts = Dataset | str | Path | Sequence[str | Prompt]
LONGEST_ERROR = 200
FED = "fed"
"""The arm that latencies belong to which the test measured itself."""
ABOUT = ("mean_latency_s", "p50_latency_s", "p90_latency_s", "p95_latency_s", "p99_latency_s")
ABOUT_RUNS = (*ABOUT, "throughput_per_s", "failed_share")


@dataclass(frozen=True, slots=True)
class Measured:
    """A run; where it is a gate's, its verdict and one line of why."""

    run: Run
    verdict: Verdict | None = None
    line: str = ""


class Quark:
    """What the fixture gives a test; one use a test, as a test is one benchmark."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self._node = request.node
        self._folder = folder
        self._used = False
        self._wanted = _wanted_of(self._node)
        self._feed = Feed(request)

    def __call__(
        self,
        pipeline: Pipeline | str,
        prompts: Prompts,
        *,
        arm: Arm | str = "async",
        limit: int | None = None,
        **options: Any,
    ) -> Run:
        """Run prompts through a pipeline, feed the latencies of what was answered, and judge what the mark asks.

        `prompts` is a Dataset, a file, or a list of texts or Prompts; `limit` takes the first so many. Options are
        those of `quark_bench.bench`, and have precedence over the mark's: `on` is inline and `repeats` 1 unless told;
        against a baseline they are those of `quark_bench.gate.gate`, with its own defaults. Fails the test, in one
        line, where an objective was missed, the gate found it regressed, every trial failed, or there was no run.
        """
        self._use()
        with told_in_a_line():
            return self._conclude(self._measure(pipeline, prompts, arm, limit, options))

    async def awaited(
        self,
        pipeline: Pipeline | str,
        prompts: Prompts,
        *,
        arm: Arm | str = "async",
        limit: int | None = None,
        **options: Any,
    ) -> Run:
        """The same in a thread of its own, so that the test's event loop goes on meanwhile."""
        self._use()
        with told_in_a_line():
            return self._conclude(await asyncio.to_thread(self._measure, pipeline, prompts, arm, limit, options))

    def feed(self, latencies_s: Iterable[float], **about: Any) -> None:
        """Feed latencies, in seconds, that the test measured itself, and judge the mark's objectives by them.

        `about` is kept beside them in the JSON file. Fails the test, in one line, where an objective was missed, there
        are none at all, or one is no duration.
        """
        self._use()
        with told_in_a_line():
            if self._wanted.against is not None:
                raise UsageError("against= compares pipelines: call quark(pipeline, prompts) instead of quark.feed")
            given = durations(latencies_s)
            measures = measures_of(given)
            self._take(given, measures, about)
            self._judge(fed_results(self._wanted.slo, measures, given), [])

    def close(self) -> None:
        """The test is over."""
        if not self._used:
            self._note(UNUSED, "")
        self._feed.close()

    def _use(self) -> None:
        if self._used:
            pytest.fail("quark was used before in this test: parametrize it, a test is one benchmark", pytrace=False)
        if self._feed.taken:
            pytest.fail("benchmark was used before in this test: a test is one benchmark", pytrace=False)
        self._used = True

    def _measure(
        self, pipeline: Pipeline | str, prompts: Prompts, arm: Arm | str, limit: int | None, options: dict[str, Any]
    ) -> Measured:
        dataset = dataset_of(prompts, self._node.name)
        dataset = dataset if limit is None else dataset.limit(limit)
        given: dict[str, Any] = {"out": self._folder, "slos": self._wanted.slo, **self._wanted.options, **options}
        if self._wanted.against is not None:
            from quark_bench.gate import gate

            found = gate(dataset, pipeline, against=self._wanted.against, arm=arm, **given)
            return Measured(found.run, found.result.verdict, found.line)
        from quark_bench.bench import bench

        return Measured(bench(dataset, pipeline, arms=[arm], **{"on": "inline", **given}))

    def _conclude(self, measured: Measured) -> Run:
        from quark_bench.rule import Verdict

        run, line = measured.run, measured.line
        arm = run.arms[-1]
        self._take(latencies_of(run, arm), run.measures[arm], {"run": str(run.path), "arm": arm})
        if line:
            self._note(TOLD, line)
        failures = [line] if measured.verdict is Verdict.REGRESSED else []
        self._judge([each for each in run.slos if each.given], [*all_failed(run), *failures])
        if measured.verdict is Verdict.INCONCLUSIVE and self._wanted.inconclusive == "skip":
            pytest.skip(line)
        if measured.verdict is Verdict.INCONCLUSIVE and self._wanted.inconclusive == "fail":
            pytest.fail(line, pytrace=False)
        return run

    def _take(self, latencies_s: Sequence[float], measures: Mapping[str, Measure], about: Mapping[str, Any]) -> None:
        """Feed pytest-benchmark, or note why not."""
        if why := self._feed.idle or ("" if latencies_s else "no prompt was answered"):
            self._note(IDLE, why)
            return
        from quark_bench.measures import measures_as_data
        from quark_bench.trials import SCORE_PREFIX

        told = {name: each for name, each in measures.items() if name in ABOUT_RUNS or name.startswith(SCORE_PREFIX)}
        self._feed.take(latencies_s, {**about, "n": len(latencies_s), "measures": measures_as_data(told)})

    def _judge(self, results: Iterable[SloResult], failures: list[str]) -> None:
        """Fail the test for what is known to have failed, and for objectives that were missed."""
        for result in results:
            if result.met is None:
                self._note(TOLD, f"{result.slo.text} not judged: {result.note}")
            elif not result.met:
                failures.append(f"{result.slo.text} missed: {result.unit.format(result.value)} [{bounds(result)}]")
        if failures:
            pytest.fail("; ".join(failures), pytrace=False)

    def _note(self, name: str, line: str) -> None:
        self._node.user_properties.append((name, line))


def _wanted_of(node: pytest.Item) -> Wanted:
    """What the test's marks ask; where that cannot be read the test fails before anything runs."""
    from quark_bench.slo import parse_slo

    outermost_first = list(node.iter_markers("quark"))[::-1]
    with told_in_a_line():
        found = wanted((mark.args, mark.kwargs) for mark in outermost_first)
        for text in found.slo:
            parse_slo(text)
    return found


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """Inside, an error that is addressed to a person fails the test with what it says."""
    try:
        yield
    except QuarkBenchError as error:
        pytest.fail(str(error), pytrace=False)


def durations(latencies_s: Iterable[float]) -> list[float]:
    """The latencies as seconds. Raises UsageError for none at all, and for what no time can be."""
    given = [float(latency_s) for latency_s in latencies_s]
    if wrong := [latency_s for latency_s in given if not (math.isfinite(latency_s) and latency_s >= 0)]:
        raise UsageError(f"quark.feed: {wrong[0]} is no latency; give finite seconds, 0 or more")
    if not given:
        raise UsageError("quark.feed: no latencies; give at least one")
    return given


def dataset_of(prompts: Prompts, name: str) -> Dataset:
    """The data set that is meant; texts are named by their position. Raises DataError."""
    if isinstance(prompts, Dataset):
        return prompts
    if isinstance(prompts, str | Path):
        return Dataset.read(prompts)
    numbered = enumerate(prompts, 1)
    return Dataset((each if isinstance(each, Prompt) else Prompt(f"p-{n}", each) for n, each in numbered), name)


def latencies_of(run: Run, arm: str) -> list[float]:
    """Seconds that the arm's answered records took, in the order in which they ended."""
    from quark_bench.trials import is_answered

    records = run.trials.records(["session", "status", "start_s", "latency_s"], arm)
    answered = records[is_answered(records)]
    ended = answered.assign(end_s=answered["start_s"] + answered["latency_s"]).sort_values(["session", "end_s"])
    return [float(latency_s) for latency_s in ended["latency_s"]]


def measures_of(latencies_s: Sequence[float]) -> dict[str, Measure]:
    """What can be said of latencies alone."""
    from quark_bench import stats
    from quark_bench.measures import Measure
    from quark_bench.pytest_plugin.feeding import PERCENTS
    from quark_bench.units import SECONDS, Direction

    found = {"mean_latency_s": stats.mean_interval(latencies_s)}
    found |= {f"p{each}_latency_s": stats.quantile_interval(latencies_s, each / 100) for each in PERCENTS}
    return {
        name: Measure(name, each.value, SECONDS, Direction.LOWER, each.low, each.high, each.note)
        for name, each in found.items()
    }


def fed_results(slos: Sequence[str], measures: Mapping[str, Measure], latencies_s: Sequence[float]) -> list[SloResult]:
    """The objectives judged by latencies alone, each of them that of a trial. Raises UsageError for fields beside."""
    from quark_bench import stats
    from quark_bench.slo import OPERATORS, check, judged_share, parse_slo

    given = [parse_slo(text) for text in slos]
    attained = {}
    for slo in given:
        if slo.share is not None:
            if (slo.prefix, slo.name) != (None, "latency_s"):
                raise UsageError(f"{slo.text}: quark.feed knows latencies only; write it of latency_s")
            kept = sum(OPERATORS[slo.op](latency_s, slo.limit) for latency_s in latencies_s)
            attained[slo] = judged_share(slo, FED, stats.wilson(kept, len(latencies_s)))
    return check(given, {FED: measures}, FED, attained)


def bounds(measure: Measure | SloResult) -> str:
    """The measure's interval with its unit said once, or why there is none."""
    if measure.low is None or measure.high is None:
        return measure.note or "no interval"
    low, high = measure.unit.format(measure.low), measure.unit.format(measure.high)
    number, space, unit = low.rpartition(" ")
    return f"{number if space and high.endswith(f' {unit}') else low} to {high}"


def all_failed(run: Run) -> list[str]:
    """A line for a run that has no answer at all."""
    ended = run.manifest["conservation"]
    if ended["failed"] < ended["planned"]:
        return []
    first = shortened(str(run.trials.struck(["error"])["error"].dropna().iloc[0]), LONGEST_ERROR)
    return [f"every trial failed; the first error: {one_line(first)}"]
