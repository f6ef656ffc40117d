"""The judged repetitions: minutes of kills. Run by `make soak`; `make test` tries each fault once."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil
import pytest

from quark_bench import AsyncOrchestrator, Pipeline, Run, agent

from ..clusters import dask_processes, until

pytestmark = pytest.mark.soak
PIPELINES = Path(__file__).parents[1] / "pipelines"
COMMAND = [sys.executable, "-m", "quark_bench", "run"]
PROMPTS = 1_000
KILL_EVERY_S = 2.0


def prompts_file(folder, texts):
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"id": f"p-{n}", "text": text}) + "\n" for n, text in enumerate(texts)))
    return path


def command(folder, texts, pipeline, *options):
    named = ("--pipeline", f"{PIPELINES / pipeline}", "--arm", "async")
    return [*map(str, (*COMMAND, prompts_file(folder, texts), *named, *options))]


def begun(arguments, folder, **environment):
    # A file, not a pipe: nobody reads while it runs, and a full pipe would stop it.
    with (folder / "told.log").open("a") as told:
        return subprocess.Popen(
            arguments, cwd=folder, env=os.environ | environment, stdout=told, stderr=told, start_new_session=True
        )


def workers_of(process):
    """The worker processes that the command started."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if any("spawn_main" in word for word in child.cmdline())]
    except psutil.Error:
        return []


def the_run(folder):
    (path,) = folder.glob("reports/*/manifest.json")
    return Run(path.parent)


def once_each(run, prompts):
    assert Counter(run.records["prompt_id"]) == Counter(f"p-{n}" for n in range(prompts))
    assert run.manifest["conservation"]["not_run"] == 0
    return Counter(run.records["status"])


@pytest.mark.parametrize("granularity", ["chunk", "agent"])
def test_a_worker_killed_every_two_seconds_loses_no_record(granularity, tmp_path, table):
    begun_s = time.monotonic()
    texts = [f"prompt {n}" for n in range(PROMPTS)]
    options = ("--workers", 4, "--granularity", granularity, "--in-flight", 16)
    going = begun(command(tmp_path, texts, "deadly.py:slowly", *options), tmp_path)
    until(lambda: going.poll() is not None or next(tmp_path.glob("reports/*/records/part-*.parquet"), None))
    kills = 0
    while going.poll() is None:
        assert time.monotonic() - begun_s < 900
        time.sleep(KILL_EVERY_S)
        workers = workers_of(going)
        if workers and going.poll() is None:
            random.choice(workers).kill()
            kills += 1
    assert going.returncode == 0, (tmp_path / "told.log").read_text()
    counts = once_each(the_run(tmp_path), PROMPTS)
    assert counts["ok"] >= 995
    came = f"{counts['ok']} ok, {counts['failed']} failed, {kills} kills"
    law = f"{PROMPTS} records once each, at least 995 ok"
    table.append((f"a worker of 4 killed every 2 s, a task per {granularity}", law, came, time.monotonic() - begun_s))


def test_a_client_killed_at_ten_random_moments_repeats_no_finished_call(tmp_path, table):
    begun_s = time.monotonic()
    log = tmp_path / "calls.log"
    log.touch()
    texts = [f"prompt {n}" for n in range(PROMPTS)]
    arguments = command(tmp_path, texts, "counted.py:steady", "--workers", 2)
    marks = []
    going = begun(arguments, tmp_path, QUARK_BENCH_TEST_LOG=str(log))
    until(lambda: next(tmp_path.glob("reports/*/records/part-*.parquet"), None))
    while len(marks) < 10:
        time.sleep(random.uniform(0, 6))
        assert going.poll() is None, "it ended before its tenth kill"
        going.send_signal(signal.SIGKILL)
        going.wait(timeout=30)
        time.sleep(1)  # its workers notice within moments that nobody is there any more
        (records,) = tmp_path.glob("reports/*/records")
        marks.append((len(log.read_text().split()), set(pd.read_parquet(records)["prompt_id"])))
        going = begun([*COMMAND, "--resume", "last"], tmp_path, QUARK_BENCH_TEST_LOG=str(log))
    assert going.wait(timeout=600) == 0, (tmp_path / "told.log").read_text()
    counts, calls = once_each(the_run(tmp_path), PROMPTS), log.read_text().split()
    assert counts == {"ok": PROMPTS}
    repeated = sum(len(written & set(calls[called:])) for called, written in marks)
    assert repeated == 0
    law = f"the same {PROMPTS} records, none twice, no call of a finished chunk again"
    came = f"{counts['ok']} ok, {repeated} calls repeated, {len(marks)} kills"
    table.append(("the client killed at ten random moments, resumed", law, came, time.monotonic() - begun_s))


def test_prompts_that_exit_their_process_fail_alone_ten_times(tmp_path, table):
    begun_s = time.monotonic()
    for turn in range(10):
        folder = tmp_path / str(turn)
        folder.mkdir()
        deadly = set(random.Random(turn).sample(range(200), 5))
        texts = ["exit" if n in deadly else f"prompt {n}" for n in range(200)]
        going = begun(command(folder, texts, "deadly.py:pipeline", "--workers", 2), folder)
        assert going.wait(timeout=300) == 0, (folder / "told.log").read_text()
        run = the_run(folder)
        assert once_each(run, 200) == {"ok": 195, "failed": 5}
        failed = run.records.loc[run.records["status"] == "failed", "prompt_id"]
        assert set(failed) == {f"p-{n}" for n in deadly}
    law, came = "195 right answers, 5 failures, each of ten times", "195 ok, 5 failed, 10 of 10 times"
    table.append(("5 of 200 prompts call os._exit, 2 workers", law, came, time.monotonic() - begun_s))


def test_a_killed_scheduler_ends_the_run_within_a_minute_three_times(tmp_path, table):
    begun_s, slowest_s = time.monotonic(), 0.0
    texts = [f"prompt {n}" for n in range(300)]
    for turn in range(3):
        folder = tmp_path / str(turn)
        folder.mkdir()
        with dask_processes(folder / "dask", 2) as cluster:
            going = begun(command(folder, texts, "deadly.py:slowly", "--on", cluster.address), folder)
            until(lambda folder=folder: next(folder.glob("reports/*/records/part-*.parquet"), None))
            time.sleep(random.random())
            cluster.scheduler_process.kill()
            killed_s = time.monotonic()
            assert going.wait(timeout=60) == 4
            slowest_s = max(slowest_s, time.monotonic() - killed_s)
        told = (folder / "told.log").read_text()
        assert "quark-bench run --resume" in told
        with dask_processes(folder / "dask-again", 2) as cluster:
            ended = begun([*COMMAND, "--resume", "last", "--on", cluster.address], folder)
            assert ended.wait(timeout=120) == 0, (folder / "told.log").read_text()
        assert once_each(the_run(folder), 300) == {"ok": 300}
    law = "exit 4 within 60 s with the command, which completes it on a new cluster"
    came = f"3 of 3 times, exit after {slowest_s:.1f} s at most"
    table.append(("the scheduler killed mid-run", law, came, time.monotonic() - begun_s))


HANDLES, IN_FLIGHT, SETTLED = 10_000, 500, 2_000


def test_ten_thousand_prompts_live_lose_none_and_keep_no_memory(table):
    begun_s = time.monotonic()

    @agent
    async def look(prompt):
        await asyncio.sleep(0.002)
        return prompt.text

    @agent
    def read(prompt):
        time.sleep(0.001)
        return prompt.text

    @agent
    async def answer(look, read):
        return f"{look} {read}"

    async def run():
        room, answers, held = asyncio.Semaphore(IN_FLIGHT), Counter(), []

        async def one(orchestrator, number):
            async with room:
                answered = await orchestrator.handle(f"p{number}")
            answers[str(answered)] += 1
            if answers.total() % 1_000 == 0:
                held.append(psutil.Process().memory_info().rss)

        async with AsyncOrchestrator(32, pipeline=Pipeline("live", [look, read, answer])) as orchestrator:
            await asyncio.gather(*(one(orchestrator, number) for number in range(HANDLES)))
            return answers, held, await orchestrator.get_performance_stats()

    answers, held, stats = asyncio.run(run())
    assert answers == Counter(f"p{number} p{number}" for number in range(HANDLES))
    assert stats["execution_stats"]["completed_tasks"] == stats["execution_stats"]["total_tasks"] == HANDLES
    growth = max(held) - held[SETTLED // 1_000 - 1]
    assert growth < 50_000_000
    table.append(
        (
            f"{HANDLES:,} prompts live, {IN_FLIGHT} in flight, 32 workers",
            "each answered once, memory grows by less than 50 MB after the first 2,000",
            f"{len(answers):,} answers, {growth / 1e6:.1f} MB",
            time.monotonic() - begun_s,
        )
    )
