import json
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.errors import ModelRateLimitedError, ModelRefusedError, ModelServerError, ModelTimeoutError
from quark_bench.models.refusals import Asking, left, retry_after_s

NOW_S = 1_800_000_000.0
ASKING = Asking("small", "http://h/v1", "SOME_KEY", has_key=True)


def refusal(status, body=b"", headers=None, asking=ASKING):
    return asking.refusal(status, headers or {}, body, NOW_S)


@pytest.mark.parametrize(
    ("status", "error", "told"),
    [
        (400, ModelRefusedError, "see what it wants"),
        (401, ModelRefusedError, "set SOME_KEY to a key that it accepts, where the processes that ask are started"),
        (404, ModelRefusedError, "whether it has the model 'small', and whether --base-url is right"),
        (307, ModelRefusedError, "give --base-url the address that it points to: http://other/v1"),
        (408, ModelTimeoutError, "waited too long"),
        (429, ModelRateLimitedError, "too many requests: Slow down"),
        (500, ModelServerError, "answers 500: Slow down"),
        (503, ModelServerError, "answers 503"),
    ],
)
def test_a_status_is_an_error_that_says_what_to_do(status, error, told):
    body = json.dumps({"error": {"message": "Slow down.\n"}}).encode()
    found = refusal(status, body, {"location": "http://other/v1", "retry-after": "7"})
    assert type(found) is error
    assert told in str(found)
    assert found.retry_after_s == 7
    assert "\n" not in str(found)


def test_a_key_that_was_not_sent_is_asked_for():
    without = Asking("small", "http://h/v1", "SOME_KEY", has_key=False)
    assert "set SOME_KEY to a key, where" in str(refusal(401, asking=without))


def test_an_account_without_money_is_refused_and_not_limited():
    body = json.dumps({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}).encode()
    assert type(refusal(429, body)) is ModelRefusedError


@given(st.binary(max_size=2_000), st.integers(300, 599))
def test_any_body_is_told_in_a_line(body, status):
    told = str(refusal(status, body))
    assert len(told) < 1_000
    assert "\n" not in told


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "2", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": formatdate(NOW_S + 30, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(NOW_S - 30, usegmt=True)}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_the_wait_that_is_asked_for_is_read_in_all_its_forms(headers, wait_s):
    assert retry_after_s(headers, NOW_S) == wait_s


@given(st.text(max_size=40))
def test_any_wait_is_a_time_or_none(told):
    wait_s = retry_after_s({"retry-after": told}, NOW_S)
    assert wait_s is None or wait_s >= 0


def test_what_a_rate_limit_has_left_is_a_count_or_unknown():
    headers = {"x-ratelimit-remaining-requests": "12", "x-ratelimit-remaining-tokens": "many"}
    assert (left(headers, "requests"), left(headers, "tokens"), left({}, "tokens")) == (12, None, None)
