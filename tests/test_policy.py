import pytest

from quark_bench.errors import PipelineError
from quark_bench.policy import Breaker, Policy


@pytest.mark.parametrize("failures", [0, -1, 2.5, "5", True])
def test_a_breaker_counts_whole_failures(failures):
    with pytest.raises(PipelineError, match="give a whole number, 1 or more"):
        Breaker(failures=failures)


@pytest.mark.parametrize("reset_s", [0, -1, float("nan")])
def test_a_breaker_refuses_for_some_time(reset_s):
    with pytest.raises(PipelineError, match="give seconds above 0"):
        Breaker(reset_s=reset_s)


@pytest.mark.parametrize("provider", ["", 3])
def test_a_provider_is_a_name(provider):
    with pytest.raises(PipelineError, match="give a name, or None"):
        Breaker(provider=provider)


def test_a_policy_takes_a_breaker_and_nothing_like_it():
    assert Policy(breaker=Breaker(failures=2)).breaker.failures == 2
    with pytest.raises(PipelineError, match=r"breaker=True: give Breaker\("):
        Policy(breaker=True)


def test_a_breaker_tells_its_settings():
    assert str(Breaker(2, 1.5, "openai")) == "opens after 2 failures in a row, probes after 1.5 s, shared by openai"
