"""Whole sessions of pytest with the plugin, in a folder of their own."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import quark_bench.execute.inline
import quark_bench.notebook  # noqa: F401 - what a session imports anew it loses again, and numpy bears that only once
from quark_bench import Dataset, Prompt, Run, bench
from quark_bench.errors import UsageError
from quark_bench.gate_result import PIPELINE, GateResult
from quark_bench.measures import Measure
from quark_bench.pytest_plugin import feeding
from quark_bench.pytest_plugin.baseline import differences, same_clock
from quark_bench.pytest_plugin.feeding import Replay
from quark_bench.pytest_plugin.fixture import bounds, dataset_of, durations, fed_results, measures_of
from quark_bench.pytest_plugin.mark import wanted
from quark_bench.rule import Verdict
from quark_bench.units import SECONDS, SHARE, Direction

from .test_import_time import HEAVY

pytest.importorskip("pytest_benchmark")
pytestmark = pytest.mark.filterwarnings("ignore::pytest_benchmark.logger.PytestBenchmarkWarning")

README = Path(__file__).parents[1] / "README.md"
ECHO = """
import asyncio
from quark_bench import Pipeline, agent

@agent
async def echo(prompt):
    await asyncio.sleep(0.001 * len(prompt.text))
    if prompt.text.startswith("bad"):
        raise ValueError("no answer to this")
    return prompt.text

PIPELINE = Pipeline("echo", [echo], answer="echo")
TEXTS = ["aaaa", "a", "aa", "aaa"]
"""
MACHINE = """
import pytest

@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info():
    return {machine!r}
"""
"""What pytest-benchmark would ask other processes for, a second each time."""
HERE = {"node": "here", "cpu": {"brand_raw": "One", "hz_actual": [1, 0]}}


@pytest.fixture(autouse=True)
def no_worker(monkeypatch):
    """Inside, it is not told that these tests themselves may be a worker's of pytest-xdist."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(pytester, monkeypatch):
    """A project with a pipeline in echo.py; `write` is a test module's text, `run` a session of pytest over it."""
    monkeypatch.delitem(sys.modules, "echo", raising=False)  # another test's, in the same process
    pytester.makeconftest(MACHINE.format(machine=HERE))
    pytester.makepyfile(echo=ECHO)

    def write(text, name="test_it"):
        pytester.makepyfile(**{name: f"import pytest\nfrom echo import PIPELINE, TEXTS\n\n{text}"})

    def run(*arguments):
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly", *arguments)

    def results(*arguments):
        """The benchmarks in the JSON file of a session in which everything passed."""
        file = pytester.path / "results.json"
        assert run(f"--benchmark-json={file}", *arguments).ret == 0
        return json.loads(file.read_text())["benchmarks"]

    return SimpleNamespace(write=write, run=run, results=results, path=pytester.path)


ONE = """
def test_it(quark):
    quark(PIPELINE, TEXTS, warmup=0)
"""


# What is fed


def test_a_run_of_prompts_becomes_statistics_in_the_order_of_completion(project):
    project.write(
        """
def test_it(quark):
    run = quark(PIPELINE, TEXTS, repeats=2, warmup=0)
    assert len(run.records) == 8
"""
    )
    (found,) = project.results()
    about = found["extra_info"]
    run = Run(about["run"])
    ended = run.records.assign(end_s=run.records["start_s"] + run.records["latency_s"]).sort_values("end_s")
    assert found["stats"]["data"] == ended["latency_s"].tolist()
    assert about["n"] == found["stats"]["rounds"] == 8
    assert (
        found["stats"]["p95"]
        == about["measures"]["p95_latency_s"]["value"]
        == run.measures["async"]["p95_latency_s"].value
    )
    assert about["measures"]["p50_latency_s"].keys() == {"value", "low", "high", "unit", "note"}
    assert {"throughput_per_s", "failed_share", "p99_latency_s"} <= about["measures"].keys()


def test_both_ways_into_pytest_benchmark_give_the_same_statistics(project, monkeypatch):
    project.write(
        """
@pytest.mark.benchmark(group="fed")
def test_it(quark):
    quark.feed([0.3, 0.1, 0.2, 0.1], model="small")
"""
    )
    (private,) = project.results()
    monkeypatch.setattr(feeding, "MAKES_STATS", "_gone")
    (public,) = project.results()
    assert private["stats"] == public["stats"]
    assert private["stats"]["data"] == [0.3, 0.1, 0.2, 0.1]
    assert private["extra_info"] == public["extra_info"]
    assert private["extra_info"]["model"] == "small"
    assert private["group"] == public["group"] == "fed"
    assert (private["options"]["timer"], public["options"]["timer"]) == ("perf_counter", "replayed latencies")


@given(st.lists(st.floats(0, 1e9), min_size=1))
def test_a_replay_gives_back_every_latency_exactly(latencies_s):
    clock = Replay()
    assert clock() < clock()
    clock.load(latencies_s)
    begun_ended = [(clock(), clock()) for _ in latencies_s]
    assert [ended - begun for begun, ended in begun_ended] == latencies_s


def test_failed_records_feed_nothing_but_their_share(project):
    project.write('def test_it(quark):\n    quark(PIPELINE, [*TEXTS, "bad"], warmup=0)')
    (found,) = project.results()
    assert found["stats"]["rounds"] == 4
    assert found["extra_info"]["measures"]["failed_share"]["value"] == pytest.approx(0.2)


def test_a_run_without_any_answer_fails_its_test(project):
    project.write('def test_it(quark):\n    quark(PIPELINE, ["bad", "bad too"], warmup=0)')
    done = project.run("--benchmark-json=results.json")
    assert done.ret == 1
    done.stdout.fnmatch_lines(
        [
            "every trial failed; the first error: ValueError: no answer to this*",
            "*no statistics: no prompt was answered",
        ]
    )


def test_runs_are_kept_where_asked(project):
    project.write(ONE)
    assert project.run("--quark-out=kept").ret == 0
    (run,) = (project.path / "kept").iterdir()
    assert (run / "manifest.json").is_file()


def test_pytest_benchmarks_own_command_reads_what_was_saved(project, monkeypatch, capsys):
    project.write(ONE)
    project.run("--benchmark-save=first")
    monkeypatch.chdir(project.path)
    monkeypatch.setattr(sys, "argv", ["pytest-benchmark", "compare", "--columns=median"])
    importlib.import_module("pytest_benchmark.cli").main()
    assert "test_it" in capsys.readouterr().out


# Once a test


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("quark.feed([1]); quark.feed([2])", "quark was used before in this test*"),
        ("benchmark(len, 'a'); quark.feed([1])", "benchmark was used before in this test*"),
        ("quark.feed([1]); benchmark(len, 'a')", "*Fixture can only be used once*"),
        ("quark.feed([])", "quark.feed: no latencies; give at least one"),
        ("quark.feed([1, float('nan')])", "quark.feed: nan is no latency*"),
        ("quark(PIPELINE, 'nowhere.jsonl')", "*nowhere.jsonl*"),
    ],
)
def test_what_cannot_be_measured_fails_in_a_line(project, body, says):
    project.write(f"def test_it(benchmark, quark):\n    {body}")
    done = project.run("--benchmark-max-time=0.001")
    assert done.ret == 1
    done.stdout.fnmatch_lines([says])
    done.stdout.no_fnmatch_line("*not used at all*")


# When nothing is fed


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--benchmark-disable"], "--benchmark-disable"),
        (["-p", "no:benchmark"], "pytest-benchmark is missing (pip install 'quark-bench?pytest?')"),
    ],
)
def test_without_statistics_the_run_is_still_judged_and_it_says_why(project, arguments, why):
    project.write(
        """
@pytest.mark.quark(slo="mean_latency_s<60")
def test_met(quark):
    quark(PIPELINE, TEXTS, warmup=0)

@pytest.mark.quark(slo="p50_latency_s<0.1ms")
def test_missed(quark):
    quark(PIPELINE, TEXTS, warmup=0)
"""
    )
    done = project.run(*arguments)
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["p50_latency_s<0.1ms missed: *", f"2 tests fed pytest-benchmark no statistics: {why}"])
    assert "fixture was not used at all" not in done.stdout.str()


def test_another_plugins_fixture_named_benchmark_is_left_alone(project):
    project.write(
        """
class Theirs:
    def pedantic(self, target, rounds):
        raise AssertionError

@pytest.fixture
def benchmark():
    return Theirs()

def test_it(benchmark, quark):
    quark(PIPELINE, TEXTS, warmup=0)
"""
    )
    done = project.run("-p", "no:benchmark")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["1 test fed *no statistics: the fixture `benchmark` is another one, of test_it"])


def test_workers_of_pytest_xdist_run_and_judge_and_say_that_they_feed_nothing(project):
    pytest.importorskip("xdist")
    project.write(
        """
def test_it(quark):
    quark(PIPELINE, TEXTS, warmup=0)

@pytest.mark.quark(slo="parallel_rate>0.1ms")
def test_wrong(quark):
    quark(PIPELINE, TEXTS, warmup=0)

def test_unused(quark):
    pass
"""
    )
    done = project.run("-n1")
    done.assert_outcomes(passed=2, failed=1)
    done.stdout.fnmatch_lines(
        [
            "--slo 'parallel_rate>0.1ms': parallel_rate is in share*",
            "test_it.py::test_unused: asked for quark but never used it: nothing measured",
            "1 test fed pytest-benchmark no statistics: pytest-xdist switches benchmarks off, run them without -n",
        ]
    )


@pytest.mark.parametrize(("option", "ran"), [("--benchmark-only", ["quark"]), ("--benchmark-skip", ["plain"])])
def test_pytest_benchmark_chooses_tests_with_quark_as_its_own(project, option, ran):
    project.write("def test_quark(quark):\n    quark.feed([1])\n\ndef test_plain():\n    pass")
    done = project.run(option, "-v")
    done.assert_outcomes(passed=1, skipped=1)
    done.stdout.fnmatch_lines([f"*test_{name} PASSED*" for name in ran])


def test_a_fixture_that_is_not_used_and_a_mark_without_it_are_told_once_each(project):
    project.write(
        """
def test_unused(quark):
    pass

@pytest.mark.quark(slo="p95_latency_s<2")
def test_marked():
    pass

def test_skipped(quark):
    pytest.skip("not today")
"""
    )
    done = project.run()
    assert done.ret == 0
    said = done.stdout.str()
    assert said.count("asked for quark but never used it") == said.count("is marked quark but does not use") == 1
    assert "not used at all" not in said


def test_a_session_without_quark_is_as_it_was_and_loads_no_heavy_library(project):
    (project.path / "test_it.py").write_text(
        "import sys\ndef test_plain():\n    print(*sys.modules, file=open('modules', 'w'))"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:anyio", "-p", "no:hypothesispytest"],
        cwd=project.path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    loaded = set((project.path / "modules").read_text().split())
    assert "= quark-bench =" not in done.stdout
    assert "quark_bench.pytest_plugin" in loaded
    assert not loaded & HEAVY
    assert len([name for name in loaded if name.startswith("quark_bench")]) < 20


# Coroutines


def test_coroutine_tests_run_without_a_plugin_and_go_on_while_the_pipeline_runs(project):
    project.write(
        """
import asyncio

async def test_awaited(quark):
    beats = 0
    async def beat():
        nonlocal beats
        while True:
            await asyncio.sleep(0.001)
            beats += 1
    heart = asyncio.create_task(beat())
    run = await quark.awaited(PIPELINE, ["a" * 40], warmup=0)
    heart.cancel()
    assert beats > 3
    assert len(run.records) == 1

@pytest.mark.parametrize("many", [5])
async def test_overlapping(quark, many):
    loop = asyncio.get_running_loop()
    async def one():
        begun_s = loop.time()
        await asyncio.sleep(0.01)
        return loop.time() - begun_s
    quark.feed(await asyncio.gather(*(one() for _ in range(many))))

@pytest.mark.quark(slo="p50_latency_s<0.1ms")
async def test_missed(quark):
    await quark.awaited(PIPELINE, TEXTS, warmup=0)

async def test_without():
    pass
"""
    )
    done = project.run()
    done.assert_outcomes(passed=2, failed=2)
    done.stdout.fnmatch_lines(["p50_latency_s<0.1ms missed: *", "*async def functions are not natively supported*"])


def test_coroutine_tests_of_another_plugin_stay_with_it(project):
    pytest.importorskip("anyio")
    project.write(
        """
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_theirs(quark, anyio_backend):
    run = await quark.awaited(PIPELINE, TEXTS, warmup=0)
    assert len(run.records) == 4

@pytest.mark.asyncio
async def test_of_a_plugin_that_is_not_there(quark):
    quark.feed([1])
"""
    )
    done = project.run("-p", "no:asyncio", "-W", "ignore")
    done.assert_outcomes(passed=1, failed=1)


# Objectives


def test_objectives_of_module_and_test_are_judged_each_in_a_line(project):
    project.write(
        """
pytestmark = pytest.mark.quark(slo=["mean_latency_s<2.5", "p50_latency_s<1.5"])

def test_missed(quark):
    quark.feed([2.31, 2.2, 2.4, 2.5, 2.3, 2.25])

@pytest.mark.quark(slo="async.mean_latency_s<60", repeats=3)
def test_its_own_word_is_last(quark):
    assert len(quark(PIPELINE, TEXTS, warmup=0).records) == 12

@pytest.mark.quark(slo=["p95_latency_s<1h"])
def test_unreadable(quark):
    raise AssertionError

@pytest.mark.quark(slo=["throughput_per_s>1"])
def test_unknown_to_latencies(quark):
    quark.feed([1])

@pytest.mark.quark(slos=["p95_latency_s<1"])
def test_no_such_option(quark):
    raise AssertionError
"""
    )
    done = project.run()
    done.assert_outcomes(passed=1, failed=2, errors=2)
    done.stdout.fnmatch_lines(
        [
            "--slo 'p95_latency_s<1h' is not a name*",
            "@pytest.mark.quark(slos=...): no such option; did you mean slo?",
            "p50_latency_s<1.5 missed: 2.30 s [[]2.20 to 2.50 s[]]",
            "--slo 'throughput_per_s>1': no measure 'throughput_per_s'*",
        ]
    )
    done.stdout.no_fnmatch_line("*fixture.py*")


def test_an_objective_without_a_value_is_told_and_one_among_failures_is_missed(project):
    project.write(
        """
from quark_bench import Prompt

@pytest.mark.quark(slo=["score_exact_answered>0.5"])
def test_unscored(quark):
    quark(PIPELINE, [Prompt("1", "bad", reference=("b",)), Prompt("2", "no reference")], scores=["exact"], warmup=0)

@pytest.mark.quark(slo=["p95_latency_s<9"])
def test_among_failures(quark):
    quark(PIPELINE, ["bad", "b"], warmup=0)
"""
    )
    done = project.run()
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(
        [
            "p95_latency_s<9 missed: n/a [[]so many failed*",
            "test_it.py::test_unscored: score_exact_answered>0.5 not judged: no *",
        ]
    )


def test_a_mark_is_read_with_the_innermost_word_last_and_refused_in_a_line():
    both = wanted([((), {"repeats": 2, "on": "local"}), ((), {"repeats": 3, "slo": "a<1"})])
    assert (both.slo, both.options) == (("a<1",), {"repeats": 3, "on": "local"})
    with pytest.raises(UsageError, match="name what it asks"):
        wanted([(("p95_latency_s<2",), {})])
    with pytest.raises(UsageError, match="give one of skip, fail, pass"):
        wanted([((), {"inconclusive": "maybe"})])


def test_an_interval_says_its_unit_once():
    def told(unit, low, high, note=""):
        return bounds(Measure("it", low, unit, Direction.LOWER, low, high, note))

    assert told(SECONDS, 2.2, 2.5) == "2.20 to 2.50 s"
    assert told(SECONDS, 0.9, 1.5) == "900 ms to 1.50 s"
    assert told(SHARE, 0.0, 0.25) == "0 to 25.0 %"
    assert told(SECONDS, None, None, "n too small: 72 needed") == "n too small: 72 needed"


def test_prompts_are_a_data_set_a_file_texts_or_prompts(tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"id": "x", "text": "one"}\n')
    given = Dataset.of(["one"])
    assert dataset_of(given, "it") is given
    assert [prompt.id for prompt in dataset_of(file, "it")] == ["x"]
    assert [prompt.id for prompt in dataset_of(["one", Prompt("x", "two"), "three"], "it")] == ["p-1", "x", "p-3"]


@given(st.lists(st.floats(), min_size=1))
def test_durations_are_finite_and_not_negative(values):
    if all(0 <= value < float("inf") for value in values):
        assert durations(values) == values
    else:
        with pytest.raises(UsageError, match="no latency"):
            durations(values)


# Gates


VERDICTS = [verdict.value for verdict in Verdict]


@pytest.fixture
def gated(monkeypatch):
    """A gate that runs the candidate only and finds what the baseline's name says, else that it passes."""

    def gate(dataset, pipeline, *, against, arm, out, **options):
        run = bench(dataset, pipeline, arms=[arm], out=out, **{"on": "inline", "warmup": 0, **options})
        verdict = Verdict(against) if against in VERDICTS else Verdict.PASS
        result = GateResult(verdict, PIPELINE, against, (), (), None, 1, 4, 5, 2, 8)
        return SimpleNamespace(result=result, run=run, line=f"{against}: mean latency 1.08x as long, against {against}")

    monkeypatch.setitem(sys.modules, "quark_bench.gate", SimpleNamespace(gate=gate))


@pytest.mark.parametrize(
    ("verdict", "inconclusive", "outcome"),
    [
        ("pass", "fail", "passed"),
        ("regressed", "pass", "failed"),
        ("inconclusive", "skip", "skipped"),
        ("inconclusive", "fail", "failed"),
        ("inconclusive", "pass", "passed"),
    ],
)
def test_a_gate_is_the_tests_outcome_with_one_line_of_why(project, gated, verdict, inconclusive, outcome):
    project.write(
        f"""
@pytest.mark.quark(against="{verdict}", repeats=2, inconclusive="{inconclusive}")
def test_it(quark):
    assert len(quark(PIPELINE, TEXTS).records) == 8
"""
    )
    done = project.run("-rA")
    done.assert_outcomes(**{outcome: 1})
    line = f"{verdict}: mean latency 1.08x as long, against {verdict}"
    done.stdout.fnmatch_lines(["*= quark-bench =*", f"test_it.py::test_it: {line}", "test_it *"])
    if outcome == "failed":
        done.stdout.fnmatch_lines(["*_ test_it _*", line])
    done.stdout.no_fnmatch_line("*Traceback*")


def test_latencies_alone_are_judged_by_the_share_of_them_that_kept_to_an_objective():
    fed = [1.0] * 9 + [3.0]
    kept, missed, few = fed_results(["latency_s<2@60%", "latency_s<2@95%", "latency_s<9@95%"], measures_of(fed), fed)
    assert (kept.value, kept.met, missed.met, few.met) == (0.9, True, False, None)
    with pytest.raises(UsageError, match=r"quark\.feed knows latencies only"):
        fed_results(["Reasoning.duration_s<2@60%"], measures_of(fed), fed)


def test_a_missed_objective_fails_whatever_the_gate_found_and_latencies_alone_have_no_gate(project, gated):
    project.write(
        """
@pytest.mark.quark(against="inconclusive", slo="p50_latency_s<0.1ms")
def test_slow(quark):
    quark(PIPELINE, TEXTS)

@pytest.mark.quark(against="pass")
def test_fed(quark):
    quark.feed([1])
"""
    )
    done = project.run()
    done.assert_outcomes(failed=2)
    done.stdout.fnmatch_lines(["p50_latency_s<0.1ms missed: *", "against= compares pipelines: call quark(pipeline*"])


def test_a_real_gate_against_another_pipeline(project):
    project.write(
        """
import asyncio
from quark_bench import Pipeline, agent

@agent(name="echo")
async def quick(prompt):
    return prompt.text

QUICK = Pipeline("quick", [quick], answer="echo")

@pytest.mark.quark(against=QUICK, on="inline", inconclusive="pass")
def test_slower(quark):
    quark(PIPELINE, [f"{n} aaaaaaaa" for n in range(30)])
"""
    )
    done = project.run()
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*_ test_slower _*", "*regressed*", "test_it.py::test_slower: *"])


def test_the_readmes_example_works(project, gated):
    blocks = [block.partition("```")[0] for block in README.read_text().split("```python\n")]
    for name in ("support.py", "test_support.py"):
        (block,) = [block for block in blocks if block.startswith(f"# {name}\n")]
        (project.path / name).write_text(block)
    with (project.path / "test_support.py").open("a") as file:
        file.write("\nasync def latencies_of_callers():\n    return [0.1, 0.2]\n")
    (project.path / "prompts.jsonl").write_text('{"id": "x", "text": "my money back"}\n')
    project.run("--benchmark-quiet").assert_outcomes(passed=3)


# Baselines


TWO = """
def test_one(quark):
    quark.feed([1.0, 1.1, 1.2])

def test_two(quark):
    quark.feed([1.0, 1.1, 1.2])

def test_plain(benchmark):
    benchmark.pedantic(len, args=("a",))
"""
COMPARE = ("--benchmark-compare=0001",)


@pytest.fixture
def saved(project):
    """A project whose baseline has two benchmarks of ours and one that is not."""
    project.write(TWO)
    project.write("def test_other(quark):\n    quark.feed([1.0])", name="test_other")
    assert project.run("--benchmark-save=base").ret == 0
    return project


def test_the_same_benchmarks_again_pass(saved):
    done = saved.run(*COMPARE)
    assert done.ret == 0
    done.stdout.no_fnmatch_line("*= quark-bench =*")


@pytest.mark.parametrize(
    "text",
    [
        TWO.replace("test_two", "test_renamed"),
        TWO.replace("def test_two", "def tested_two"),
        TWO.replace("test_two(quark):\n    quark.feed([1.0, 1.1, 1.2])", "test_two(quark):\n    pass"),
    ],
    ids=["renamed", "deleted", "feeds nothing any more"],
)
def test_a_benchmark_that_is_no_longer_measured_fails_the_session(saved, text):
    saved.write(text)
    done = saved.run(*COMPARE)
    assert done.ret == 1
    done.assert_outcomes(passed=done.parseoutcomes()["passed"])
    done.stdout.fnmatch_lines(["test_it.py::test_two: in the baseline 0001_base.json, but not measured now"])
    done.stdout.no_fnmatch_line("*test_plain: in the baseline*")


def test_a_file_of_benchmarks_that_was_deleted_fails_the_session(saved):
    (saved.path / "test_other.py").unlink()
    assert saved.run(*COMPARE, "test_it.py").ret == 0
    done = saved.run(*COMPARE)
    assert done.ret == 1
    done.stdout.fnmatch_lines(["test_other.py::test_other: in the baseline*"])


@pytest.mark.parametrize("chosen", [["-k", "one"], ["test_it.py::test_one"], ["test_it.py"], ["--benchmark-disable"]])
def test_what_was_left_out_on_purpose_is_not_missing(saved, chosen):
    assert saved.run(*COMPARE, *chosen).ret == 0


def test_a_renamed_benchmark_is_found_under_a_choice_by_keyword_too(saved):
    saved.write(TWO.replace("test_two", "test_renamed"))
    assert saved.run(*COMPARE, "-k", "one").ret == 1


def test_a_skipped_or_failing_benchmark_is_pytests_own_to_tell(saved):
    saved.write(TWO.replace("test_two(quark):", "test_two(quark):\n    pytest.skip('not today')"))
    assert saved.run(*COMPARE).ret == 0


def test_a_limit_without_a_baseline_ends_before_any_test_has_run(project):
    project.write("def test_it(quark):\n    open('ran', 'w')")
    done = project.run("--benchmark-compare", "--benchmark-compare-fail=mean:5%")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*--benchmark-compare-fail: no baseline in *; save one with --benchmark-save=NAME*"])
    assert not (project.path / "ran").exists()


def test_what_quark_tells_stands_before_the_traceback_of_a_passed_limit(saved):
    saved.write(TWO.replace("[1.0, 1.1, 1.2]", "[2.0, 2.1, 2.2]") + "\ndef test_unused(quark):\n    pass")
    done = saved.run(*COMPARE, "--benchmark-compare-fail=mean:5%")
    assert done.ret != 0
    done.stdout.fnmatch_lines(["*= quark-bench =*", "test_it.py::test_unused: asked for quark*"])


def test_a_baseline_of_another_machine_beyond_the_folder_is_told_and_breaks_nothing(saved, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert saved.run(f"--benchmark-storage={elsewhere}", "--benchmark-save=base").ret == 0
    (saved.path / "conftest.py").write_text(MACHINE.format(machine=HERE | {"node": "there"}))
    with pytest.warns(UserWarning, match="machine_info is different: node is there, was here$"):
        assert saved.run(f"--benchmark-storage={elsewhere}", *COMPARE).ret == 0


def test_a_clock_that_was_read_anew_is_no_other_machine(saved, recwarn):
    (saved.path / "conftest.py").write_text(
        MACHINE.format(machine=HERE | {"cpu": {"brand_raw": "One", "hz_actual": [2, 0]}})
    )
    assert saved.run(*COMPARE).ret == 0
    assert not [each for each in recwarn if "machine_info" in str(each.message)]


def test_machines_differ_in_what_is_not_the_clock():
    then = {"node": "a", "cpu": {"count": 2, "hz_actual": 1}}
    now = {"node": "b", "cpu": {"count": 2, "hz_actual": 2}, "system": "Linux"}
    same_clock(now, then)
    assert list(differences(now, then)) == ["node is b, was a", "system is Linux, was None"]
