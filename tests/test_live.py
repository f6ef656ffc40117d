"""What a person sees while a run goes on."""

import functools
import io
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from quark_bench.cli.live import LINE_EVERY_S, Display, Lines, Pace, bar, watching
from quark_bench.plan import Arm, Strategy, make_plan
from quark_bench.record import Batch

from .terminals import ESCAPE, Terminal

SYNC, ASYNC = Arm("sync", Strategy.SEQUENTIAL, 1), Arm("async", Strategy.PARALLEL, 8)
PLAN = make_plan([SYNC, ASYNC], 100, repeats=2, warmup=0)


def chunk(arm, count, latency_s=0.2, failed=0):
    """A chunk that came back; of a record only what is looked at."""
    records = {
        "prompt_id": [f"q-{n}" for n in range(count)],
        "status": ["failed"] * failed + ["ok"] * (count - failed),
        "latency_s": [latency_s] * count,
    }
    spans = {"agent": ["answer"] * count, "attempt": [1] * count, "status": records["status"]}
    return Batch(arm, 0, 0, 0, records, spans | {"start_s": [0.0] * count, "end_s": [latency_s] * count})


def test_a_pace_counts_trials_and_failures():
    pace = Pace(PLAN, 0.0)
    pace.take(chunk("sync", 10, failed=3), 1.0)
    pace.take(chunk("async", 20, failed=1), 2.0)
    assert (pace.planned, pace.done, pace.failed) == (400, 30, 4)


def test_a_rate_is_that_of_the_arm_that_runs_now():
    pace = Pace(PLAN, 100.0)
    pace.take(chunk("sync", 10), 110.0)
    assert pace.told().startswith("sync 1.00/s, p50 200 ms, 0 failed, ")
    pace.take(chunk("async", 50, latency_s=0.2), 111.0)
    assert pace.told().startswith("async 50.0/s, p50 200 ms, 0 failed, ")


def test_the_time_left_is_each_arms_own_pace():
    pace = Pace(PLAN, 0.0)
    pace.take(chunk("sync", 100), 50.0)  # 0.5 s a trial, 100 left
    pace.take(chunk("async", 100), 60.0)  # 0.1 s a trial, 100 left
    assert pace.told().endswith(", 60 s left")


def test_an_arm_that_has_not_begun_is_taken_to_be_as_slow_as_the_slowest():
    pace = Pace(PLAN, 0.0)
    pace.take(chunk("async", 100), 10.0)
    assert pace.told().endswith(", 30 s left")


def test_a_long_time_left_is_told_in_minutes():
    pace = Pace(PLAN, 0.0)
    pace.take(chunk("sync", 1), 6.0)
    assert pace.told().endswith(f", {399 * 6 / 60:.0f} min left")


def test_a_run_without_a_trial_left_is_done():
    pace = Pace(PLAN, 0.0)
    pace.take(chunk("sync", 200), 20.0)
    pace.take(chunk("async", 200), 22.0)
    assert pace.told().endswith(", 0 failed, done")


def test_a_chunk_that_comes_back_at_once_breaks_no_rate():
    pace = Pace(PLAN, 5.0)
    pace.take(chunk("sync", 3), 5.0)
    assert pace.told() == "sync 0/s, p50 200 ms, 0 failed, almost done"


def test_the_median_is_over_recent_latencies_only():
    pace = Pace(make_plan([SYNC], 2_000, warmup=0), 0.0)
    pace.take(chunk("sync", 1_000, latency_s=9.0), 1.0)
    pace.take(chunk("sync", 500, latency_s=0.01), 2.0)
    assert "p50 10.0 ms" in pace.told()


@given(
    st.lists(
        st.tuples(st.sampled_from(["sync", "async"]), st.integers(1, 40), st.floats(1e-6, 1e5), st.floats(1e-7, 1e4)),
        min_size=1,
        max_size=10,
    )
)
def test_whatever_comes_back_the_bar_is_one_line_and_no_line_below_it_wraps(chunks):
    times_s = [0.0]
    for each in chunks:
        times_s.append(times_s[-1] + each[2])
    console = Console(width=80, file=io.StringIO())
    display = Display(bar(console))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("quark_bench.cli.live.monotonic", functools.partial(next, iter(times_s)))
        display.began(PLAN, None)
        for arm, count, _, latency_s in chunks:
            display.advanced(chunk(arm, count, latency_s, failed=count))
    first, *below = console.render_lines(display.drawn(), pad=False)
    assert [line[0].text.split()[0] for line in below] == ["agents", "answer", "Under"]
    assert max(sum(segment.cell_length for segment in line) for line in (first, *below)) <= 80


def test_what_the_agents_did_is_shown_while_trials_run_and_at_no_other_time():
    console = Console(width=80, file=io.StringIO(), no_color=True)
    display = Display(bar(console))

    def seen():
        return "".join(segment.text for line in console.render_lines(display.drawn()) for segment in line)

    display.stage("warming up")
    assert "answer" not in seen()
    display.began(PLAN, None)
    display.advanced(chunk("sync", 10, failed=3))
    assert re.search(r"agents in sync .* answer +\S+ +10 +3 +200 ms", seen())
    display.stage("ending what is under way")
    assert "answer" not in seen()
    display.advanced(chunk("async", 10))
    assert "20/400" in seen()


def lines_of(*chunks, times_s, monkeypatch):
    """What a pipe shows when the chunks come back at those times."""
    clock = iter(times_s)
    monkeypatch.setattr("quark_bench.cli.live.monotonic", lambda: next(clock))
    console = Console(file=io.StringIO(), width=20)
    with watching(console) as watcher:
        assert isinstance(watcher, Lines)
        watcher.stage("warming up")
        watcher.began(PLAN, "http://127.0.0.1:8787/status")
        for each in chunks:
            watcher.advanced(each)
    return console.file.getvalue().splitlines()


def test_a_pipe_gets_plain_lines_that_never_wrap(monkeypatch):
    told = lines_of(chunk("sync", 10), times_s=[0.0, 0.0, LINE_EVERY_S], monkeypatch=monkeypatch)
    assert told == [
        "warming up ...",
        "Dask dashboard: http://127.0.0.1:8787/status",
        "running 400 trials",
        "10/400 sync 2.00/s, p50 200 ms, 0 failed, 3 min left",
    ]


def test_a_pipe_is_told_now_and_then_and_at_the_end(monkeypatch):
    chunks = [chunk("sync", 100), chunk("sync", 100), chunk("async", 100), chunk("async", 100)]
    told = lines_of(*chunks, times_s=[0.0, 0.0, 1.0, 6.0, 7.0, 8.0], monkeypatch=monkeypatch)
    assert [line.split()[0] for line in told[3:]] == ["200/400", "400/400"]
    assert told[-1].endswith(", done")


def test_a_terminal_gets_a_bar_that_leaves_nothing_behind():
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with watching(console) as watcher:
        assert isinstance(watcher, Display)
        watcher.stage("starting workers")
        watcher.began(PLAN, "http://127.0.0.1:8787/status")
        watcher.advanced(chunk("sync", 10))
        watcher.drawn()
        shown = watcher._progress.tasks[0]
        assert (shown.completed, shown.total, shown.description) == (10, 400, "running")
    assert "Dask dashboard: http://127.0.0.1:8787/status" in ESCAPE.sub("", console.file.getvalue())
    assert console.file.getvalue().endswith("\x1b[2K"), "the bar's line is erased"


def test_in_a_terminal_of_80_columns_no_line_wraps_and_what_was_drawn_is_erased(tmp_path):
    (tmp_path / "prompts.csv").write_text("text\n" + "".join(f"prompt {n}\n" for n in range(40)))
    (tmp_path / "waits.py").write_text(
        "import asyncio\n"
        "from quark_bench import Pipeline, agent\n"
        "@agent\n"
        "async def answer(prompt):\n"
        "    await asyncio.sleep(0.02)\n"
        "    raise ValueError('a failure ' * 20)\n"
        "pipeline = Pipeline('a_name_of_some_length', [answer], answer='answer')\n"
    )
    arguments = ["run", "prompts.csv", "--pipeline", "waits.py:pipeline", "--on", "inline", "--warmup", "1"]
    terminal = Terminal("quark-bench", arguments, tmp_path, os.environ)
    try:
        terminal.expect(r"running .*/120 .*(sync|parallel|async) .*/s, p50 .* failed")
        terminal.expect(r"agents in (sync|parallel|async) [^\x1b]*answer +\S+ +\d+ +\d+ +\S+ ms")
        terminal.expect("writing the report")
        terminal.expect("Every trial failed")
        assert terminal.wait() == 4
    finally:
        terminal.close()
    assert terminal.widest <= 80
    view, _, told = terminal.written.rpartition("\x1b[2K")
    assert "answer" in view
    assert "writing the report" not in told, "what was drawn is erased at the end"
