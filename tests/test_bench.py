"""The main sentence: options, the folder it leaves, interruption, the layout of blocks."""

import os
import sys
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench import Dataset, Pipeline, Run, agent, bench
from quark_bench.dataset import Prompt
from quark_bench.errors import ConservationError, PipelineError, UsageError
from quark_bench.execute.inline import Inline
from quark_bench.manifest import count_trials
from quark_bench.plan import Arm, Strategy


@agent
def echo(prompt):
    return prompt.text


echoing = Pipeline("echo", [echo])


class Listener:
    """A watcher that remembers."""

    def __init__(self):
        self.stages, self.plans, self.trials, self.before = [], [], 0, {}

    def stage(self, name):
        self.stages.append(name)

    def finished_before(self, arm, trials):
        self.before[arm] = trials

    def began(self, plan, dashboard):
        self.plans.append(plan)

    def advanced(self, batch):
        self.trials += len(batch)


class Impatient(Listener):
    """A person who presses Ctrl-C after the first chunk."""

    def advanced(self, batch):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"granularity": "fine"}, "--granularity 'fine'"),
        ({"workers": 0}, "--workers 0"),
        ({"on": "somewhere"}, "--on 'somewhere'"),
        ({"arms": ["quick"]}, "unknown arm 'quick'"),
        ({"arms": ["sync", "sync"]}, "different names"),
        ({"repeats": 0}, "--repeats 0"),
        ({"warmup": -1}, "--warmup -1"),
        ({"in_flight": 0}, "in flight 0"),
        ({"scores": ["beauty"]}, "beauty"),
        ({"slos": ["p95_latency_s"]}, "p95_latency_s"),
        ({"slos": ["p95_latency_x<2"]}, "p95_latency"),
    ],
)
def test_a_wrong_option_is_told_before_anything_runs(tmp_path, options, told):
    def called(prompt):
        raise AssertionError("nothing was to run")

    with pytest.raises(UsageError, match=told):
        bench(Dataset.of(["a"]), Pipeline("none", [called]), **{"on": "inline", "out": tmp_path / "reports"} | options)
    assert not (tmp_path / "reports").exists()


def test_a_pipeline_that_is_nowhere_is_told(tmp_path):
    with pytest.raises(PipelineError, match=r"nowhere\.py"):
        bench(Dataset.of(["a"]), "nowhere.py:pipeline", on="inline", out=tmp_path)


def test_a_run_tells_its_watcher_how_it_gets_on(inline, run_with):
    listener = Listener()
    run_with(inline, 5, echoing, repeats=2, watcher=listener)
    assert listener.stages == ["starting", "loading agents", "warming up", "scoring and weighing"]
    assert [plan.planned for plan in listener.plans] == [listener.trials] == [3 * 5 * 2]


def test_every_trial_is_recorded_once(way, run_with):
    run = run_with(way, 23, echoing, repeats=2, in_flight=3, warmup=5)
    trials = list(zip(run.records["arm"], run.records["repeat"], run.records["prompt_id"], strict=True))
    assert len(trials) == len(set(trials)) == 3 * 23 * 2
    assert run.manifest["state"] == "complete"
    assert run.manifest["conservation"] == {"planned": 138, "ok": 138, "degraded": 0, "failed": 0, "not_run": 0}
    assert [each["block"] for each in run.manifest["usage"]] == list(range(len(run.manifest["blocks"])))


def test_an_interrupted_run_keeps_what_it_has(way, run_with, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_with(way, 40, "waits.py:short", watcher=Impatient())
    run = Run.open("last", tmp_path)
    ended = run.manifest["conservation"]
    assert run.manifest["state"] == "interrupted"
    assert 0 < len(run.records) == len(run.spans) == ended["ok"] < ended["planned"] == 3 * 40
    assert ended["ok"] + ended["degraded"] + ended["failed"] + ended["not_run"] == ended["planned"]


def test_an_interrupted_run_calls_no_further_agent(inline, run_with, monkeypatch):
    called = []
    arm = Arm("arm", Strategy.PARALLEL, 1)

    def counting(prompt):
        called.append(prompt.id)
        time.sleep(0.002)

    monkeypatch.setattr(sys.modules["quark_bench.bench"], "pack_pipeline", lambda pipeline: Known("counted", pipeline))
    with pytest.raises(KeyboardInterrupt):
        run_with(inline, 500, Pipeline("counting", [counting]), arms=[arm], watcher=Impatient(), warmup=2)
    at_interruption = len(called)
    time.sleep(0.1)
    assert len(called) <= at_interruption + 1 < 500


class Known:
    """A shipment that never leaves this process, so that its agents may hold what they like."""

    def __init__(self, key, pipeline):
        self.key = self.code_hash = key
        self.pipeline = pipeline

    def load(self):
        return self.pipeline


def test_a_run_can_be_opened_again(inline, run_with, tmp_path):
    run = run_with(inline, 4, echoing)
    again = Run.open(run.path.name, tmp_path)
    assert repr(again) == repr(run)
    assert again.records.equals(run.records)
    assert again.manifest == run.manifest


def test_an_arm_may_have_a_pipeline_of_its_own(way, run_with):
    shouting = Pipeline("shout", [agent(name="shout")(str_upper)])
    run = run_with(way, ["a"], echoing, arms=["async", Arm("loud", Strategy.PARALLEL, 2, shouting)])
    assert dict(zip(run.records["arm"], run.records["answer"], strict=True)) == {"async": "a", "loud": "A"}


def str_upper(prompt):
    return prompt.text.upper()


def test_agents_never_see_what_would_give_the_answer_away(way, run_with):
    prompt = Prompt("p", "text", "category", ("the answer",), ("a context",), {"year": 1999})
    run = run_with(way, Dataset([prompt]), Pipeline("peek", [peek]), arms=["async"])
    assert set(run.records["answer"]) == {'["p", "text", "category", [], [], 1999]'}
    assert set(run.records["category"]) == {"category"}


def peek(prompt):
    return [prompt.id, prompt.text, prompt.category, prompt.reference, prompt.contexts, prompt.metadata["year"]]


def test_scores_join_the_records_where_there_are_references(inline, run_with):
    prompts = [Prompt(f"p{n}", f"{n}", reference=(str(n % 2),)) for n in range(4)]
    run = run_with(inline, Dataset(prompts), echoing, arms=["sync"], scores=["exact"])
    assert dict(zip(run.records["prompt_id"], run.records["score_exact"], strict=True)) == {
        "p0": 1.0,
        "p1": 1.0,
        "p2": 0.0,
        "p3": 0.0,
    }


def test_the_granularity_and_its_reason_stand_in_the_manifest(way, run_with):
    run = run_with(way, 2, echoing, arms=["async"])
    assert run.manifest["granularity"]["choice"] == way.granularity
    assert "--granularity" in run.manifest["granularity"]["reason"]
    auto = run_with(way._replace(granularity="auto"), 2, echoing, arms=["async"])
    assert auto.manifest["granularity"]["choice"] == "chunk"
    unwarmed = run_with(way._replace(granularity="auto"), 2, echoing, arms=["async"], warmup=0)
    assert "no warm-up" in unwarmed.manifest["granularity"]["reason"]


def test_where_a_run_took_place_stands_in_the_manifest(way, run_with):
    about = run_with(way, 2, echoing, arms=["async"]).manifest["cluster"]
    assert about["on"] == way.on
    assert about["workers"] == (1 if way.on == "inline" else 2)


def test_a_local_cluster_is_started_and_closed(tmp_path):
    run = bench(Dataset.of(["a", "b"]), echoing, workers=1, warmup=1, scores=(), out=tmp_path)
    assert run.manifest["cluster"]["on"] == "local"
    (worker,) = set(run.records["worker"])
    with pytest.raises(ProcessLookupError):
        os.kill(int(worker.rpartition(":")[2]), 0)


@given(st.lists(st.sampled_from(["ok", "degraded", "failed"]), max_size=30), st.integers(0, 30))
def test_trials_are_conserved(statuses, lost):
    counted = count_trials(Counter(statuses), len(statuses) + lost)
    assert counted["not_run"] == lost
    assert sum(counted.values()) == 2 * counted["planned"]


def test_a_run_that_loses_trials_without_a_word_is_told_of_and_never_called_complete(run_with, inline, monkeypatch):
    whole = Inline.run

    def losing(self, block, setting, finished=()):
        *kept, last = whole(self, block, setting, finished)
        yield from kept if block.index >= 0 else [*kept, last]

    monkeypatch.setattr(Inline, "run", losing)
    with pytest.raises(ConservationError, match="trials were planned but") as told:
        run_with(inline, 40, echoing, arms=["async"], in_flight=2)
    assert told.value.exit_code == 4
