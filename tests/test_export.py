"""A run in the files of other tools: all of it is there, and they can read it."""

import asyncio
import csv
import itertools
import json
import zipfile
from collections import Counter, defaultdict

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench import Dataset, Pipeline, Prompt, agent, bench
from quark_bench.cli.app import call
from quark_bench.errors import ExecutionError, UsageError
from quark_bench.export.chrome import Lanes
from quark_bench.model import Reply
from quark_bench.model_use import ModelUse

ASKED_BESIDE = 2
"""Questions that the agent `look` asks at once."""


class Oracle:
    name = "oracle"

    async def reply(self, messages, call):
        return Reply(f"oracle on {messages[0]['content']}", 7, 3, cost_usd=0.01)


@agent
async def look(prompt, call):
    asked = [call.model([{"role": "user", "content": f"{prompt.text}, {n}"}]) for n in range(ASKED_BESIDE)]
    return [reply.text for reply in await asyncio.gather(*asked)]


@agent(retries=1, backoff_s=0.001)
async def answer(prompt, look):
    if prompt.id == "p 3/a":
        raise ValueError("no such order")
    return prompt.text


@agent
def aside(prompt):
    return prompt.text


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    made = [
        Prompt(f"p {n}/a", f"prompt {n}", "few", reference=(f"prompt {n % 5}",), metadata={"document": n})
        for n in range(8)
    ]
    return bench(
        Dataset(made, "few"),
        Pipeline("support", [look, answer, aside], answer="answer", model=Oracle()),
        arms=["sync", "async"],
        repeats=2,
        on="inline",
        warmup=1,
        scores=["exact:threshold=1"],
        use=ModelUse(record=True),
        out=tmp_path_factory.mktemp("made"),
    )


@pytest.fixture(scope="module")
def logs(run, tmp_path_factory):
    return run.export("inspect", tmp_path_factory.mktemp("logs"))


def opened(log):
    with zipfile.ZipFile(log) as file:
        return {name: json.loads(file.read(name)) for name in file.namelist()}


# -- Inspect


def test_there_is_a_log_for_every_arm_with_all_that_inspects_reader_needs(run, logs):
    assert [log.suffix for log in logs] == [".eval"] * 2
    for log, arm in zip(logs, run.arms, strict=True):
        held = opened(log)
        assert held["header.json"]["version"] == held["_journal/start.json"]["version"] == 2
        needed = {"eval_id", "run_id", "created", "task", "task_id", "task_version", "dataset", "model", "config"}
        assert held["_journal/start.json"]["eval"].keys() >= needed
        assert held["header.json"]["status"] == "success"
        assert held["header.json"]["eval"]["config"]["epochs"] == run.manifest["repeats"]
        assert held["header.json"]["eval"]["metadata"]["arm"] == arm
        assert len(held["summaries.json"]) == held["header.json"]["results"]["total_samples"] == 16
        assert {f"samples/p {n}/a_epoch_{m}.json" for n in range(8) for m in (1, 2)} < held.keys()


def test_each_trial_is_told_with_its_answer_scores_times_and_tokens(run, logs):
    held = opened(logs[1])
    of_arm = run.records[run.records["arm"] == "async"].set_index(["prompt_id", "repeat"])
    for summary in held["summaries.json"]:
        told = held[f"samples/{summary['id']}_epoch_{summary['epoch']}.json"]
        record = of_arm.loc[told["id"], told["epoch"] - 1]
        assert (told["total_time"], told["metadata"]["category"]) == (record["latency_s"], "few")
        assert (
            told["model_usage"]["oracle"]["total_tokens"]
            == ASKED_BESIDE * 10
            == record[["tokens_in", "tokens_out"]].sum()
        )
        assert told["scores"]["exact_pass"]["value"] == record["score_exact_pass"]
        failed = record["status"] == "failed"
        assert ("error" in told, bool(summary["error"]), bool(told["output"]["choices"])) == (
            failed,
            failed,
            not failed,
        )
    mean = held["header.json"]["results"]["scores"][0]["metrics"]["mean"]["value"]
    assert mean == pytest.approx(of_arm["score_exact_pass"].mean())


def test_every_agents_call_is_a_span_and_every_question_an_event_within_it(run, logs):
    told = opened(logs[0])["samples/p 1/a_epoch_1.json"]
    begun = {event["id"]: event for event in told["events"] if event["event"] == "span_begin"}
    assert Counter(event["name"] for event in begun.values()) == {"look": 1, "answer": 1, "aside": 1}
    assert {event["type"] for event in begun.values()} == {"agent"}
    asked = Counter(begun[event["span_id"]]["name"] for event in told["events"] if event["event"] == "model")
    assert asked == {"look": ASKED_BESIDE, "answer": 1, "aside": 1}, "an agent that asks no model counts as one"
    said = [
        event["output"]["choices"][0]["message"]["content"] for event in told["events"] if event["event"] == "model"
    ]
    assert "oracle on prompt 1, 0" in said
    moments = [event["timestamp"] for event in told["events"]]
    assert moments == sorted(moments)
    failed = opened(logs[0])["samples/p 3/a_epoch_1.json"]
    at_fault = next(event for event in failed["events"] if event.get("name") == "answer")
    assert (at_fault["metadata"]["attempts"], at_fault["metadata"]["status"]) == (2, "failed")


def test_inspects_own_reader_opens_the_logs(run, logs):
    pytest.importorskip("inspect_ai")
    from inspect_ai.analysis import EventInfo, ModelEventColumns, evals_df, events_df, messages_df, samples_df
    from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries

    folder = str(logs[0].parent)
    read = read_eval_log(str(logs[0]))
    assert (read.status, len(read.samples), read.eval.config.epochs) == ("success", 16, 2)
    assert len(read_eval_log_sample_summaries(str(logs[0]))) == 16
    cases = samples_df(folder, quiet=True)
    assert len(cases) == len(run.records)
    assert cases["score_exact_pass"].astype(float).mean() == pytest.approx(run.records["score_exact_pass"].mean())
    assert cases["total_tokens"].sum() == run.records[["tokens_in", "tokens_out"]].to_numpy().sum()
    assert len(evals_df(folder, quiet=True)) == 2
    assert (messages_df(folder, quiet=True)["role"] == "assistant").sum() > 0
    spans = events_df(folder, filter=lambda event: event.event == "span_begin", quiet=True)
    assert len(spans) == 3 * len(run.records)
    asked = events_df(
        folder, columns=EventInfo + ModelEventColumns, filter=lambda event: event.event == "model", quiet=True
    )
    assert Counter(asked["model_event_model"]) == {
        "oracle": len(run.calls),
        "quark-bench/answer": len(run.records),
        "quark-bench/aside": len(run.records),
    }


# -- Chrome


@pytest.fixture(scope="module")
def trace(run, tmp_path_factory):
    (file,) = run.export("chrome", tmp_path_factory.mktemp("trace") / "trace.json")
    return json.loads(file.read_text())["traceEvents"]


def test_every_span_and_question_is_in_the_trace_in_microseconds(run, trace):
    complete = [event for event in trace if event["ph"] == "X"]
    assert Counter(event["cat"] for event in complete) == {"agent": len(run.spans), "model": len(run.calls)}
    by_attempt = run.spans.groupby("agent")
    for name in run.spans["agent"].unique():
        told_s = sum(event["dur"] for event in complete if event["name"] == name) / 1e6
        spans = by_attempt.get_group(name)
        assert told_s == pytest.approx((spans["end_s"] - spans["start_s"]).sum(), abs=1e-6)
    spent = next(event for event in complete if event["args"].get("prompt_id") == "p 3/a" and event["name"] == "answer")
    assert (spent["args"]["attempt"], spent["args"]["status"]) == (1, "failed")


def test_processes_are_arms_and_lanes_are_agents_on_which_nothing_overlaps_but_what_is_within(trace):
    named = {(event["pid"], event["tid"]): event["args"]["name"] for event in trace if event["ph"] == "M"}
    assert [name.split(" · ")[0] for (_, lane), name in named.items() if lane == 0] == ["sync", "async"]
    lanes = defaultdict(list)
    for event in trace:
        if event["ph"] == "X":
            lanes[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"], event["name"]))
    slack_us = 0.002  # times are rounded to nanoseconds
    for place, events in lanes.items():
        assert {name for *_, name in events} <= {named[place].split(",")[0].rstrip(" 0123456789"), "oracle"}
        within = []
        for start, end, _ in sorted(events, key=lambda event: (event[0], -event[1])):
            while within and within[-1] <= start + slack_us:
                within.pop()
            assert not within or end <= within[-1] + slack_us
            within.append(end)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 10)), max_size=40))
def test_a_lane_holds_one_at_a_time_and_no_more_lanes_are_taken_than_are_needed(drawn):
    lanes, taken = Lanes(), defaultdict(list)
    intervals = sorted((start, start + length) for start, length in drawn)
    for start, end in intervals:
        taken[lanes.take(start, end)].append((start, end))
    for held in taken.values():
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(held))
    at_once = max(
        (sum(a <= start < b or (a, b) == (start, end) for a, b in intervals) for start, end in intervals), default=0
    )
    assert len(taken) <= at_once


# -- tables and the command


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_are_the_runs_tables(run, form, tmp_path):
    files = run.export(form, tmp_path / "tables")
    assert [file.name for file in files] == [f"{kind}.{form}" for kind in ("records", "spans", "calls", "scores")]
    read = pd.read_csv if form == "csv" else pd.read_parquet
    for file, table in zip(files[:3], (run.records, run.spans, run.calls), strict=True):
        found = read(file)
        assert list(found["prompt_id"]) == list(table["prompt_id"])
        assert list(found["start_s"]) == list(table["start_s"])
    assert len(read(files[3])) == len(run.records)


def test_the_command_prints_what_it_wrote(run, tmp_path, capsys):
    target = tmp_path / "tables"
    assert call(["export", str(run.path), "--to", "csv", "--out", str(target)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(target / "records.csv")
    with (target / "spans.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(run.spans)


def test_logs_without_the_prompts_say_so(run, tmp_path, capsys):
    assert call(["export", str(run.path), "--to", "inspect", "--out", str(tmp_path)]) == 0
    assert "not at hand" in capsys.readouterr().err


def test_what_cannot_be_written_is_said_before_it_is_half_done(run, tmp_path):
    with pytest.raises(UsageError, match="inspect, chrome, csv, parquet or junit"):
        run.export("xml", tmp_path / "out.xml")
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ExecutionError, match="no folder can be made there"):
        run.export("csv", tmp_path / "taken")
    with pytest.raises(ExecutionError, match="cannot be written"):
        run.export("chrome", tmp_path / "nowhere" / "trace.json")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["taken"]
