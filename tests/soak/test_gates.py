"""Judged gates, two at a time: what must be found is found, what must not be is not. An hour; run by `make soak`."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = pytest.mark.soak
ROOT = Path(__file__).parents[2]
PIPELINES = ROOT / "tests" / "pipelines" / "gated.py"
COMMAND = [sys.executable, "-m", "quark_bench", "gate"]
AT_ONCE = 2
"""Gates side by side: each leaves the cores idle for most of its time, and disturbs the other as CI's neighbours do."""


def gated(folder, *arguments):
    """A gate's exit code and what it found, by a process of its own in a folder of its own."""
    folder.mkdir()
    told = subprocess.run(
        [*COMMAND, *map(str, arguments), "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert told.returncode in (0, 1, 3), told.stderr
    return told.returncode, json.loads(told.stdout)


def several(tmp_path, times, *arguments):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda turn: gated(tmp_path / f"{turn}", *arguments), range(times)))


@pytest.fixture
def compared(tmp_path):
    """`compared(candidate, times)`: gates of it against the pipeline that all are made from, over a hundred prompts."""
    prompts = tmp_path / "hundred.jsonl"
    rows = ({"id": f"p-{n}", "text": f"text {n}", "reference": f"text {n}"} for n in range(100))
    prompts.write_text("\n".join(map(json.dumps, rows)))

    def made(candidate, times):
        sides = ("--pipeline", f"{PIPELINES}:{candidate}", "--against", f"{PIPELINES}:base")
        return several(tmp_path, times, prompts, *sides, "--score", "exact", "--seed", 1)

    return made


def measure(found, name):
    return next(each for each in found["judged"] if each["change"]["measure"] == name)


def span(changes):
    """`1.099x to 1.101x`."""
    return f"{min(changes):.3f}x to {max(changes):.3f}x"


@pytest.mark.parametrize(("candidate", "times", "fewest"), [("reasoning_122", 10, 9), ("reasoning_144", 4, 4)])
def test_a_slower_agent_on_the_critical_path_is_found(candidate, times, fewest, compared, table):
    begun_s = time.monotonic()
    gates = compared(candidate, times)
    alarmed = [found for code, found in gates if code == 1 and measure(found, "latency")["verdict"] == "regressed"]
    changes = [measure(found, "latency")["change"]["worse"] for _, found in gates]
    law = f"latency regressed at least {fewest} times in {times}"
    came = f"{len(alarmed)} of {times}, latency {span(changes)}"
    table.append((f"{candidate.replace('_', ' ')} ms for 100", law, came, time.monotonic() - begun_s))
    assert len(alarmed) >= fewest


@pytest.mark.parametrize(("candidate", "agent"), [("reasoning_110", "reasoning"), ("memory_45", "memory")])
def test_what_costs_less_than_the_margin_passes_and_its_agent_is_named(candidate, agent, compared, table):
    begun_s = time.monotonic()
    gates = compared(candidate, 4)
    changes = [measure(found, "latency")["change"]["worse"] for _, found in gates]
    slower = [[each["change"]["measure"] for each in found["agents"] if each["slower"]] for _, found in gates]
    shown = [each["change"] for _, found in gates for each in found["agents"] if each["change"]["measure"] == agent]
    bounds = f"{min(each['low'] for each in shown):.3f}x to {max(each['high'] for each in shown):.3f}x"
    came = f"{[code for code, _ in gates].count(0)} of 4 pass, latency {span(changes)}, {agent} {bounds}"
    law = f"pass, {agent} named as slower"
    table.append((f"{candidate.replace('_', ' ')} ms", law, came, time.monotonic() - begun_s))
    assert [code for code, _ in gates] == [0] * 4
    assert slower == [[agent]] * 4


def test_ten_wrong_answers_of_a_hundred_are_found(compared, table):
    begun_s = time.monotonic()
    gates = compared("ten_wrong", 2)
    scores = [measure(found, "exact") for _, found in gates]
    came = f"{[code for code, _ in gates].count(1)} of 2, {-scores[0]['change']['worse']:+.3f}"
    table.append(("10 wrong answers of 100", "exact regressed", came, time.monotonic() - begun_s))
    assert [(code, each["verdict"]) for (code, _), each in zip(gates, scores, strict=True)] == [(1, "regressed")] * 2


def test_five_wrong_answers_of_a_hundred_are_shown_with_interval_and_prompts(compared, table):
    begun_s = time.monotonic()
    ((code, found),) = compared("five_wrong", 1)
    exact = measure(found, "exact")
    change = exact["change"]
    bounds = f"{-change['worse']:+.3f} [{-change['high']:+.3f} to {-change['low']:+.3f}]"
    came = f"exit {code}, {bounds}, smallest detectable {change['mde']:.3f}, {', '.join(sorted(change['prompts']))}"
    law = "shown with interval, smallest detectable change and the five prompts"
    table.append(("5 wrong answers of 100", law, came, time.monotonic() - begun_s))
    assert (code, exact["verdict"]) == (0, "pass")
    assert set(change["prompts"]) == {f"p-{n}" for n in range(5)}
    assert 0 < change["mde"] < 0.1


def test_fifty_gates_of_the_same_code_hardly_ever_alarm(tmp_path, table):
    begun_s = time.monotonic()
    gates = several(tmp_path, 50, ROOT / "datasets" / "quickstart.jsonl", "--null")
    codes = [code for code, _ in gates]
    dropped = sum(found["measurements"] == 2 and code != 1 for code, found in gates)
    changes = [measure(found, "latency")["change"]["worse"] for _, found in gates]
    came = (
        f"{codes.count(0)} pass, {codes.count(1)} regressed, {codes.count(3)} inconclusive; {dropped} alarms that a "
        f"second measurement did not confirm; latency {span(changes)}"
    )
    table.append(("gate --null on the quickstart, 50 times", "at most one exit 1", came, time.monotonic() - begun_s))
    assert codes.count(1) <= 1


def test_the_whole_gate_of_the_quickstart_takes_less_than_three_minutes(tmp_path, table):
    begun_s = time.monotonic()
    gated(tmp_path / "one", ROOT / "datasets" / "quickstart.jsonl", "--null")
    took_s = time.monotonic() - begun_s
    table.append(("the whole gate of the quickstart, alone", "under 3 minutes", f"{took_s:.0f} s", took_s))
    assert took_s < 180
