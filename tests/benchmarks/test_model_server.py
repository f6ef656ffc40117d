"""What the model server of quark_bench.testing sustains, beside a client that does next to nothing."""

import pytest
from bars import Beside, Row, at_least, at_most

from quark_bench.testing import ModelServer, sustained_rps

pytestmark = pytest.mark.timed

CONNECTIONS = 64
REQUESTS = 20_000
CPU_S = 0.1e-3
"""A request's at most: 10,000 a second on one core."""


def test_the_model_server_sustains_well_over_what_a_client_under_test_needs(compare, tell):
    rates = []
    with ModelServer(first_token_s=0, between_tokens_s=0, tokens=20) as server:

        def cpu_s():
            before_s = server.stats()["cpu_s"]
            rates.append(sustained_rps(server.base_url, REQUESTS, CONNECTIONS))
            return (server.stats()["cpu_s"] - before_s) / REQUESTS

        limit = Beside(CPU_S, at_most(1))
        compare("CPU of the model server, at most 0.1 ms a streamed request", "s", cpu_s, {"its limit": limit})
    case = f"its rate without latency, 20 tokens in two writes, {CONNECTIONS} connections"
    tell(Row.of_values(case, "req/s", rates, "a client of bare sockets"))


def test_lateness_of_the_model_server_does_not_add_up(compare):
    with ModelServer(first_token_s=0.1, between_tokens_s=0.01, tokens=20) as server:
        compare(
            f"model server that takes 290 ms, {CONNECTIONS} connections",
            "req/s",
            lambda: sustained_rps(server.base_url, 10 * CONNECTIONS, CONNECTIONS),
            {"ideal": Beside(CONNECTIONS / 0.29, at_least(0.97))},
            rounds=3,
        )
