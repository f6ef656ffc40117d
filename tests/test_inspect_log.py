"""Logs of Inspect: what a real one holds is read without Inspect, and what is none is told from it."""

import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.errors import DataError
from quark_bench.inspect_log import FollowedBy, InspectLog, read_trial
from quark_bench.inspect_log.trials import longest_chain_s
from quark_bench.record import Span
from quark_bench.schedule import earliest_ends

LOG = Path(__file__).parent / "logs" / "inspect.eval"


@pytest.fixture(scope="module")
def logged():
    """The trials of a real log: two agents side by side, one after them; the fourth prompt fails."""
    with InspectLog(LOG) as log:
        return [read_trial(told, log.began_s, "inspect.eval") for told in log]


def case(**told):
    return {
        "id": 1,
        "epoch": 1,
        "input": "what?",
        "target": "42",
        "output": {"choices": [{"message": {"content": "42"}}]},
        "started_at": "2026-01-01T00:00:01Z",
        "total_time": 2.0,
    } | told


def of(**told):
    return read_trial(case(**told), 1_767_225_600.0, "made.eval")  # 2026-01-01T00:00:00Z


def spans(*times_s):
    return [Span("p", name, 1, "ok", *both, 0.0, None, 0, 0, None, 0.0, 0.0, "") for name, *both in times_s]


# -- a real log


def test_members_packed_by_zstd_are_read(logged):
    with zipfile.ZipFile(LOG) as file:
        assert {member.compress_type for member in file.infolist()} == {93}
    assert [(trial.prompt.id, trial.repeat) for trial in logged] == [
        (f"q-{n}", repeat) for repeat in (0, 1) for n in (1, 2, 3, 9)
    ]


def test_a_trial_has_its_prompt_answer_scores_and_tokens(logged):
    prompt, record = logged[0].prompt, logged[0].record
    assert (prompt.text, prompt.reference, prompt.category) == ("What is 1 - 1 + 42?", ("42",), "sum")
    assert (record.status, record.answer, record.tokens_in, record.tokens_out) == ("ok", "42", 60, 6)
    assert {score.scorer: score.value for score in logged[1].scores} == {"match": 0.0, "includes": 0.0}
    assert {score.value for score in logged[0].scores} == {1.0}


def test_agents_are_spans_and_what_they_asked_is_theirs(logged):
    for trial in logged:
        assert [span.agent for span in trial.spans][-1] == "reasoning"
        assert {span.agent for span in trial.spans} == {call.agent for call in trial.calls}
        by_agent = {span.agent: span for span in trial.spans}
        for call in trial.calls:
            assert by_agent[call.agent].start_s <= call.start_s
            assert call.model == "mockllm/model"
        assert by_agent["nlu"].end_s <= by_agent["reasoning"].start_s
        assert trial.record.start_s + trial.record.latency_s == max(span.end_s for span in trial.spans)
    assert logged[0].calls[0].reply.startswith("looked up at length"), "long texts stand among the attachments"


def test_a_failure_names_its_agent_and_error(logged):
    trial = logged[3]
    assert (trial.record.status, trial.record.answer, trial.scores) == ("failed", None, [])
    assert (trial.record.error, trial.record.error_agent) == ("ValueError('no such order')", "reasoning")
    assert [span.status for span in trial.spans] == ["ok", "ok", "failed"]


def test_what_never_began_before_another_had_ended_is_taken_to_need_it(logged):
    followed = FollowedBy()
    for trial in logged:
        followed.see(trial.spans)
    layout = dict(followed.layout())
    assert {name: sorted(needs) for name, needs in layout.items()} == {
        "nlu": [],
        "retrieval": [],
        "reasoning": ["nlu", "retrieval"],
    }


# -- parts of logs


def test_without_agents_solvers_count_and_without_both_the_whole_is_one():
    begun = {"event": "span_begin", "timestamp": "2026-01-01T00:00:01Z"}
    ended = {"event": "span_end", "timestamp": "2026-01-01T00:00:02Z"}
    solvers = [
        begun | {"id": "s", "type": "solver", "name": "generate"},
        ended | {"id": "s"},
        begun | {"id": "t", "type": "solver", "name": "generate"},
        ended | {"id": "t"},
    ]
    assert [span.agent for span in of(events=solvers).spans] == ["generate", "generate 2"]
    agents = [begun | {"id": "a", "parent_id": "s", "type": "agent", "name": "critic"}, ended | {"id": "a"}]
    inner = [begun | {"id": "b", "parent_id": "a", "type": "agent", "name": "inner"}, ended | {"id": "b"}]
    assert [span.agent for span in of(events=[*solvers, *agents, *inner]).spans] == ["critic"]
    assert [(span.agent, span.start_s, span.end_s) for span in of(events=[]).spans] == [("solver", 1.0, 3.0)]


def test_what_scorers_ask_is_no_part_of_the_pipeline():
    judge = {"event": "model", "timestamp": "2026-01-01T00:00:03Z", "model": "judge", "span_id": "c", "output": {}}
    scorers = {"event": "span_begin", "id": "c", "type": "scorers", "name": "scorers"}
    assert of(events=[scorers, judge]).calls == []
    assert [call.model for call in of(events=[judge | {"span_id": None}]).calls] == ["judge"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[("C", 1.0), ("I", 0.0), ("P", 0.5), (True, 1.0), (0.25, 0.25), ("0.5", 0.5)],
        *[(7, None), ("?", None), ([1], None), (float("nan"), None)],
    ],
)
def test_a_score_is_from_0_to_1_or_none(value, expected):
    (score,) = of(scores={"exact": {"value": value}}).scores
    assert score.value == expected


def test_a_score_of_several_values_is_several_scores():
    found = of(scores={"judge": {"value": {"tone": 1, "truth": 0}, "explanation": "rude"}}).scores
    assert [tuple(each) for each in found] == [("judge_tone", 1.0, "rude"), ("judge_truth", 0.0, "rude")]


def test_prompts_of_several_messages_keep_what_was_asked_and_columns_keep_their_names():
    prompt = of(input=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]).prompt
    assert prompt.text == "Be brief.\n\nWhy?"
    assert of(metadata={"text": "a note", "page": 3}).prompt.metadata == {"metadata_text": "a note", "page": 3}


def test_a_limit_degrades_an_answer_and_without_an_answer_the_trial_failed():
    assert of(limit={"type": "token", "limit": 10}).record[2:5] == ("degraded", "42", "limit of token reached")
    assert of(output={"choices": []}).record[2:5] == ("failed", None, "no answer")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.randoms())
def test_the_longest_chain_is_the_longest_path_of_calls_that_follow_one_another(lengths, draws):
    """In virtual time, where a call begins as soon as the last that it needs has ended."""
    needs = [[m for m in range(n) if draws.random() < 0.4] for n in range(len(lengths))]
    ends = earliest_ends(lengths, needs)
    made = spans(*((f"a{n}", end - length, end) for n, (end, length) in enumerate(zip(ends, lengths, strict=True))))
    assert longest_chain_s(made) == max(ends) <= sum(lengths)


def test_the_needs_that_are_told_are_met_in_every_trial():
    needs = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []}
    names, draws, followed = list(needs), random.Random(7), FollowedBy()
    for _ in range(30):
        lengths = [draws.randint(1, 50 if name == "e" else 9) for name in names]
        ends = earliest_ends(lengths, [[names.index(each) for each in needs[name]] for name in names])
        rows = sorted(zip(ends, lengths, names, strict=True), key=lambda row: row[0] - row[1])
        followed.see(spans(*((name, end - length, end) for end, length, name in rows)))
    assert {name: sorted(found) for name, found in followed.layout()} == needs


# -- what is none


def test_what_is_no_log_is_told_from_one_and_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"no such file.*\.eval"):
        InspectLog(tmp_path / "none.eval")
    (text := tmp_path / "log.json").write_text("{}")
    with pytest.raises(DataError, match="inspect log convert"):
        InspectLog(text)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("a.txt", "a")
    with InspectLog(tmp_path / "other.zip") as log, pytest.raises(DataError, match="no log of Inspect"):
        log.header  # noqa: B018
    for told, complaint in (("{}", "does not tell of an eval"), ('{"eval": {"eval_id": 1, "created": 2}}', "ISO 8601")):
        with zipfile.ZipFile(tmp_path / "other.eval", "w") as file:
            file.writestr("header.json", told)
        with InspectLog(tmp_path / "other.eval") as log, pytest.raises(DataError, match=complaint):
            log.began_s  # noqa: B018


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_damaged_log_is_an_error_that_names_the_member(tmp_path, place):
    data = bytearray(LOG.read_bytes())
    start = int(len(data) * place)
    data[start : start + 200] = bytes(200)
    (broken := tmp_path / "broken.eval").write_bytes(data)
    with pytest.raises(DataError, match=r"broken\.eval, .*damaged"), InspectLog(broken) as log:
        list(log)


def test_a_trial_that_is_not_as_inspect_writes_it_is_named():
    for wrong in ({"input": 3}, {"epoch": "one"}, {"output": {"choices": [1]}}, {"events": [{"event": "span_begin"}]}):
        with pytest.raises(DataError, match=r"made\.eval, trial 1"):
            of(**wrong)
