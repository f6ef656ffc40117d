"""Agents that do nothing: all that is left is what orchestration costs."""

import handwritten
import peers
import pytest
from bars import Beside, Row, at_least, at_most
from work import NULL, makespan_s, texts

pytestmark = pytest.mark.timed

PROMPTS = texts(5_000)
FEW = texts(300)
"""For what would take long with many."""
IN_FLIGHT = 64
CPU_S = 0.3e-3


@pytest.fixture
def rate(run):
    """Prompts a second of a run of ours; `runs` keeps them."""

    def measure(prompts, pipeline, **options):
        measure.runs.append(run(prompts, pipeline, **options))
        return len(prompts) / makespan_s(measure.runs[-1])

    measure.runs = []
    return measure


def test_chunks_of_null_agents_keep_their_share_of_plain_asyncio_and_outrun_other_engines(rate, compare, tell):
    case = f"agents that do nothing, chunk granularity, {IN_FLIGHT} in flight"
    bars = {"langgraph": at_least(20)}
    beside = {"plain asyncio": Beside(lambda: len(PROMPTS) / handwritten.asyncio_s(PROMPTS, IN_FLIGHT), at_least(0.45))}
    for name, took_s in peers.installed(NULL, FEW, IN_FLIGHT).items():
        beside[name] = Beside(lambda took_s=took_s: len(FEW) / took_s(), bars.get(name))
    compare(case, "prompts/s", lambda: rate(PROMPTS, "null", in_flight=IN_FLIGHT), beside)
    cpu_s = [each.measures["async"]["cpu_s_per_prompt"].value for each in rate.runs]
    tell(Row.of_pairs("CPU a prompt, all processes", "s", cpu_s, "what it may take", [CPU_S] * len(cpu_s), at_most(1)))


def test_null_agents_under_every_policy_outrun_asyncio_with_the_same_by_hand(rate, compare):
    compare(
        "the same with timeout, retries, breaker and idempotency key",
        "prompts/s",
        lambda: rate(PROMPTS, "guarded", in_flight=IN_FLIGHT),
        {
            "asyncio with timeout, limit, retry, breaker, trace": Beside(
                lambda: len(PROMPTS) / handwritten.guarded_s(PROMPTS, IN_FLIGHT), at_least(1.15)
            )
        },
    )


def test_a_task_an_agent_is_nearly_as_fast_as_hand_written_delayed(rate, compare, client):
    prompts, in_flight = texts(150), 32
    compare(
        f"the same agents, agent granularity, {in_flight} in flight",
        "prompts/s",
        lambda: rate(prompts, "null", granularity="agent", in_flight=in_flight),
        {
            "hand-written dask.delayed": Beside(
                lambda: len(prompts) / handwritten.delayed_s(client, NULL, prompts, in_flight), at_least(0.9)
            )
        },
        rounds=9,
    )
