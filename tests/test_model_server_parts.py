"""What the model server is made of, without a socket: laws, limits, requests out of bytes, faults, scripts."""

import asyncio
import json
import statistics
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.errors import UsageError
from quark_bench.testing import Fault, Law, RateLimit
from quark_bench.testing.answers import Ask, Completion, completed, filler
from quark_bench.testing.damage import damaged, retry_after
from quark_bench.testing.faults import KINDS, Occasion, met, parse_fault
from quark_bench.testing.limits import Limiter, duration
from quark_bench.testing.protocol import Connection
from quark_bench.testing.scripts import End, Order, Pace, told
from quark_bench.testing.service import Service
from quark_bench.testing.settings import Settings

NO_LATENCY = Settings(
    first_token_s=Law(0),
    between_tokens_s=Law(0),
    tokens=3,
    seed=0,
    answer=None,
    usage=True,
    model="test-model",
    key=None,
    faults=(),
    rate_limit=None,
    keep_arrivals=False,
)
MESSAGES = ({"role": "system", "content": "Be kind."}, {"role": "user", "content": "who are you"})


def asking(*, streams=True, **changes):
    return replace(Ask(True, "m", MESSAGES, streams, True, None), **changes)


def order(tokens=20, *, streams=True):
    completion = Completion(True, "m", filler("", tokens), 5)
    return Order(asking(streams=streams), completion, Pace(0.1, 0.01), usage=True, headers={})


# -- laws


def test_a_law_of_a_median_alone_is_constant():
    assert {Law(0.2).draw_s(str(n)) for n in range(5)} == {0.2}


@given(st.text(), st.builds(Law, st.floats(0, 10), st.floats(0, 2), st.floats(0, 1)))
def test_equal_keys_draw_equal_latencies(key, law):
    assert law.draw_s(key) == law.draw_s(key) >= 0


def test_draws_have_the_median_and_the_variation_that_were_asked_for():
    draws = [Law(0.1, cv=0.3).draw_s(str(n)) for n in range(4_000)]
    assert statistics.median(draws) == pytest.approx(0.1, rel=0.03)
    assert statistics.stdev(draws) / statistics.fmean(draws) == pytest.approx(0.3, rel=0.05)


def test_the_tail_has_its_share_and_is_slower_by_its_factor():
    draws = [Law(0.1, tail_share=0.1, tail_factor=5).draw_s(str(n)) for n in range(4_000)]
    assert set(draws) == {0.1, 0.5}
    assert draws.count(0.5) / 4_000 == pytest.approx(0.1, abs=0.02)


@given(st.integers(1, 1_000), st.integers(1, 100))
def test_beyond_the_knee_throughput_is_what_it_is_at_the_knee(under_way, knee):
    rate = under_way / Law(0.1, knee=knee).draw_s("", under_way)
    assert rate == pytest.approx(min(under_way, knee) / 0.1)


def test_a_law_that_cannot_be_says_what_to_give():
    with pytest.raises(UsageError, match="give a share from 0 to 1"):
        Law(0.1, tail_share=5)


# -- limits


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 50)), max_size=60))
def test_no_limit_lets_through_more_than_a_full_bucket_and_what_came_in(arrivals):
    limiter = Limiter(RateLimit(requests_per_s=5, tokens_per_minute=6_000, burst_s=2))
    now_s, requests, taken = 0.0, 0, 0
    for gap_s, tokens in arrivals:
        now_s += gap_s
        if limiter.refuse(tokens, 0, now_s) is None:
            requests, taken = requests + 1, taken + tokens
    assert requests <= 10 + 5 * now_s + 1e-6
    assert taken <= 200 + 100 * now_s + 1e-6


@given(st.floats(0, 5))
def test_who_waits_as_long_as_was_said_is_let_through(later_s):
    limiter = Limiter(RateLimit(requests_per_s=2))
    assert [limiter.refuse(1, 0, 0.0) is None for _ in range(3)] == [True, True, False]
    refusal = limiter.refuse(1, 0, 0.0)
    assert refusal.headers == {"retry-after": "1", "retry-after-ms": "500"}
    assert (limiter.refuse(1, 0, later_s) is None) == (later_s >= 0.5)


def test_durations_are_written_as_openai_does():
    assert [duration(each) for each in (0, 0.0165, 1, 1.5, 360)] == ["0ms", "17ms", "1s", "1.5s", "6m0s"]


# -- requests out of bytes


class Kept(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self):
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    abort = close


def answered(pieces):
    """What a server without latency writes on a connection that brought these pieces."""

    async def fed():
        connection, transport = Connection(Service(NO_LATENCY), set()), Kept()
        connection.connection_made(transport)
        for piece in pieces:
            connection.data_received(piece)
        return transport.written, transport.closed

    return asyncio.run(fed())


def post(body, path="/v1/chat/completions", *, chunks=None):
    body = json.dumps(body).encode()
    if chunks is None:
        return f"POST {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    pieces = [body[start : start + chunks] for start in range(0, len(body), chunks)]
    framed = b"".join(b"%X;name=value\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return f"POST {path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + framed + b"0\r\nx: y\r\n\r\n"


REQUESTS = (
    post({"messages": [{"role": "user", "content": "é " * 9}], "stream": True})
    + post({"messages": [{"role": "user", "content": "é " * 9}], "stream": True}, chunks=7)
    + b"GET /v1/models?limit=5 HTTP/1.1\r\nhost: here\r\n\r\n"
    + post({"prompt": "and now"}, "/v1/completions")
    + post({"prompt": 3}, "/v1/completions")
)
WHOLE = answered([REQUESTS])


@given(st.lists(st.integers(0, len(REQUESTS)), max_size=40))
def test_however_the_bytes_of_requests_are_split_the_answers_are_the_same(places):
    borders = [0, *sorted(places), len(REQUESTS)]
    assert answered([REQUESTS[a:b] for a, b in pairwise(borders)]) == WHOLE


def test_requests_on_one_connection_are_answered_in_their_order():
    written, closed = WHOLE
    answers = written.split(b"HTTP/1.1 ")[1:]
    assert [each[:3] for each in answers] == [b"200", b"200", b"200", b"200", b"400"]
    assert answers[0] == answers[1]  # whether a body comes in chunks is no matter
    assert not closed


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nmany\r\n",
    ],
    ids=["no request", "no length", "no size of a chunk"],
)
def test_what_is_no_request_is_answered_400_and_the_connection_closed(sent):
    written, closed = answered([sent, b"more"])
    assert written.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert closed


# -- answers and their scripts


def test_parts_are_due_by_the_moment_the_request_was_read():
    script = told(order(20))
    assert (script.due_s[0], script.due_s[-1], len(script.parts)) == (0.1, pytest.approx(0.29), 20)
    assert told(order(20, streams=False)).due_s == (pytest.approx(0.29),)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_tokens_of_a_text_are_the_text(text):
    assert "".join(completed(asking(), f".{text}", 0).tokens) == f".{text}"


def test_answers_come_by_pattern_from_any_message_and_else_are_filler():
    by_pattern = {"^Be kind": "I am kind.", "who": "never reached"}
    assert completed(asking(), by_pattern, 4).tokens == ("I", " am", " kind.")
    assert completed(asking(), "echo", 4).tokens == ("who", " are", " you")
    assert completed(asking(), {"nowhere": ""}, 4).tokens == completed(asking(), None, 4).tokens


def test_a_request_may_cut_its_answer():
    cut = completed(asking(most_tokens=2), None, 20)
    assert (len(cut.tokens), cut.finish) == (2, "length")


# -- faults


def occasions(count=2_000, attempt=1):
    return [Occasion(str(n), attempt, n, f"prompt {n}") for n in range(1, count + 1)]


def test_a_fault_meets_its_share_the_same_ones_every_time():
    fault = Fault("500", share=0.1)
    struck = [each.number for each in occasions() if fault.meets(each)]
    assert len(struck) / 2_000 == pytest.approx(0.1, abs=0.03)
    assert struck == [each.number for each in reversed(occasions()) if fault.meets(each)][::-1]


def test_a_fault_meets_only_what_all_its_conditions_name():
    assert [each.number for each in occasions() if Fault("429", nth="10-12").meets(each)] == [10, 11, 12]
    assert [each.number for each in occasions() if Fault("429", nth="10-12", pattern="1$").meets(each)] == [11]
    once = Fault("429", attempts=1)
    assert [once.meets(each) for attempt in (1, 2) for each in occasions(1, attempt)] == [True, False]


def test_the_first_fault_that_meets_a_request_befalls_it():
    faults = [Fault("500", nth="2"), Fault("stall", pattern="prompt"), Fault("drop")]
    assert [met(faults, each).kind for each in occasions(2)] == ["stall", "500"]


def test_a_fault_is_read_from_its_text():
    text = "429: share=0.1, attempts=1, pattern=a{1,2}b, body=no, retry_after_s=2, retry_after_form=date"
    assert parse_fault(text) == Fault(
        "429", 0.1, pattern="a{1,2}b", attempts=1, body=False, retry_after_s=2.0, retry_after_form="date"
    )
    assert parse_fault("stall") == Fault("stall")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stal", "did you mean 'stall'"),
        ("600", "a status from 400 to 599"),
        ("stall: often=1", "no 'often'"),
        ("stall: shar=1", "did you mean 'share'"),
        ("stall: share=much", "share is 'much'"),
        ("stall: share=2", "give a share from 0 to 1"),
        ("stall: nth=*", "10-20 for a burst"),
        ("stall: pattern=(", "no regular expression"),
        ("429: body=perhaps", "body is 'perhaps'"),
        ("429: retry_after_form=hours", "seconds, date or ms"),
    ],
)
def test_what_is_no_fault_says_how_it_is_written(text, said):
    with pytest.raises(UsageError, match=said.replace("*", r"\*")):
        parse_fault(text)


def test_when_to_try_again_is_told_in_each_form():
    told = {form: retry_after(Fault("429", retry_after_s=1.5, retry_after_form=form), 0.0) for form in FORMS}
    assert told == FORMS


FORMS = {
    "seconds": {"retry-after": "1.5"},
    "date": {"retry-after": "Thu, 01 Jan 1970 00:00:02 GMT"},
    "ms": {"retry-after-ms": "1500", "retry-after": "2"},
}


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("kind", [*sorted(KINDS.keys() - {"400 to 599"}), "429", "503"])
@pytest.mark.parametrize("tokens", [0, 1, 20])
def test_every_fault_makes_a_script_of_every_answer(kind, streams, tokens):
    script = damaged(Fault(kind, after_tokens=3), order(tokens, streams=streams), 0.0)
    assert len(script.parts) == len(script.due_s)
    assert list(script.due_s) == sorted(script.due_s)
    assert (script.end is End.KEEP) == (kind not in ("drop", "drop-in-headers", "drop-in-stream", "stall"))
