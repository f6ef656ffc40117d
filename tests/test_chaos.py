import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench import Arm, Pipeline, agent, bench
from quark_bench.agent import stable_hash
from quark_bench.chaos import Chaos, ChaoticShipment, Strike, parse_chaos
from quark_bench.errors import UsageError
from quark_bench.plan import trial_seed
from quark_bench.user_code import pack_pipeline

from .conftest import WAYS
from .pipelines import chaotic
from .test_resume import interrupted

SHARE = 0.4

names = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=8)
shares = st.floats(0.001, 1)
strikes = st.builds(Strike, st.just(0.0) | shares, st.floats(0.001, 90), shares) | st.builds(Strike, shares)


@given(st.dictionaries(names | st.just("*"), strikes, min_size=1, max_size=4))
def test_chaos_is_read_back_from_its_own_text(by_agent):
    chaos = Chaos(tuple(by_agent.items()))
    assert parse_chaos([str(chaos)]) == chaos


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["reasoning: error=0.05"], "reasoning: error 5 %"),
        (["reasoning:error=0.05,delay=0.5s@0.1"], "reasoning: error 5 %, delay 500 ms in 10 %"),
        (["a: delay=200ms", "*: delay=2"], "a: delay 200 ms; *: delay 2 s"),
        (["a: error=1; b: error=0"], "a: error 100 %; b: nothing"),
    ],
)
def test_chaos_is_told_in_words(texts, told):
    assert parse_chaos(texts).told() == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "write AGENT: error=SHARE"),
        ("reasoning", "write AGENT: error=SHARE"),
        ("reasoning:", "write AGENT: error=SHARE"),
        ("a: eror=1", "did you mean 'error'"),
        ("a: crash", "Known: error, delay"),
        ("a: error=5", "a share from 0 to 1"),
        ("a: error=nan", "a share from 0 to 1"),
        ("a: error=", "a share from 0 to 1"),
        ("a: delay=1s@2", "a share from 0 to 1"),
        ("a: delay=1s@", "a share from 0 to 1"),
        ("a: delay=soon", "no duration"),
        ("a: delay=-1s", "no duration"),
        ("a: error=1, error=1", "error is given twice"),
        ("a: error=1; A: error=0.5", "'A' is named twice"),
    ],
)
def test_what_cannot_be_read_is_told_with_how_it_is_written(text, told):
    with pytest.raises(UsageError, match="--chaos") as caught:
        parse_chaos([text])
    assert told in str(caught.value)


def test_an_agent_that_is_nowhere_is_answered_with_the_nearest(inline, run_with):
    with pytest.raises(UsageError, match="no agent 'raeson' here; did you mean 'reason'"):
        run_with(inline, 1, chaotic.bare, chaos="raeson: error=1")


def test_agents_keep_all_but_their_functions():
    chaos = parse_chaos(["*: error=0.5"])
    for before, after in zip(chaotic.kinds.agents, chaos.applied(chaotic.kinds).agents, strict=True):
        same = dataclasses.replace(after, function=before.function, takes_call=before.takes_call)
        assert same == before
        assert after.takes_call


def test_an_agent_that_is_not_named_is_left_alone_and_a_star_is_every_other():
    chaos = parse_chaos(["joined: error=1; *: delay=1"])
    assert chaos.of("Joined") == Strike(error_share=1.0)
    assert chaos.of("sync_told") == Strike(delay_s=1.0, delay_share=1.0)
    (first, *_, last) = parse_chaos(["joined: error=1"]).applied(chaotic.kinds).agents
    assert first is chaotic.sync_told
    assert last is not chaotic.joined


def test_a_shipment_under_chaos_has_keys_of_its_own():
    plain = pack_pipeline(chaotic.bare)
    one, other = (ChaoticShipment(plain, parse_chaos([f"look: error={share}"])) for share in (0.1, 0.2))
    for name in ("key", "code_hash"):
        assert len({getattr(each, name) for each in (plain, one, other)}) == 3


def struck(seed=0, prompts=120, attempt=1):
    """The prompts whose given attempt at `reason` fails."""
    ids = [f"p-{n + 1}" for n in range(prompts)]
    draws = {i: stable_hash(trial_seed(seed, i, 0), "reason", attempt, "error") / 2**64 for i in ids}
    return {i for i, draw in draws.items() if draw < SHARE}


def failed_at(run, arm, attempt=1):
    spans = run.spans[(run.spans["arm"] == arm) & (run.spans["agent"] == "reason")]
    return set(spans.loc[(spans["attempt"] == attempt) & (spans["status"] == "failed"), "prompt_id"])


def test_retries_give_a_higher_goodput_under_the_same_faults(way, run_with):
    arms = [Arm("bare"), Arm("guarded", pipeline=chaotic.guarded)]
    run = run_with(way, 120, chaotic.bare, arms=arms, chaos=f"reason: error={SHARE}")
    assert failed_at(run, "bare") == failed_at(run, "guarded") == struck()
    assert failed_at(run, "guarded", 2) == struck() & struck(attempt=2)
    bare, guarded = run.measures["bare"], run.measures["guarded"]
    assert bare["failed_share"].value == pytest.approx(len(struck()) / 120)
    assert guarded["failed_share"].value < bare["failed_share"].value
    assert good_share(guarded) > good_share(bare)
    assert good_share(bare) < 1
    failed = run.records[run.records["status"] == "failed"]
    assert set(failed["error"]) == {"ChaosError: injected by --chaos"}


def good_share(measures):
    """Of the completions a second; the rates themselves differ by how busy the machine is."""
    return measures["goodput_per_s"].value / measures["throughput_per_s"].value


def test_another_seed_strikes_other_trials(inline, run_with):
    run = run_with(inline, 60, chaotic.bare, arms=["async"], chaos=f"reason: error={SHARE}", seed=3)
    assert failed_at(run, "async") == struck(seed=3, prompts=60) != struck(prompts=60)


def test_agents_of_every_kind_work_on_under_chaos(way, run_with):
    run = run_with(way, ["soup"], chaotic.kinds, chaos="*: delay=1ms")
    assert set(run.records["answer"]) == {"ready soup, 1, garnish"}
    assert set(run.records["status"]) == {"ok"}
    assert run.records["simulated_s"].tolist() == pytest.approx([0.004] * 3)


def test_a_delay_is_slowness_like_any_other_and_ends_at_the_timeout(way, run_with):
    run = run_with(way, 2, chaotic.kinds, arms=["async"], chaos="joined: delay=2s; sync_untold: error=1, delay=50ms")
    joined = run.spans[run.spans["agent"] == "joined"]
    assert set(joined["error"]) == {f"TimeoutError: no result within {chaotic.TIMEOUT_S} s"}
    assert set(joined["simulated_s"]) == {chaotic.TIMEOUT_S}
    garnish = run.spans[run.spans["agent"] == "sync_untold"]
    assert ((garnish["end_s"] - garnish["start_s"]) >= 0.05).all()


@pytest.mark.parametrize("name", WAYS)
def test_a_pipeline_by_its_file_is_struck_too(way_named, run_with, name):
    run = run_with(way_named(name), 3, "chaotic.py:bare", arms=["sync"], chaos=["reason: error=1"])
    assert set(run.records["error_agent"]) == {"reason"}


def test_the_built_in_pipeline_is_struck_too(inline, run_with, quickstart):
    run = run_with(inline, quickstart[:2], "quark", arms=["async"], chaos="SelfImprovement: error=1")
    assert set(run.records["error_agent"]) == {"self_improvement"}


def test_every_title_of_such_a_run_tells_its_chaos(inline, run_with):
    run = run_with(inline, 8, chaotic.bare, chaos="reason: error=0.5")
    assert run.manifest["chaos"] == "reason: error=0.5"
    assert run.findings.titled("Latency") == "Latency, chaos (reason: error 50 %)"
    page = run.report().read_text("utf-8")
    assert page.count("chaos (reason: error 50 %)") > 5


def test_a_run_is_continued_only_under_its_chaos(inline, tmp_path):
    @agent
    async def answer(prompt):
        return prompt.text

    path, options = interrupted(inline, tmp_path, pipeline=Pipeline("one", [answer]), chaos="answer: error=0.5")
    with pytest.raises(UsageError, match="cannot be continued: the chaos changed"):
        bench(**(options | {"chaos": "answer: error=0.6"}), resume=path)
    run = bench(**options | {"chaos": ["answer:error=0.50"]}, resume=path)
    whole = bench(**options)
    key = ["repeat", "prompt_id"]
    failed, expected = (each.records[each.records["status"] == "failed"].set_index(key) for each in (run, whole))
    assert set(failed.index) == set(expected.index)
    assert 0 < len(failed) < 120
