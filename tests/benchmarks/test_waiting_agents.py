"""Agents that wait, as those do that ask a model: what they take, beside what they would take without overhead."""

from pathlib import Path

import handwritten
import peers
import pytest
import work
from bars import Beside, Row, at_least, at_most
from work import BESIDE, WAITS, ideal_s, makespan_s, rate, texts, uneven_texts

PIPELINES = Path(__file__).parent / "pipelines.py"
SHARED = texts(200)
"""Prompts of the benchmarks that others take part in, 32 in flight."""


def ideal(prompts, in_flight, bar):
    return {"ideal": Beside(ideal_s(prompts, in_flight), bar)}


@pytest.mark.timed
def test_chunks_take_little_longer_than_without_overhead(run, compare):
    others = {name: Beside(took_s) for name, took_s in peers.installed(WAITS, SHARED, 32).items()}
    compare(
        "agents that wait, chunk granularity, 32 in flight, 200 prompts",
        "s",
        lambda: makespan_s(run(SHARED, "waits", in_flight=32)),
        ideal(SHARED, 32, at_most(1.05)) | others,
    )


@pytest.mark.scale
@pytest.mark.parametrize(
    ("prompts", "in_flight", "bar"),
    [
        pytest.param(texts(2_560), 256, at_most(1.05), id="many"),
        pytest.param(uneven_texts(200), 32, at_most(1.1), id="uneven"),
        pytest.param(uneven_texts(2_560), 256, at_most(1.1), id="many uneven"),
    ],
)
def test_many_or_uneven_prompts_take_little_longer_than_without_overhead(run, compare, prompts, in_flight, bar):
    uneven = ", 5 % of them ten times slower" if work.SLOW in prompts[0] else ""
    compare(
        f"{in_flight} in flight, {len(prompts):,} prompts{uneven}",
        "s",
        lambda: makespan_s(run(prompts, "waits", in_flight=in_flight)),
        ideal(prompts, in_flight, bar),
    )


@pytest.mark.scale
def test_a_task_an_agent_hides_most_of_its_hops_behind_other_prompts(run, compare, client):
    by_hand = Beside(lambda: handwritten.delayed_s(client, WAITS, SHARED, 32))
    compare(
        "agent granularity, 32 in flight, 200 prompts",
        "s",
        lambda: makespan_s(run(SHARED, "waits", "agent", in_flight=32)),
        ideal(SHARED, 32, at_most(1.6)) | {"hand-written dask.delayed": by_hand},
    )


@pytest.mark.scale
def test_auto_is_as_fast_as_the_better_granularity(run, compare):
    def took_s(granularity):
        return makespan_s(run(SHARED, "waits", granularity, in_flight=32))

    beside = {"the better of both": Beside(lambda: min(took_s("chunk"), took_s("agent")), at_most(1.05))}
    compare("granularity auto, 32 in flight, 200 prompts", "s", lambda: took_s("auto"), beside)


@pytest.mark.scale
def test_a_thousand_in_flight_keep_their_throughput(run, compare):
    prompts, in_flight = texts(20_000), 1_024
    compare(
        f"{in_flight:,} in flight, {len(prompts):,} prompts",
        "prompts/s",
        lambda: rate(run(prompts, "waits", in_flight=in_flight)),
        {"ideal": Beside(len(prompts) / ideal_s(prompts, in_flight), at_least(0.85))},
    )


@pytest.mark.scale
def test_a_slow_branch_holds_up_no_chain_beside_it(run, compare):
    """Whatever the agents' names: some engines take the ready ones in the order of these."""

    def slowest_s():
        return max(latency_s(run(["one"], name, arm="parallel", warmup=1)) for name in BESIDE)

    graph = BESIDE["slow_first"]
    others = {name: Beside(took_s) for name, took_s in peers.installed(graph, ["one"], 8).items()}
    compare(
        "one prompt with a slow branch beside an unrelated chain",
        "s",
        slowest_s,
        {"ideal": Beside(graph.critical_path_s, at_most(1.02))} | others,
    )


@pytest.mark.timed
@pytest.mark.quark(slo="failed_share<=0", repeats=5)
@pytest.mark.parametrize("place", ["inline", "chunk"])
def test_one_prompt_takes_little_longer_than_its_critical_path(request, quark, tell, place):
    on = "inline" if place == "inline" else request.getfixturevalue("client").scheduler.address
    run = quark(f"{PIPELINES}:waits", ["one"], arm="parallel", on=on, granularity="chunk", warmup=1)
    row = Row.of_pairs(
        "one prompt, inline and at chunk granularity",
        "s",
        run.records["latency_s"],
        f"its critical path, {place}",
        [WAITS.critical_path_s] * len(run.records),
        at_most(1.02),
    )
    tell(row)
    assert row.bearable


def latency_s(run):
    """Of its only prompt."""
    return run.records["latency_s"].item()
