"""Agents that do nothing: all that is left is what orchestration costs."""

import handwritten
import peers
import pytest
from bars import Beside, Row, at_least, at_most
from work import NULL, rate, texts

pytestmark = pytest.mark.timed

PROMPTS = texts(5_000)
FEW = texts(300)
"""For those that take long."""
IN_FLIGHT = 64
CPU_S = 0.3e-3


def test_chunks_of_null_agents_keep_their_share_of_plain_asyncio_and_outrun_other_engines(run, compare, tell):
    runs = []

    def ours():
        runs.append(run(PROMPTS, "null", in_flight=IN_FLIGHT))
        return rate(runs[-1])

    beside = {"plain asyncio": Beside(lambda: len(PROMPTS) / handwritten.asyncio_s(PROMPTS, IN_FLIGHT), at_least(0.45))}
    bars = {"langgraph": at_least(20)}
    for name, took_s in peers.installed(NULL, FEW, IN_FLIGHT).items():
        beside[name] = Beside(lambda took_s=took_s: len(FEW) / took_s(), bars.get(name))
    compare(f"agents that do nothing, chunk granularity, {IN_FLIGHT} in flight", "prompts/s", ours, beside)
    cpu_s = [each.measures["async"]["cpu_s_per_prompt"].value for each in runs]
    tell(
        Row.of_pairs(
            "CPU of all processes, at most 0.3 ms a prompt", "s", cpu_s, "its limit", [CPU_S] * len(cpu_s), at_most(1)
        )
    )


def test_null_agents_under_every_policy_outrun_asyncio_with_the_same_by_hand(run, compare):
    by_hand = Beside(lambda: len(PROMPTS) / handwritten.guarded_s(PROMPTS, IN_FLIGHT), at_least(1.15))
    compare(
        "the same with timeout, retries, breaker and idempotency key",
        "prompts/s",
        lambda: rate(run(PROMPTS, "guarded", in_flight=IN_FLIGHT)),
        {"asyncio with timeout, limit, retry, breaker, trace": by_hand},
    )


def test_a_task_an_agent_is_nearly_as_fast_as_hand_written_delayed(run, compare, client):
    prompts, in_flight = texts(150), 32
    by_hand = Beside(lambda: len(prompts) / handwritten.delayed_s(client, NULL, prompts, in_flight), at_least(0.9))
    compare(
        f"agents that do nothing, agent granularity, {in_flight} in flight",
        "prompts/s",
        lambda: rate(run(prompts, "null", "agent", in_flight=in_flight)),
        {"hand-written dask.delayed": by_hand},
        rounds=5,
    )
