"""The command as a user gives it, from its start to the report: memory, disk and waiting included."""

import json
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from bars import Row, at_least, at_most
from work import ASSISTANT, texts

pytestmark = pytest.mark.scale

HERE = Path(__file__).parent
QUICKSTART = HERE.parents[1] / "datasets" / "quickstart.jsonl"
FEW = 10_000
MANY = int(os.environ.get("BENCH_PROMPTS", "100_000"))
"""The bars are meant for a million; what they limit are bounds for fewer as well."""
ROUNDS = 3 if MANY <= 100_000 else 1
LOOK_EVERY_S = 0.02


class Ended(NamedTuple):
    """What a command took: `peak_bytes` is the most resident memory that its own process was seen to have."""

    wall_s: float
    peak_bytes: int
    said: str


def quark_bench(folder, *arguments):
    """Carry the command out in the folder."""
    command = [sys.executable, "-m", "quark_bench", *map(str, arguments)]
    said, told = folder / "said", folder / "told"  # files, not pipes: nobody reads while it runs
    peak_bytes, start_s = 0, time.perf_counter()
    with said.open("w") as out, told.open("w") as err:
        process = psutil.Popen(command, cwd=folder, stdout=out, stderr=err)
        while process.poll() is None:
            peak_bytes = max(peak_bytes, resident_bytes(process))
            time.sleep(LOOK_EVERY_S)
    assert process.returncode == 0, told.read_text()
    return Ended(time.perf_counter() - start_s, peak_bytes, said.read_text())


def resident_bytes(process):
    try:
        return process.memory_info().rss
    except psutil.Error:  # it has just ended
        return 0


class Nulls(NamedTuple):
    """A run of null agents by the command, and its report written again."""

    ended: Ended
    rate: float
    bytes_a_span: float
    report_s: float


def run_nulls(folder, count):
    folder.mkdir(exist_ok=True)
    lines = (json.dumps({"id": f"p-{number}", "text": text}) for number, text in enumerate(texts(count)))
    (folder / "prompts.jsonl").write_text("\n".join(lines))
    how = ("--pipeline", f"{HERE / 'pipelines.py'}:null", "--arm", "async", "--in-flight", 64, "--workers", 2, "--json")
    ended = quark_bench(folder, "run", "prompts.jsonl", *how)
    told = json.loads(ended.said)
    parts = Path(folder, told["path"]).glob("*/part-*.parquet")
    return Nulls(
        ended=ended,
        rate=told["measures"]["async"]["throughput_per_s"]["value"],
        bytes_a_span=sum(part.stat().st_size for part in parts) / (count * len(ASSISTANT)),
        report_s=quark_bench(folder, "report", told["path"]).wall_s,
    )


def test_many_prompts_cost_no_more_memory_and_time_each_than_few(tell, benchmark, tmp_path):
    few, many = [], []
    benchmark.pedantic(
        lambda: many.append(run_nulls(tmp_path / "many", MANY)),
        setup=lambda: few.append(run_nulls(tmp_path / "few", FEW)),
        rounds=ROUNDS,
    )

    def row(case, unit, ours, beside, theirs, bar):
        tell(Row.of_pairs(f"{MANY:,} prompts: {case}", unit, ours, beside, theirs, bar))

    def limited(case, unit, ours, limit):
        row(case, unit, ours, "its limit", [limit] * ROUNDS, at_most(1))

    rates = [each.rate for each in many]
    peaks = [each.ended.peak_bytes for each in many]
    more = [peak - each.ended.peak_bytes for peak, each in zip(peaks, few, strict=True)]
    command_rates = [(MANY - FEW) / (a.ended.wall_s - b.ended.wall_s) for a, b in zip(many, few, strict=True)]
    row("rate", "prompts/s", rates, f"that of {FEW:,}", [each.rate for each in few], at_least(0.9))
    row("rate", "prompts/s", rates, "what each further one adds", command_rates, at_most(1.2))
    limited("the client's peak memory, at most 400 MB", "bytes", peaks, 400e6)
    limited(f"its peak above that of {FEW:,}, at most 50 MB", "bytes", more, 50e6)
    limited("on disk, at most 100 B a span", "bytes", [each.bytes_a_span for each in many], 100)
    limited("the report, at most 60 s", "s", [each.report_s for each in many], 60)


def test_ten_prompts_are_told_about_within_seconds(tell, benchmark, tmp_path):
    arguments = (tmp_path, "run", QUICKSTART, "--limit", 10, "--latency", "none")
    walls_s = []
    benchmark.pedantic(lambda: walls_s.append(quark_bench(*arguments).wall_s), rounds=ROUNDS)
    case = "`quark-bench run` of 10 prompts, start to report, at most 6 s"
    tell(Row.of_pairs(case, "s", walls_s, "its limit", [6] * ROUNDS, at_most(1)))
