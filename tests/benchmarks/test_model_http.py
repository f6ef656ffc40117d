"""How exact and how dear the client of models is, beside a server whose latencies are known."""

import asyncio
import time

import pytest
from bars import Beside, Row, at_least, at_most

from quark_bench import openai_model
from quark_bench.agent import Call
from quark_bench.testing import ModelServer, sustained_rps

pytestmark = pytest.mark.timed

TRUE_S = 0.290
"""First token after 100 ms, then 19 times 10 ms."""
LIMIT_S = {1: 0.292, 64: 0.300}
"""Of the median that is reported, by requests in flight."""
REQUESTS = 3_000
CPU_S = 1e-3
MESSAGES = [{"role": "user", "content": "as fast as it can"}]


def call():
    return Call("asker", "p-1", 0, 1, 0, 60.0, None, "", None, blocking=False)


@pytest.fixture(scope="module")
def paced():
    with ModelServer(first_token_s=0.1, between_tokens_s=0.01, tokens=20) as server:
        yield server


@pytest.mark.scale
@pytest.mark.parametrize("in_flight", LIMIT_S)
@pytest.mark.parametrize("on", ["inline", "local"])
def test_latencies_are_the_servers(compare, run_on, paced, on, in_flight):
    """Of prompts whose one agent asks once: with all that the client and what runs it add."""
    model = openai_model("m", base_url=paced.base_url)
    texts = [f"prompt {number}" for number in range(24 if in_flight == 1 else 640)]
    arm = "sync" if in_flight == 1 else "async"

    def median_s():
        run = run_on(
            on, texts, "asking", arm=arm, in_flight=in_flight, workers=2, granularity="chunk", model=model, scores=()
        )
        return float(run.records["latency_s"].median())

    case = f"median latency, {in_flight} in flight, {on}, of a model that takes 290 ms; at most {LIMIT_S[in_flight]} s"
    bar = at_most(LIMIT_S[in_flight] / TRUE_S)
    compare(case, "s", median_s, {"the server's": Beside(TRUE_S, bar)}, rounds=3)


def test_a_streamed_request_costs_little(compare, tell):
    """In one event loop, 64 requests in flight, on a server without latency; beside bare sockets on the same server."""
    rates = []
    with ModelServer(first_token_s=0, between_tokens_s=0, tokens=20) as server:
        model = openai_model("m", base_url=server.base_url)

        async def ask():
            async def asker():
                for _ in range(REQUESTS // 64):
                    await model.reply(MESSAGES, call())

            await asyncio.gather(*(asker() for _ in range(64)))

        def cpu_s():
            began_s, cpu_s = time.perf_counter(), time.process_time()
            asyncio.run(ask())
            done = REQUESTS // 64 * 64
            rates.append(done / (time.perf_counter() - began_s))
            return (time.process_time() - cpu_s) / done

        compare("CPU of a streamed request, at most 1 ms", "s", cpu_s, {"its limit": Beside(CPU_S, at_most(1))})
        bare = [sustained_rps(server.base_url, REQUESTS) for _ in rates]
    case = "streamed requests, 20 tokens, one core"
    row = Row.of_pairs(case, "req/s", rates, "1,000 a second", [1_000.0] * len(rates), at_least(1))
    tell(row)
    tell(Row.of_pairs(case, "req/s", rates, "bare sockets", bare, None))
    assert row.bearable
