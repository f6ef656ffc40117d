"""What holds in every way to execute: the same answers, contained faults, no barrier, the promised concurrency."""

import json
import secrets
from collections import Counter
from statistics import median

import pandas as pd
import pytest
from distributed import Client

from quark_bench import Dataset, Prompt
from quark_bench.errors import ClusterError, ExecutionError
from quark_bench.execute import cluster as cluster_module
from quark_bench.execute.inline import Inline
from quark_bench.plan import BUILT_IN_ARMS, IN_FLIGHT, Arm, Strategy

from .conftest import WAYS, Way
from .pipelines import faults, kinds, told, waits

FAULTS = {
    "raise": "ValueError: no such order",
    "hang": "TimeoutError: no result within 0.25 s",
    "lock": "TypeError: the result, a lock",
    "generator": "TypeError: the result, a generator",
    "one-way": "TypeError: the result, a OneWayError",
    "exit": "SystemExit: 3",
    "interrupt": "KeyboardInterrupt",
    "strange": "Strange: unheard of",
    "cancel": "CancelledError",
    "close": "GeneratorExit",
}
ALONE = Arm("alone", Strategy.PARALLEL, 1)


def rows(run):
    """The records by arm, repeat and prompt, as dicts without missing values."""
    return {
        (row["arm"], row["repeat"], row["prompt_id"]): {name: value for name, value in row.items() if pd.notna(value)}
        for row in run.records.to_dict("records")
    }


def answers(run):
    return {trial: row.get("answer") for trial, row in rows(run).items()}


def outputs(run):
    """What was kept of agents, sorted, by agent."""
    kept = run.spans[run.spans["output"].notna()]
    return kept.sort_values(["arm", "prompt_id"]).groupby("agent")["output"].apply(list).to_dict()


def most_at_once(records):
    """Most records under way at one moment."""
    ends = records["due_s"] + records["latency_s"]
    # An end sorts before a start at the same moment: such records follow each other.
    moments = sorted([(start, 1) for start in records["start_s"]] + [(end, -1) for end in ends])
    under_way = most = 0
    for _, step in moments:
        under_way += step
        most = max(most, under_way)
    return most


def test_the_assistant_answers_alike_in_every_way_and_arm(way_named, run_with, quickstart):
    runs = [run_with(way_named(name), quickstart, "quark", scores=["retrieval.recall@5"]) for name in WAYS]
    assert list(outputs(runs[0])) == ["retrieval"]
    assert outputs(runs[0]) == outputs(runs[1]) == outputs(runs[2])
    assert {status for run in runs for status in run.records["status"]} == {"ok"}
    assert answers(runs[0]) == answers(runs[1]) == answers(runs[2])
    by_arm = [[answers(runs[0])[arm, 0, prompt.id] for prompt in quickstart] for arm in BUILT_IN_ARMS]
    assert by_arm[0] == by_arm[1] == by_arm[2]
    assert len(set(by_arm[0])) > 1


def test_what_agents_draw_by_their_seed_is_equal_in_every_way_and_arm(way_named, run_with):
    runs = [run_with(way_named(name), 10, "told.py:drawn", repeats=2, seed=7) for name in WAYS]
    assert answers(runs[0]) == answers(runs[1]) == answers(runs[2])
    first = answers(runs[0])
    assert all(answer == first["sync", repeat, prompt] for (_, repeat, prompt), answer in first.items())
    assert len(set(first.values())) == 2 * 10


def test_another_seed_draws_otherwise(inline, run_with):
    one, other = (answers(run_with(inline, 3, "told.py:drawn", arms=["async"], seed=seed)) for seed in (1, 2))
    assert not set(one.values()) & set(other.values())


@pytest.mark.parametrize("pipeline", ["sync", "in_async", "clings"])
def test_a_fault_costs_its_own_record_and_no_other(way, run_with, pipeline):
    texts = [text for fault in FAULTS for text in (fault, "fine")]
    run = run_with(way, texts, f"faults.py:{pipeline}", arms=["async", ALONE])
    found = rows(run)
    assert len(found) == 2 * len(texts)
    for (_, _, prompt_id), row in found.items():
        text = texts[int(prompt_id.removeprefix("p-")) - 1]
        if text == "fine":
            assert (row["status"], row["answer"]) == ("ok", "fine, beside")
        else:
            assert (row["status"], row["error_agent"]) == ("failed", "faulty")
            assert row["error"].startswith(FAULTS[text])
            assert "answer" not in row
    spans = run.spans[run.spans["agent"] == "beside"]
    assert set(spans["status"]) == {"ok"}


def test_an_answer_that_cannot_be_stored_fails_its_record(way, run_with):
    found = rows(run_with(way, ["set", "fine"], "faults.py:unstorable", arms=["async"]))
    failed, fine = found["async", 0, "p-1"], found["async", 0, "p-2"]
    assert (failed["status"], failed["error_agent"]) == ("failed", "unspeakable")
    assert failed["error"].startswith("TypeError: the answer, a set")
    assert fine["answer"] == "fine"


def test_an_odd_text_is_stored_as_far_as_it_is_text(way, run_with):
    assert set(answers(run_with(way, 2, "faults.py:odd", arms=["async"])).values()) == {"HALF ? A SMILE"}


def test_an_optional_agent_that_fails_degrades_and_its_default_is_taken(way, run_with):
    run = run_with(way, ["soup"], "faults.py:optional")
    for row in rows(run).values():
        assert (row["status"], row["answer"], row["error_agent"]) == ("degraded", "soup, plain", "garnish")


def test_a_failure_skips_descendants_while_siblings_run_to_their_end(way, run_with):
    run = run_with(way, 2, "faults.py:descendants")
    for row in rows(run).values():
        assert (row["status"], row["error_agent"]) == ("failed", "broken")
        assert row["answer"] == "to the end, a default"
    statuses = {agent: set(spans["status"]) for agent, spans in run.spans.groupby("agent")}
    ok, failed, skipped = {"ok"}, {"failed"}, {"skipped"}
    assert statuses == {
        "broken": failed,
        "child": skipped,
        "grandchild": skipped,
        "sibling": ok,
        "taking_default": ok,
    }


def test_retries_are_counted_and_their_waits_are_neither_service_nor_work(way, run_with):
    run = run_with(way, 2, "faults.py:retried", arms=["sync", "parallel"])
    assert set(run.records["status"]) == {"ok"}
    assert set(run.records["attempts"]) == {3}
    least_wait_s = (faults.BACKOFF_S + 2 * faults.BACKOFF_S) / 2
    for row in rows(run).values():
        assert row["answer"] == "3"
        assert row["latency_s"] - row["service_s"] >= least_wait_s
        assert row["latency_s"] - row["work_s"] >= least_wait_s
        assert row["critical_path_s"] == pytest.approx(row["work_s"])
    for _, spans in run.spans.groupby(["arm", "prompt_id"]):
        assert list(spans["attempt"]) == [1, 2, 3]
        assert list(spans["status"]) == ["failed", "failed", "ok"]


@pytest.mark.parametrize(
    ("pipeline", "answer", "attempts"),
    [("by_value", None, 3), ("by_function", "told soup", 3), ("by_agent", "second soup", 4)],
)
def test_a_fallback_answers_for_an_agent_that_failed(way, run_with, pipeline, answer, attempts):
    run = run_with(way, ["soup"], f"policies.py:{pipeline}")
    for row in rows(run).values():
        assert (row["status"], row.get("answer"), row["fallbacks"]) == ("degraded", answer, 1)
        assert (row["error"], row["error_agent"]) == ("ConnectionError: provider down", "fragile")
        assert row["attempts"] == attempts
    for _, spans in run.spans[run.spans["agent"] == "fragile"].groupby("arm"):
        assert list(spans["status"]) == ["failed"] * (attempts - 2) + ["fallback"]
        assert list(spans["attempt"]) == list(range(1, attempts))
    for arm in run.arms:
        measures, agents = run.measures[arm], run.findings.agents[arm]
        assert (measures["degraded_records"].value, measures["fallbacks"].value) == (1, 1)
        assert list(agents.loc["fragile", ["calls", "failed", "fallback"]]) == [1, 0, 1]


def test_an_agent_whose_fallback_fails_too_has_failed(way, run_with):
    for row in rows(run_with(way, 2, "policies.py:broken_too")).values():
        told = "ConnectionError: provider down"
        assert (row["status"], row["error_agent"], row["fallbacks"]) == ("failed", "fragile", 0)
        assert row["error"] == f"{told}; its fallback failed too: {told}"


def test_an_open_breaker_refuses_calls_in_each_arm_anew(way, run_with):
    run = run_with(way, 40, "policies.py:guarded", arms=["sync", "async"], warmup=4)
    assert set(run.records["status"]) == {"degraded"}
    assert set(run.records["answer"]) == {"sorry"}
    assert [(each["arm"], each["opened"], each["state"]) for each in run.manifest["breakers"]] == [
        ("sync", 1, "open"),
        ("async", 1, "open"),
    ]
    for breaker in run.manifest["breakers"]:
        spans = run.spans[(run.spans["arm"] == breaker["arm"]) & (run.spans["agent"] == "fragile")]
        refused = spans[spans["error"].str.startswith("CircuitOpenError: breaker 'openai' is open", na=False)]
        assert len(refused) == breaker["refused"] == run.measures[breaker["arm"]]["refused_calls"].value > 0
        assert set(refused["status"]) == {"failed"}
        assert (refused["end_s"] == refused["start_s"]).all()
        assert set(refused["attempt"]) == {1}
        ((at_s, phase),) = breaker["transitions"]
        assert phase == "open"
        assert 0 <= at_s <= run.spans["end_s"].max() + 1


def test_without_threads_a_run_goes_on_sequentially(way, run_with):
    run = run_with(way, ["soup"], "policies.py:threadless", arms=["sync", "parallel"])
    for row in rows(run).values():
        assert (row["status"], row["answer"]) == ("degraded", "soup, soup")
        assert row["error"].startswith("EngineFaultError: no thread could be started for a call")
        assert "error_agent" not in row
    assert set(run.spans["status"]) == {"ok"}
    assert len(run.spans) == len(run.records) * len(run.layout)
    assert run.compare("sync", "parallel").went_sequential == (1, 1)


def test_keys_are_equal_in_every_way_and_follow_arm_prompt_and_inputs(way_named, run_with, monkeypatch):
    drawn = secrets.token_hex
    monkeypatch.setattr(secrets, "token_hex", lambda length: "the-same-run" if length == 8 else drawn(length))
    runs = [run_with(way_named(name), ["one", "two", "down"], "policies.py:keys", seed=1) for name in WAYS]
    assert answers(runs[0]) == answers(runs[1]) == answers(runs[2])
    assert len(set(answers(runs[0]).values())) == 3 * 3


def test_every_kind_of_agent_works(way, run_with):
    run = run_with(way, ["this"], "kinds.py:pipeline")
    for row in rows(run).values():
        assert row["status"] == "ok", row["error"]
        assert json.loads(row["answer"]) == [f"{word} this" for word in kinds.SAID]


@pytest.mark.timed
@pytest.mark.parametrize("way_name", ["inline", "dask-chunk"])
def test_waits_of_known_length_are_measured_as_they_are(way_named, run_with, way_name):
    run = run_with(way_named(way_name), 8, "waits.py:layers", arms=["sync", "parallel"])
    sync, parallel = (run.records[run.records["arm"] == arm] for arm in ("sync", "parallel"))
    # A busy machine wakes sleepers late, never early: the best case tells the measurement's own error.
    assert median(parallel["critical_path_s"]) == pytest.approx(waits.CRITICAL_PATH_S, abs=0.003)
    assert median(run.records["work_s"]) == pytest.approx(waits.WORK_S, rel=0.03)
    assert median(parallel["latency_s"] / parallel["critical_path_s"]) == pytest.approx(1, abs=0.02)
    assert median(sync["latency_s"] / sync["work_s"]) == pytest.approx(1, abs=0.05)
    bound = median(parallel["work_s"] / parallel["critical_path_s"])
    assert 0.95 <= run.compare("sync", "parallel").latency.value / bound <= 1.01


@pytest.mark.timed
@pytest.mark.parametrize("pipeline", ["slow_first", "slow_last", "slow_between"])
def test_a_slow_branch_holds_up_no_chain_beside_it(way, run_with, pipeline):
    run = run_with(way, 3, f"waits.py:{pipeline}", arms=["parallel"])
    bearable = 1.25 if way.granularity == "agent" else 1.02  # a hop a level, on top of what agents take
    assert median(run.records["latency_s"] / run.records["critical_path_s"]) <= bearable


@pytest.mark.timed
def test_a_set_up_runs_once_a_process_outside_every_latency(way, run_with):
    run = run_with(way, 24, "told.py:ready", arms=["sync", "async"])
    assert set(run.records["status"]) == {"ok"}
    assert run.records.groupby("worker")["answer"].nunique().max() == 1
    assert run.records["answer"].nunique() == run.records["worker"].nunique()
    assert run.records["latency_s"].max() < told.SET_UP_S
    if way.on != "inline":
        assert run.records["worker"].nunique() == 2


@pytest.mark.parametrize(
    ("pipeline", "told"),
    [
        ("never_ready", "'unready' failed: FileNotFoundError: no index"),
        ("exits", "'unready_at_all' failed: SystemExit"),
    ],
)
def test_a_set_up_that_fails_ends_the_run_and_leaves_nothing(way, run_with, tmp_path, pipeline, told):
    with pytest.raises(ExecutionError, match=told):
        run_with(way, 2, f"told.py:{pipeline}")
    assert not list(tmp_path.iterdir())


def test_a_key_is_equal_over_attempts_and_a_seed_over_arms(way, run_with):
    run = run_with(way, 3, "told.py:circumstantial", repeats=2)
    keys, seeds = {}, {}
    for trial, answer in answers(run).items():
        heard = json.loads(answer)
        (_, first_key, first_seed, limit_s), (_, key, seed, _) = heard["circumstances"]
        assert [attempt for attempt, *_ in heard["circumstances"]] == [1, 2]
        assert (first_key, first_seed, limit_s) == (key, seed, 60.0)
        own_key, own_seed, repeat = heard["own"]
        assert repeat == trial[1]
        keys[trial] = (key, own_key)
        seeds[trial] = (seed, own_seed)
    every_key = [key for pair in keys.values() for key in pair]
    assert len(set(every_key)) == len(every_key)
    assert all(pair == seeds["sync", *trial] for (_, *trial), pair in seeds.items())
    assert len({seed for pair in seeds.values() for seed in pair}) == 2 * 2 * 3


@pytest.mark.parametrize("in_flight", [1, 6])
def test_prompts_under_way_never_exceed_what_was_asked_for(way, run_with, in_flight):
    run = run_with(way, 20, "waits.py:short", arms=[Arm("arm", Strategy.PARALLEL, in_flight)])
    assert len(run.records) == 20
    assert in_flight // 2 < most_at_once(run.records) <= in_flight


def test_blocks_follow_each_other_and_warm_ups_are_never_recorded(way, run_with):
    run = run_with(way, 16, "waits.py:short", in_flight=2, warmup=3)
    records = run.records.sort_values("start_s")
    assert records["block"].is_monotonic_increasing
    assert list(dict.fromkeys(records["arm"])) == ["sync", "parallel", "async"]
    turns = [arm for arm, *_ in run.manifest["blocks"]]
    assert turns == ["sync", "parallel", "async", "async", "parallel", "sync"]
    borders = records.groupby("block").agg(first=("start_s", "min"), last=("start_s", "max"))
    ends = (records["start_s"] + records["latency_s"]).groupby(records["block"]).max()
    assert all(ends.iloc[:-1].to_numpy() <= borders["first"].iloc[1:].to_numpy())
    assert records["start_s"].min() >= 0
    assert len(records) == run.manifest["conservation"]["planned"] == 3 * 16
    assert set(Counter(zip(records["arm"], records["prompt_id"], strict=True)).values()) == {1}
    assert set(records["repeat"]) == {0}


def test_every_agent_of_every_record_has_a_span(way, run_with):
    run = run_with(way, 4, "faults.py:descendants", repeats=2)
    spans = run.spans.groupby(["arm", "repeat", "prompt_id"])["agent"].agg(set)
    assert len(spans) == len(run.records)
    assert all(agents == {name for name, _ in run.layout} for agents in spans)


@pytest.mark.parametrize("granularity", ["agent", "chunk"])
def test_no_key_of_a_task_holds_a_prompts_text_or_id(cluster, run_with, granularity):
    prompt = Prompt("insuredone", "patientmayer", category="oncology", metadata={"born": "somewhen"})
    run_with(Way(cluster, granularity), Dataset([prompt]), "waits.py:short", arms=["async"])
    with Client(cluster, set_as_default=False) as client:
        told = "".join(client.run_on_scheduler(seen_transitions))
    assert told
    assert not [word for word in ("insuredone", "patientmayer", "oncology", "somewhen") if word in told]


def seen_transitions(dask_scheduler):
    """Every task's key that the scheduler still remembers, with all that is said of it."""
    return [str(transition) for transition in dask_scheduler.transition_log]


def test_an_address_where_nobody_answers_is_a_cluster_error(run_with, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_module, "CONNECT_S", 0.5)
    with pytest.raises(ClusterError, match="no Dask scheduler answers"):
        run_with(Way("tcp://127.0.0.1:9", "chunk"), 2, "waits.py:short")
    assert not list(tmp_path.iterdir())


def test_inline_takes_no_hop_and_one_process():
    with Inline() as inline:
        assert (inline.costs.hop_s, inline.costs.takers(64)) == (0.0, 1)


def test_in_an_open_load_prompts_start_when_due_in_every_arm_alike(way, run_with):
    run = run_with(way, 60, "waits.py:short", arms=["sync", "async"], rate=100, seed=5)
    assert set(run.records["status"]) == {"ok"}
    gaps_s = {}
    for arm, records in run.records.sort_values("due_s").groupby("arm"):
        assert list(records["prompt_id"]) == sorted(records["prompt_id"], key=lambda name: int(name.removeprefix("p-")))
        assert (records["start_s"] >= records["due_s"]).all()
        lag_s = records["start_s"] - records["due_s"]
        assert (records["latency_s"] - lag_s >= records["critical_path_s"] - 1e-6).all()
        gaps_s[arm] = records["due_s"].diff()[1:].to_numpy()
    assert gaps_s["sync"] == pytest.approx(gaps_s["async"], abs=1e-6)
    assert len(set(gaps_s["async"].round(12))) == 59
    assert {each["arm"] for each in run.manifest["arrivals"]} == {"sync", "async"}
    assert run.compare("sync", "async").throughput.value is None


def test_in_an_open_load_prompts_do_not_wait_for_one_another(way, run_with):
    """Of a burst of 20 more are under way together than a closed load would have by itself."""
    run = run_with(way, 20, "waits.py:long", rate=1_000, arrivals="burst:20")
    assert most_at_once(run.records) > IN_FLIGHT
