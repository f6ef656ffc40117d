"""The live orchestrator on simulated latencies: the claims of the design document it comes from."""

import asyncio
import functools
import time
from typing import NamedTuple

import pytest
from bars import Beside, Row, at_least, at_most
from work import texts

from quark_bench import AsyncOrchestrator, Orchestrator, Router
from quark_bench.agents.quark import quark

WHOLE = Router("nlu", {})
"""Every prompt gets all seven agents."""


class Seen(NamedTuple):
    """What a crowd of callers saw: answers a second, their mean latency, and the orchestrator's own statistics."""

    rate: float
    latency_s: float
    work_s: float
    stats: dict


def drive(profile, workers, prompts, callers):
    """Callers ask the next prompt when they have an answer; until the last agent of the last prompt has ended."""

    async def run():
        orchestrator = AsyncOrchestrator(workers, pipeline=quark(latency=profile), routes=WHOLE)
        asked, latencies_s, answers = iter(texts(prompts)), [], []

        async def caller():
            for text in asked:
                begun_s = time.perf_counter()
                answer = await orchestrator.handle(text)
                latencies_s.append(time.perf_counter() - begun_s)
                answers.append(answer)

        async with orchestrator:
            begun_s = time.perf_counter()
            await asyncio.gather(*(caller() for _ in range(callers)))
            works_s = [(await answer.finished()).record.work_s for answer in answers]
            took_s = time.perf_counter() - begun_s
            stats = await orchestrator.get_performance_stats()
        assert all(answer.success for answer in answers)
        assert stats["execution_stats"]["completed_tasks"] == prompts
        return Seen(prompts / took_s, sum(latencies_s) / prompts, sum(works_s) / prompts, stats)

    return asyncio.run(run())


@functools.cache
def one_synchronous_caller(profile, prompts=2):
    """Prompts a second."""
    with Orchestrator(pipeline=quark(latency=profile), routes=WHOLE) as orchestrator:
        begun_s = time.perf_counter()
        for text in texts(prompts):
            orchestrator.handle(text)
        return prompts / (time.perf_counter() - begun_s)


@pytest.mark.scale
def test_the_documents_targets_are_reached_on_its_latencies(compare, tell):
    seen = []

    def ours():
        seen.append(drive("quark", workers=64, prompts=168, callers=24))
        return seen[-1].rate

    case = "live, latencies of the design document, 64 workers, 24 callers"
    compare(
        case,
        "prompts/s",
        ours,
        {
            "the document's target": Beside(10.0, at_least(1)),
            "one synchronous caller": Beside(functools.partial(one_synchronous_caller, "quark"), at_least(3)),
        },
        rounds=2,
    )
    metrics = [each.stats["performance_metrics"] for each in seen]
    rows = [
        Row.of_pairs(f"{case}: mean latency, at most 2 s", "s", [each.latency_s for each in seen], "its limit",
                     [2.0] * len(seen), at_most(1)),
        Row.of_pairs(f"{case}: parallel rate, at least 60 %", "share", [each["parallel_rate"] for each in metrics],
                     "its limit", [0.6] * len(seen), at_least(1)),
    ]  # fmt: skip
    for row in rows:
        tell(row)
    assert all(row.bearable for row in rows)
    assert {each["concurrent_agents"] for each in metrics} == {3}


@pytest.mark.scale
@pytest.mark.parametrize("workers", [4, 8])
def test_few_workers_are_kept_busy_on_the_documents_latencies(compare, workers):
    share_of_bound(compare, "quark", workers, prompts=12 * workers, rounds=1)


@pytest.mark.timed
def test_few_workers_are_kept_busy(compare):
    share_of_bound(compare, "demo", workers=4, prompts=60, rounds=1)


def share_of_bound(compare, profile, workers, prompts, rounds):
    """Throughput beside the most that so many workers can do: max_workers / work."""
    bounds = []

    def ours():
        seen = drive(profile, workers, prompts, callers=6 * workers)
        bounds.append(workers / seen.work_s)
        return seen.rate

    ours()  # what the bound is has to be known first
    compare(
        f"live, latency profile {profile}, {workers} workers",
        "prompts/s",
        ours,
        {"max_workers / work": Beside(lambda: bounds[-1], at_least(0.9))},
        rounds=rounds,
    )
