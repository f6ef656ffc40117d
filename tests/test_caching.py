"""Calls that are answered by equal ones: which are equal, who makes the call, what is kept, what it looks like."""

import asyncio
import dataclasses
import io
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.agent import agent
from quark_bench.dataset import Prompt
from quark_bench.errors import DataError, ExecutionError, UsageError
from quark_bench.execute.attempt import make_callee
from quark_bench.execute.caching import CacheCounts, Caching, NotPlainError, decode, encode, key_of
from quark_bench.execute.deadlines import Deadlines
from quark_bench.execute.threads import Threads
from quark_bench.execute.trial import Bench, Case, Wired, run_trial
from quark_bench.pipeline import Pipeline
from quark_bench.plan import Arm, Strategy

from .forked import run

ROOT = Path(__file__).parents[1]
ALONE = Arm("alone", Strategy.PARALLEL, 1)
both = pytest.mark.parametrize("strategy", Strategy)

atoms = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
hashables = st.recursive(atoms, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5)
plain = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(hashables, inner, max_size=4)
        | st.sets(hashables, max_size=4)
        | st.frozensets(hashables, max_size=4)
    ),
    max_leaves=12,
)


class InMemory:
    """A cache that lives as long as a test."""

    def __init__(self):
        self.kept = {}

    def get(self, key):
        return self.kept.get(key)

    def put(self, key, value):
        self.kept[key] = value


class Broken:
    """A cache on a disk that is gone."""

    def get(self, key):
        raise ExecutionError("/gone/cache.sqlite: no such file")

    def put(self, key, value):
        raise ExecutionError("/gone/cache.sqlite: the disk is full")


class Hashes(dict):
    def __missing__(self, name):
        return f"hash of {name}"


def prompt(text="hello", identity="p-1", **others):
    return Prompt(identity, text, **others)


HELLO = prompt()


def asked(caching, *agents, prompts=(HELLO,), strategy=Strategy.PARALLEL, repeat=0, seed=7):
    """The records and spans of these prompts, all at once."""
    wired = Wired(Pipeline("asked", agents))

    async def made():
        bench = Bench("here:1", Threads(), Deadlines(), caching=caching)
        bench.deadlines.refine(wired.shortest_limit_s)
        cases = [Case(each, repeat, seed, "run") for each in prompts]
        ended = await asyncio.gather(*(run_trial(wired, case, strategy, bench) for case in cases))
        return [each[:2] for each in ended]

    return asyncio.run(made())


def counting(**policy):
    """An agent that may be kept, and the texts that it was called for."""
    calls = []

    @agent(**({"name": "counted", "cache": True} | policy))
    async def counted(prompt):
        calls.append(prompt.text)
        await asyncio.sleep(0.005)
        return {"text": prompt.text}

    return counted, calls


# -- what is asked and answered


@both
def test_an_equal_call_is_answered_from_the_cache_and_takes_no_agent_time(strategy):
    counted, calls = counting()
    caching = Caching(InMemory(), Hashes())
    asked(caching, counted, strategy=strategy)
    ((record, (span,)),) = asked(caching, counted, prompts=[prompt(identity="p-2")], strategy=strategy)
    assert calls == ["hello"]
    assert (record.status, record.answer, record.attempts, record.work_s) == ("ok", '{"text": "hello"}', 0, 0.0)
    assert (span.status, span.attempt, span.end_s - span.start_s, span.prompt_id) == ("cached", 0, 0.0, "p-2")
    assert span.queue_s <= record.latency_s
    assert caching.counts == CacheCounts(hits=1, misses=1)


def test_only_agents_that_allow_it_are_asked_about_and_no_warm_up():
    counted, calls = counting(cache=False)
    caching = Caching(InMemory(), Hashes())
    for _ in range(2):
        asked(caching, counted)
    allowed, warm_calls = counting()
    for _ in range(2):
        asked(caching, allowed, repeat=-1)
    assert (len(calls), len(warm_calls), caching.counts) == (2, 2, CacheCounts())


def test_32_equal_prompts_at_once_are_one_call_and_after_a_restart_none(tmp_path):
    script = (
        "import sys, json; from tests.pipelines.cached import answered_at_once;"
        "records, spans, counts = answered_at_once(sys.argv[1], ['what is it?'] * 32);"
        "print(json.dumps([[r.answer for r in records], [s.status for each in spans for s in each], counts.hits]))"
    )
    log = tmp_path / "calls.log"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "QUARK_BENCH_TEST_LOG": str(log)}

    def told():
        command = [sys.executable, "-c", script, str(tmp_path / "cache.sqlite")]
        return json.loads(subprocess.run(command, check=True, capture_output=True, env=environment, timeout=60).stdout)

    answers, statuses, hits = told()
    assert (set(answers), hits) == ({"WHAT IS IT?!"}, 0)
    assert log.read_text().splitlines() == ["what is it?"]
    assert [statuses.count(status) for status in ("ok", "cached")] == [2 + 32, 2 * 31]
    answers, statuses, hits = told()
    assert (set(answers), hits) == ({"WHAT IS IT?!"}, 2 * 32)
    assert log.read_text().splitlines() == ["what is it?"]
    assert [statuses.count(status) for status in ("ok", "cached")] == [32, 2 * 32]


def test_those_who_wait_for_an_equal_call_share_its_failure_and_nothing_is_kept():
    calls = []

    @agent(cache=True, retries=1, backoff_s=0.0)
    async def fragile(prompt):
        calls.append(prompt.id)
        await asyncio.sleep(0.005)
        raise ValueError("no such order")

    cache = InMemory()
    caching = Caching(cache, Hashes())
    ended = asked(caching, fragile, prompts=[prompt(identity=f"p-{n}") for n in range(5)])
    assert len(calls) == 2, "one call, tried twice"
    assert [(record.status, record.error) for record, _ in ended] == [("failed", "ValueError: no such order")] * 5
    assert sorted(record.attempts for record, _ in ended) == [0, 0, 0, 0, 2]
    assert (caching.counts, cache.kept) == (CacheCounts(shared=4, misses=1), {})


def test_what_a_fallback_answered_is_shared_but_not_kept():
    @agent(cache=True, fallback="sorry")
    async def fragile(prompt):
        await asyncio.sleep(0.005)
        raise ValueError("no such order")

    cache = InMemory()
    ended = asked(Caching(cache, Hashes()), fragile, prompts=[prompt(), prompt(identity="p-2")])
    assert [(record.status, record.answer) for record, _ in ended] == [("degraded", "sorry")] * 2
    assert cache.kept == {}


@pytest.mark.parametrize("cancelled", [1, 2, 3])
def test_where_whoever_makes_the_call_is_cancelled_one_of_those_who_wait_makes_it(cancelled):
    counted, calls = counting()
    wired, caching = Wired(Pipeline("asked", [counted])), Caching(InMemory(), Hashes())

    async def made():
        bench = Bench("here:1", Threads(), Deadlines(), caching=caching)
        cases = [Case(prompt(identity=f"p-{n}"), 0, 7, "run") for n in range(4)]
        tasks = [asyncio.create_task(run_trial(wired, case, Strategy.PARALLEL, bench)) for case in cases]
        for task in tasks[:cancelled]:
            await asyncio.sleep(0.002)
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        return [each if isinstance(each, BaseException) else each[:2] for each in ended]

    ended = asyncio.run(made())
    assert [isinstance(each, asyncio.CancelledError) for each in ended] == [True] * cancelled + [False] * (
        4 - cancelled
    )
    assert {record.answer for record, _ in ended[cancelled:]} == {'{"text": "hello"}'}
    assert len(calls) == cancelled + 1
    assert caching.counts == CacheCounts(shared=3 - cancelled, misses=cancelled + 1)


def test_a_waiter_that_is_cancelled_takes_nobody_with_it():
    counted, calls = counting()
    wired, caching = Wired(Pipeline("asked", [counted])), Caching(InMemory(), Hashes())

    async def made():
        bench = Bench("here:1", Threads(), Deadlines(), caching=caching)
        cases = [Case(prompt(identity=f"p-{n}"), 0, 7, "run") for n in range(3)]
        first, waiter, last = (asyncio.create_task(run_trial(wired, case, Strategy.PARALLEL, bench)) for case in cases)
        await asyncio.sleep(0.001)
        waiter.cancel()
        return [each[:2] for each in await asyncio.gather(first, last)]

    assert [record.status for record, _ in asyncio.run(made())] == ["ok", "ok"]
    assert len(calls) == 1


def test_a_cache_that_fails_costs_no_call_and_is_counted():
    counted, calls = counting()
    caching = Caching(Broken(), Hashes())
    for _ in range(2):
        ((record, _),) = asked(caching, counted)
        assert record.status == "ok"
    assert (len(calls), caching.counts.misses, caching.counts.errors) == (2, 2, 4)
    assert caching.counts.last_error == "ExecutionError: /gone/cache.sqlite: the disk is full"


def test_an_agent_whose_hash_is_unknown_is_called_and_counted_as_an_error():
    counted, calls = counting()
    caching = Caching(InMemory(), {})
    asked(caching, counted)
    assert (len(calls), caching.counts.errors) == (1, 1)


def test_an_output_that_is_no_plain_data_is_not_kept_and_counted():
    class Text(str):
        __slots__ = ()

    @agent(cache=True)
    async def odd(prompt):
        return Text("odd")

    cache = InMemory()
    caching = Caching(cache, Hashes())
    for _ in range(2):
        asked(caching, odd)
    assert (cache.kept, caching.counts) == ({}, CacheCounts(misses=2, not_kept=2))


# -- which calls are equal


def callee(is_answer=True, **options):
    @agent(**options)
    def asked(prompt, call, facts=None): ...

    return make_callee(asked, is_answer)


parts = st.fixed_dictionaries(
    {"facts": plain, "text": st.text(), "category": st.none() | st.text(), "seed": st.integers()}
)


def key_with(facts=None, text="", category=None, seed=0, metadata=None, code="code", identity="p-1", **options):
    given = {"facts": facts, "prompt": Prompt(identity, text, category, metadata=metadata or {})}
    return key_of(callee(**options), code, given, seed)


def reordered(value):
    """An equal value whose dicts were filled the other way round."""
    if type(value) is dict:
        return {key: reordered(part) for key, part in reversed(value.items())}
    return [reordered(part) for part in value] if type(value) is list else value


@given(parts)
def test_equal_inputs_have_an_equal_key_whatever_the_order_of_their_keys(given_parts):
    again = pickle.loads(pickle.dumps(given_parts)) | {"facts": reordered(given_parts["facts"]), "identity": "another"}
    assert key_with(**given_parts) == key_with(**again)


@given(parts, parts)
def test_inputs_that_differ_in_any_part_have_another_key(one, other):
    same = all(repr(one[name]) == repr(other[name]) for name in one)
    assert same or one == other or key_with(**one) != key_with(**other)


@pytest.mark.parametrize(
    "change",
    [
        {"code": "other code"},
        {"seed": 1},
        {"facts": 1},
        {"facts": 1.0},
        {"facts": "1"},
        {"facts": [None]},
        {"category": "order"},
        {"metadata": {"conversation": "c-1"}},
        {"is_answer": False},
        {"setup": lambda: dataclasses.make_dataclass("Index", [("version", int)])(3)},
    ],
)
def test_every_part_counts(change):
    assert key_with() != key_with(**change)


def test_the_version_of_what_a_set_up_returned_counts_and_nothing_else_of_it():
    def ready(version, rest):
        return lambda: dataclasses.make_dataclass("Index", [("version", int), ("rest", object)])(version, rest)

    assert key_with(setup=ready(1, "a")) == key_with(setup=ready(1, "b"))
    assert key_with(setup=ready(1, "a")) != key_with(setup=ready(2, "a"))
    assert key_with(setup=lambda: "unversioned") == key_with(setup=dict)


def test_the_seed_counts_only_for_agents_that_may_draw():
    @agent
    def steady(prompt): ...

    taken = make_callee(steady, True)
    assert key_of(taken, "code", {"prompt": prompt()}, 1) == key_of(taken, "code", {"prompt": prompt()}, 2)


# -- what is kept


@given(plain)
def test_plain_data_comes_back_as_it_was(value):
    assert repr(decode(encode(value))) == repr(value) or decode(encode(value)) == value


class OwnDict(dict):
    pass


@pytest.mark.parametrize(
    "value",
    [object(), OwnDict(), [OwnDict()], {"a": {1: print}}, Path(), lambda: 1, ValueError("x"), int, io.BytesIO()],
)
def test_anything_else_is_refused(value):
    with pytest.raises(NotPlainError):
        encode(value)


class Malicious:
    def __reduce__(self):
        return os.mkdir, (os.environ["MALICE"],)


def test_a_cache_full_of_malice_executes_nothing_and_the_calls_are_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MALICE", str(tmp_path / "executed"))
    counted, calls = counting()
    cache = InMemory()
    asked(Caching(cache, Hashes()), counted)
    evil = [pickle.dumps(Malicious(), protocol) for protocol in range(6)]
    evil += [b"", b"\x80", b"garbage", pickle.dumps([Malicious()], 5), b"cos\nsystem\n(S'exit 1'\ntR."]
    for each in evil:
        cache.kept = dict.fromkeys(cache.kept, each)
        caching = Caching(cache, Hashes())
        ((record, _),) = asked(caching, counted)
        assert (record.answer, caching.counts.errors) == ('{"text": "hello"}', 1)
    assert not (tmp_path / "executed").exists()
    assert len(calls) == 1 + len(evil)


# -- in runs


def test_a_second_run_is_answered_from_the_cache_and_says_so(way, run_with, tmp_path):
    options = {"arms": [ALONE], "cache": tmp_path / "kept" / "cache.sqlite", "repeats": 2}
    first = run_with(way, 4, "cached.py:pipeline", **options)
    second = run_with(way, 4, "cached.py:pipeline", **options)
    trial = ["repeat", "prompt_id"]
    assert first.records.set_index(trial)["answer"].to_dict() == second.records.set_index(trial)["answer"].to_dict()
    assert set(second.records["status"]) == {"ok"}
    assert set(second.records["attempts"]) == {1}, "the agent that may not be answered from it is called"
    of_agent = second.spans.groupby("agent")["status"].unique()
    assert [list(of_agent[name]) for name in ("asked", "weighed", "told")] == [["cached"], ["cached"], ["ok"]]
    told = second.manifest["cache"]
    assert (told["file"], told["hits"], told["misses"]) == (str(options["cache"]), 16, 0)
    assert first.manifest["cache"]["misses"] == 4 + 8, "the seed of a repeat is another, and only weighed draws"
    assert second.measures["alone"]["cached_calls"].value == 16
    assert list(second.findings.agents["alone"]["cached"]) == [8, 8, 0]
    assert list(second.findings.agents["alone"]["calls"]) == [0, 0, 8]


def test_runs_without_the_option_leave_a_cache_alone_also_in_the_same_processes(way, run_with, tmp_path):
    cached = run_with(way, 2, "cached.py:pipeline", arms=[ALONE], cache=tmp_path / "cache.sqlite")
    plain_run = run_with(way, 2, "cached.py:pipeline", arms=[ALONE])
    assert set(plain_run.spans["status"]) == {"ok"}
    assert (plain_run.manifest["cache"], cached.manifest["cache"]["misses"]) == (None, 4)
    assert plain_run.measures["alone"]["cached_calls"].value == 0


def test_a_cache_that_no_agent_would_ask_is_wrong_usage(inline, run_with, tmp_path):
    with pytest.raises(UsageError, match=r"@agent\(cache=True\)"):
        run_with(inline, 2, "told.py:echo", cache=tmp_path / "cache.sqlite")


def test_a_file_that_is_no_cache_stops_the_run_before_it_starts(inline, run_with, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n" * 200)
    with pytest.raises(DataError, match="move it away"):
        run_with(inline, 2, "cached.py:pipeline", cache=path)


TWO_STEPS = """
from pathlib import Path
from quark_bench import Pipeline, agent

def called(name):
    with Path("calls.log").open("a") as log:
        log.write(name + "\\n")

@agent(cache=True)
async def reasoning(prompt):
    called("reasoning")
    return prompt.text.upper()

@agent(cache=True)
async def planning(reasoning):
    called("planning")
    return f"1. {reasoning}"

pipeline = Pipeline("two", [reasoning, planning], answer="planning")
"""


def test_a_changed_planning_runs_planning_only(tmp_path):
    (tmp_path / "prompts.jsonl").write_text("".join(f'{{"text": "prompt {n}"}}\n' for n in range(3)))
    steps, log = tmp_path / "steps.py", tmp_path / "calls.log"

    def calls(source):
        steps.write_text(source)
        log.write_text("")
        options = ["--cache", "outputs.sqlite", "--on", "inline", "--arm", "async", "--warmup", "0"]
        ended = run("quark-bench", "run", "prompts.jsonl", "--pipeline", "steps.py:pipeline", *options, folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
        return sorted(log.read_text().split())

    assert calls(TWO_STEPS) == ["planning"] * 3 + ["reasoning"] * 3
    assert calls(TWO_STEPS.replace("1. ", "First: ")) == ["planning"] * 3
    assert calls(TWO_STEPS.replace("1. ", "First: ")) == []
