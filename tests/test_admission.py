"""Prompts of an open load in one process: each starts when it is due, or when there is room."""

import pytest

from quark_bench import Pipeline
from quark_bench.execute import Job
from quark_bench.execute.process import Process
from quark_bench.execute.step import clock
from quark_bench.plan import Arm

from .pipelines.waits import wait


class Packed:
    """A pipeline that needs no packing."""

    key = "packed"

    def load(self):
        return Pipeline("waits", [wait("slow", 0.02)])


@pytest.fixture(scope="module")
def process():
    made = Process()
    made.load(Packed())
    return made


def carried_out(process, offsets_s, lanes=100):
    """The records of prompts that are due at these offsets from now, by prompt."""
    now_s = clock()
    prompts = tuple((f"p-{n}", "text", None, {}) for n in range(len(offsets_s)))
    due_s = tuple(now_s + offset_s for offset_s in offsets_s)
    job = Job("key", 0, Packed.key, Arm("async"), lanes, 0, 0, 0, prompts, due_s)
    records = process.submit(process.carry_out(job, lambda: None)).result(timeout=60).records
    times = zip(*(records[name] for name in ("due_s", "start_s", "latency_s")), strict=True)
    by_prompt = dict(zip(records["prompt_id"], times, strict=True))
    return due_s, [by_prompt[row[0]] for row in prompts]


def test_no_prompt_starts_before_it_is_due_and_latency_counts_from_there(process):
    due_s, found = carried_out(process, [0.05, 0.0, 0.1, -0.2, 0.05])
    assert [due for due, _, _ in found] == list(due_s)
    assert all(start_s >= due for due, start_s, _ in found)
    assert all(latency_s >= start_s - due + 0.02 for due, start_s, latency_s in found)
    assert found[3][1] - found[3][0] >= 0.2


def test_no_more_are_under_way_than_may_be_and_the_earliest_due_starts_first(process):
    _, found = carried_out(process, [0.0, 0.001, 0.002, 0.003], lanes=1)
    ends_s = [due + latency_s for due, _, latency_s in found]
    starts_s = [start_s for _, start_s, _ in found]
    assert all(start_s >= end_s for start_s, end_s in zip(starts_s[1:], ends_s, strict=False))
