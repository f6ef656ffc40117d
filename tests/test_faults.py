"""Nothing lost: workers, schedulers and clients that die, freeze, come late or fall silent, with real kills."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pandas as pd
import pytest
from distributed import Client, LocalCluster

from quark_bench import Arm, Dataset, Run, bench
from quark_bench.bench import Silent
from quark_bench.errors import ClusterError, ExecutionError
from quark_bench.execute import liveness
from quark_bench.execute.lost import KILLED
from quark_bench.store import read_manifest

from .clusters import forked_processes, until
from .conftest import PIPELINES, Way
from .forked import begin
from .forked import run as command
from .pipelines import deadly

GRANULARITIES = ["chunk", "agent"]
each_granularity = pytest.mark.parametrize("granularity", GRANULARITIES)
DEADLY = f"{PIPELINES / 'deadly.py'}"


@pytest.fixture
def own_cluster(tmp_path):
    """`own_cluster(workers, ...)`: a LocalCluster as any team's, with nannies and Dask's own settings."""
    opened = []

    def started(workers=2, **options):
        settings = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
        cluster = LocalCluster(n_workers=workers, threads_per_worker=8, local_directory=tmp_path, **settings | options)
        opened.append(cluster)
        return cluster

    yield started
    for cluster in opened:
        cluster.close(timeout=10)


def counted(run):
    return Counter(run.records["status"])


def once_each(run, prompts):
    records = run.records
    assert not records.duplicated(["arm", "repeat", "prompt_id"]).any()
    assert len(records) == prompts == run.manifest["conservation"]["planned"]
    assert len(run.spans.drop_duplicates(["arm", "repeat", "prompt_id"])) == prompts


@each_granularity
@pytest.mark.parametrize("how", ["exit", "crash", "kill"])
def test_prompts_that_kill_their_process_fail_and_no_neighbour_does(how, granularity, run_with):
    texts = [how if n in (7, 30) else f"prompt {n}" for n in range(40)]
    run = run_with(Way("local", granularity), texts, "deadly.py:pipeline", arms=["async"], workers=2)
    once_each(run, 40)
    failed = run.records[run.records["status"] == "failed"]
    assert sorted(failed["prompt_id"]) == ["p-31", "p-8"]
    assert set(failed["error"]) == {KILLED}
    assert failed["executions"].min() == 3
    fine = run.records[run.records["status"] == "ok"]
    assert list(fine["answer"]) == [texts[int(p.removeprefix("p-")) - 1].upper() for p in fine["prompt_id"]]


def test_a_prompt_that_kills_its_worker_already_in_the_warm_up_costs_its_own_records(run_with):
    texts = ["exit" if n == 7 else f"prompt {n}" for n in range(24)]
    arms = ["async", "sync"]
    run = run_with(Way("local", "auto"), texts, "deadly.py:pipeline", arms=arms, workers=2, warmup=8)
    assert counted(run) == {"ok": 46, "failed": 2}


def test_five_of_two_hundred_prompts_exit_on_two_workers_of_our_own(tmp_path, run_with):
    texts = ["exit" if n % 40 == 13 else f"prompt {n}" for n in range(200)]
    run = run_with(Way("local", "auto"), texts, "deadly.py:pipeline", arms=["async"], workers=2)
    once_each(run, 200)
    assert counted(run) == {"ok": 195, "failed": 5}
    assert set(run.records.loc[run.records["answer"].isna(), "error"]) == {KILLED}
    run.report()


@each_granularity
def test_a_prompt_that_killed_its_worker_once_by_accident_is_answered(granularity, run_with, tmp_path):
    texts = [f"once {tmp_path / 'mark'}" if n == 5 else f"prompt {n}" for n in range(20)]
    run = run_with(Way("local", granularity), texts, "deadly.py:pipeline", arms=["async"], workers=2)
    once_each(run, 20)
    assert counted(run) == {"ok": 20}
    assert run.records.set_index("prompt_id").loc["p-6", "executions"] >= 2


@each_granularity
def test_a_prompt_that_uses_up_its_workers_memory_fails_alone(granularity, run_with, tmp_path):
    texts = ["memory" if n == 3 else f"prompt {n}" for n in range(12)]
    with forked_processes(tmp_path / "cluster") as own:
        for _ in range(2):
            own.worker("--memory-limit", "600MB")
        own.wait_for_workers(2)
        run = run_with(Way(own.address, granularity), texts, "deadly.py:pipeline", arms=["async"])
    once_each(run, 12)
    assert counted(run) == {"ok": 11, "failed": 1}
    assert set(run.records["error"].dropna()) == {KILLED}


def test_an_agent_that_blocks_its_event_loop_costs_its_own_record(run_with):
    texts = ["block" if n == 3 else f"prompt {n}" for n in range(12)]
    run = run_with(Way("local", "chunk"), texts, "deadly.py:blocking", arms=["async"], workers=2)
    once_each(run, 12)
    assert counted(run) == {"ok": 11, "failed": 1}


def test_inline_an_agent_that_blocks_the_event_loop_is_named_instead_of_waited_for(run_with, inline, tmp_path):
    script = tmp_path / "inline.py"
    script.write_text(
        "from quark_bench import Dataset, bench\n"
        f"options = dict(on='inline', warmup=0, arms=['async'], out={str(tmp_path)!r})\n"
        f"bench(Dataset.of(['block']), {f'{DEADLY}:blocking'!r}, **options)"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=False)
    assert "agent 'blocker' blocks the event loop" in ended.stderr
    assert "plain `def`" in ended.stderr


def test_an_output_of_fifty_megabytes_harms_nobody(way, run_with):
    run = run_with(way, ["big", "small"], "deadly.py:pipeline", arms=["async"])
    answers = run.records.set_index("prompt_id")["answer"]
    assert len(answers["p-1"]) == deadly.BIG
    assert answers["p-2"] == "SMALL"


class Killing(Silent):
    """Kills three workers that have work, one after another, once the measured part has begun."""

    def __init__(self, address):
        self.address = address
        self.ended = threading.Event()
        self.killer = threading.Thread(target=self.kill_now_and_then)

    def began(self, plan, dashboard):
        self.killer.start()

    def kill_now_and_then(self):
        with Client(self.address, set_as_default=False) as client:
            for _ in range(3):
                busy = until(
                    lambda: self.ended.is_set() or [each for each, keys in client.processing().items() if keys]
                )
                if self.ended.is_set():
                    return
                for pid in client.run(os.getpid, workers=busy[:1], on_error="ignore").values():
                    os.kill(pid, signal.SIGKILL)
                self.ended.wait(0.7)


@each_granularity
def test_workers_killed_from_outside_lose_no_record(granularity, run_with, own_cluster):
    own = own_cluster(3)
    killing = Killing(own.scheduler_address)
    way, options = Way(own.scheduler_address, granularity), {"arms": ["async"], "in_flight": 6, "watcher": killing}
    try:
        run = run_with(way, 60, "deadly.py:slowly", **options)
    finally:
        killing.ended.set()
        killing.killer.join()
    once_each(run, 60)
    assert counted(run)["ok"] >= 59
    assert run.records["executions"].max() >= 2


class Then(Silent):
    """Does something a moment after the measured part has begun."""

    def __init__(self, deed):
        self._timer = threading.Timer(1, deed)

    def began(self, plan, dashboard):
        self._timer.start()


def test_a_cluster_whose_workers_are_all_gone_is_told_of_in_bounded_time(tmp_path, run_with, monkeypatch):
    monkeypatch.setattr(liveness, "WORKERLESS_S", 4.0)
    with forked_processes(tmp_path / "dask", 2) as own:
        killing = Then(lambda: [process.kill() for process in own.started[1:]])
        begun_s = time.monotonic()
        with pytest.raises(ClusterError, match=r"no workers for .* --resume"):
            run_with(Way(own.address, "chunk"), 2_000, "deadly.py:slowly", arms=["async"], watcher=killing)
        assert time.monotonic() - begun_s < 60


@pytest.mark.parametrize("which", ["scheduler", "worker"])
def test_a_frozen_process_is_given_up_in_bounded_time(which, tmp_path, run_with, monkeypatch):
    monkeypatch.setattr(liveness, "SILENT_S", 4.0)
    monkeypatch.setattr("quark_bench.execute.members.SILENT_S", 4.0)
    with forked_processes(tmp_path / "dask", 2, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="4s") as own:
        victim = own.started[0 if which == "scheduler" else 1]
        options = {"arms": ["async"], "watcher": Then(lambda: os.killpg(victim.pid, signal.SIGSTOP))}
        way = Way(own.address, "chunk")
        if which == "scheduler":
            with pytest.raises(ClusterError, match=r"has not answered for .* --resume"):
                run_with(way, 2_000, "deadly.py:slowly", **options)
        else:
            run = run_with(way, 400, "deadly.py:slowly", **options)
            once_each(run, 400)
            assert counted(run) == {"ok": 400}
            assert run.records["executions"].max() == 2


def test_a_worker_that_joins_late_takes_part_and_one_whose_set_up_fails_does_not(tmp_path, run_with):
    with forked_processes(tmp_path / "dask", 1) as own:

        def come_late():
            own.worker("--no-nanny")
            own.worker("--no-nanny", QUARK_BENCH_TEST_UNFIT="1")

        options = {"arms": ["async"], "in_flight": 4, "watcher": Then(come_late)}
        run = run_with(Way(own.address, "chunk"), 400, "deadly.py:demanding", **options)
        once_each(run, 400)
    assert counted(run) == {"ok": 400}
    assert run.records["worker"].nunique() == 2


def test_a_set_up_that_fails_on_one_worker_of_two_ends_the_run_before_the_first_prompt(tmp_path, run_with):
    with forked_processes(tmp_path / "dask", 1) as own:
        own.worker("--no-nanny", QUARK_BENCH_TEST_UNFIT="1")
        own.wait_for_workers(2)
        with pytest.raises(ExecutionError, match="no index on this machine"):
            run_with(Way(own.address, "chunk"), 4, "deadly.py:demanding", arms=["async"])
    assert not list(tmp_path.glob("2*"))


def test_a_resource_that_no_worker_offers_is_named_and_one_that_joins_with_it_is_used(tmp_path, run_with, monkeypatch):
    with forked_processes(tmp_path / "dask", 1) as own:
        with pytest.raises(ClusterError, match=r"'costly' needs GPU=1.*--resources"):
            run_with(Way(own.address, "auto"), 4, "deadly.py:resourceful", arms=["async"])
        own.worker("--no-nanny", "--resources", "GPU=1")
        own.wait_for_workers(2)
        run = run_with(Way(own.address, "auto"), 4, "deadly.py:resourceful", arms=["async"])
        assert counted(run) == {"ok": 4}
        assert run.records["worker"].nunique() == 1
        monkeypatch.setattr(liveness, "WORKERLESS_S", 3.0)
        options = {"arms": ["async"], "watcher": Then(own.started[-1].kill)}
        with pytest.raises(ClusterError, match=r"'costly' needs GPU=1.* --resume"):
            run_with(Way(own.address, "auto"), 5_000, "deadly.py:resourceful", **options)


def test_a_module_that_no_worker_has_is_named_before_the_first_prompt(tmp_path, run_with, cluster, monkeypatch):
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "only_here.py").write_text("WORD = 'here'\n")
    (tmp_path / "uses.py").write_text(
        "import only_here\nfrom quark_bench import Pipeline\n"
        "def one(prompt): return only_here.WORD\npipeline = Pipeline('uses', [one])\n"
    )
    monkeypatch.syspath_prepend(str(place))
    with pytest.raises(ExecutionError, match="only_here"):
        run_with(Way(cluster, "chunk"), 2, f"{tmp_path / 'uses.py'}:pipeline", arms=["async"])


# -- the command: schedulers killed, Ctrl-C


def prompts_file(folder, count):
    path = folder / "prompts.jsonl"
    path.write_text("".join(json.dumps({"id": f"p-{n}", "text": f"prompt {n}"}) + "\n" for n in range(count)))
    return path


def begun(folder, *options, prompts=1_000, pipeline="slowly"):
    """The command, running in its own process group, once its first part is written."""
    line = ["run", prompts_file(folder, prompts), "--pipeline", f"{DEADLY}:{pipeline}", "--arm", "async"]
    with open(os.devnull) as nothing, (folder / "out").open("w") as out, (folder / "told").open("w") as told:
        going = begin("quark-bench", [*line, "--warmup", "2", *options], folder, os.environ, (nothing, out, told))
    part = until(lambda: going.poll() is not None or next(folder.glob("reports/*/records/part-*.parquet"), None))
    assert going.poll() is None, (folder / "told").read_text()
    return going, part.parents[1]


def told_until_its_end(going, folder, within_s=60):
    going.wait(within_s)
    return (folder / "told").read_text()


def test_a_scheduler_killed_mid_run_ends_it_with_the_command_that_completes_it_on_a_new_cluster(tmp_path):
    with forked_processes(tmp_path / "dask", 2) as own:
        going, path = begun(tmp_path, "--on", own.address, prompts=300)
        own.scheduler_process.kill()
        killed_s = time.monotonic()
        told = told_until_its_end(going, tmp_path)
        assert time.monotonic() - killed_s < 60
    assert going.returncode == 4
    assert f"quark-bench run --resume {path.relative_to(tmp_path)}" in told
    kept = len(pd.read_parquet(path / "records"))
    assert 0 < kept < 300
    with forked_processes(tmp_path / "dask-2", 2) as own:
        ended = command("quark-bench", "run", "--resume", path, "--on", own.address, folder=tmp_path, timeout_s=120)
    assert ended.returncode == 0, ended.stderr
    run = Run(path)
    once_each(run, 300)
    assert counted(run) == {"ok": 300}
    assert run.manifest["cluster"]["address"] == own.address


@pytest.mark.parametrize("granularity", ["chunk", "agent"])
def test_the_first_ctrl_c_keeps_what_is_under_way_and_says_how_to_go_on(granularity, tmp_path):
    going, path = begun(tmp_path, "--workers", 2, "--granularity", granularity)
    os.killpg(going.pid, signal.SIGINT)  # a terminal tells every process of the group
    pressed_s = time.monotonic()
    told = told_until_its_end(going, tmp_path)
    assert time.monotonic() - pressed_s < 40
    assert going.returncode == 130
    assert "ending what is under way" in told
    assert f"--resume {path.relative_to(tmp_path)}" in told
    manifest, records = read_manifest(path), pd.read_parquet(path / "records")
    assert manifest["state"] == "interrupted"
    assert manifest["conservation"]["ok"] == len(records)
    assert set(records["status"]) == {"ok"}
    ended_s = (records["start_s"] + records["latency_s"]).max()
    assert ended_s - records["start_s"].max() > 0
    assert records["executions"].max() == 1


def test_a_run_whose_client_was_killed_tells_what_it_has_and_one_under_way_is_not_continued(tmp_path):
    going, path = begun(tmp_path, "--workers", 1, prompts=20_000)
    refused = command("quark-bench", "run", "--resume", "last", folder=tmp_path)
    assert refused.returncode == 2
    assert f"is being carried out by process {going.pid}" in refused.stderr
    assert "still under way" in told_by(tmp_path, "show", "last")
    going.kill()
    going.wait(30)
    kept = len(pd.read_parquet(path / "records"))
    assert f"20,000 trials: {kept} ok, {20_000 - kept:,} not run" in " ".join(told_by(tmp_path, "show", "last").split())
    assert f"Continue  quark-bench run --resume {path.relative_to(tmp_path)}" in told_by(tmp_path, "show", "last")
    assert f"{kept} of 20000" in told_by(tmp_path, "ls")


def told_by(folder, *arguments):
    asked = command("quark-bench", *arguments, folder=folder)
    assert asked.returncode == 0, asked.stderr
    return asked.stdout


def test_the_second_ctrl_c_quits_at_once(tmp_path):
    going, path = begun(tmp_path, "--workers", 2, pipeline="hanging", prompts=50)
    os.killpg(going.pid, signal.SIGINT)
    time.sleep(1)
    assert going.poll() is None
    os.killpg(going.pid, signal.SIGINT)
    told = told_until_its_end(going, tmp_path)
    assert going.returncode == 130
    assert f"--resume {path.relative_to(tmp_path)}" in told


def test_a_run_that_was_ended_by_ctrl_c_in_python_can_be_continued(way, tmp_path):
    class Pressing:
        def stage(self, name): ...
        def began(self, plan, dashboard): ...
        def finished_before(self, arm, trials): ...
        def advanced(self, batch):
            if batch.chunk == 1:
                signal.raise_signal(signal.SIGINT)

    options = {
        "pipeline": f"{DEADLY}:slowly",
        "arms": [Arm("async", in_flight=4)],
        "on": way.on,
        "granularity": way.granularity,
        "warmup": 1,
        "out": tmp_path,
    }
    dataset = Dataset.of([f"prompt {n}" for n in range(60)])
    with pytest.raises(KeyboardInterrupt) as stopped:
        bench(dataset, **options, watcher=Pressing())
    kept = len(pd.read_parquet(stopped.value.path / "records"))
    assert 0 < kept < 60
    run = bench(dataset, **options, resume=stopped.value.path)
    once_each(run, 60)
    assert set(run.records["executions"]) == {1}
