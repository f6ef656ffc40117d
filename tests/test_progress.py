"""What a notebook shows while something goes on."""

import time

import pytest

from quark_bench import Arm, Strategy, progress
from quark_bench.plan import make_plan
from quark_bench.progress import Course, last_line, line, shows_progress, waiting, watching
from quark_bench.record import Batch

PLAN = make_plan([Arm("async", Strategy.PARALLEL, 8)], 100, warmup=0)


def chunk(count):
    """A chunk that came back; of a record only what is looked at."""
    records = {"prompt_id": [f"q-{n}" for n in range(count)], "status": ["ok"] * count, "latency_s": [0.2] * count}
    return Batch("async", 0, 0, 0, records, {})


def test_a_line_tells_what_goes_on_how_far_it_is_and_how_long_it_took():
    assert line(Course("starting workers"), 3.2)["text/plain"] == "starting workers, 3 s"
    shown = line(Course("running", 40, 100, "async 50.0/s", "http://127.0.0.1:8787"), 3.2)
    assert shown["text/plain"] == "running, 40 of 100, async 50.0/s, Dask http://127.0.0.1:8787"
    assert '<progress value="40" max="100"></progress>' in shown["text/html"]


def test_what_stays_says_whether_it_was_finished():
    assert last_line(Course("scoring", 100, 100), 4.2, finished=True)["text/plain"] == "100 trials in 4.20 s"
    assert last_line(Course("reporting"), 2.5, finished=True)["text/plain"] == "reporting: 2.50 s"
    stopped = last_line(Course("running", 40, 100), 4.2, finished=False)
    assert stopped["text/plain"] == "stopped while running, 40 of 100, 4.20 s"


def test_a_name_in_a_line_is_neither_markup_nor_a_password():
    shown = line(Course("running", 1, 2, "<script>\x1b[2J", "tls://user:secret@host"), 1.0)
    assert "<script>" not in shown["text/html"]
    assert "\x1b" not in shown["text/html"]
    assert "secret" not in str(shown)


def test_a_watcher_counts_what_comes_back():
    with watching("starting", lambda forms: None) as watcher:
        watcher.stage("warming up")
        watcher.began(PLAN, "http://dashboard")
        watcher.finished_before("async", 10)
        watcher.advanced(chunk(30))
        course = watcher.course
    assert (course.doing, course.done, course.planned, course.dashboard) == ("running", 40, 100, "http://dashboard")
    assert course.pace.startswith("async ")


def test_what_is_over_at_once_shows_nothing(monkeypatch):
    monkeypatch.setattr(progress, "AFTER_S", 60.0)
    shown = []
    with watching("blinking", shown.append):
        pass
    assert shown == []


def test_what_takes_longer_is_redrawn_and_ends_with_its_last_line(monkeypatch):
    monkeypatch.setattr(progress, "AFTER_S", 0.0)
    monkeypatch.setattr(progress, "EVERY_S", 0.001)
    shown = []

    def simulate():
        with watching("simulating", shown.append):
            while len(shown) < 3:
                time.sleep(0.001)
            raise ValueError("broke")

    with pytest.raises(ValueError, match="broke"):
        simulate()
    assert shown[0]["text/plain"].startswith("simulating, ")
    assert shown[-1]["text/plain"].startswith("stopped while simulating")


def test_outside_a_notebook_nothing_is_watched():
    @shows_progress
    def measured(*, watcher=None):
        return watcher

    with waiting("writing") as watcher:
        assert watcher is None
    assert measured() is None
    assert measured(watcher="mine") == "mine"
