"""What many tests share: every way to execute, and a run that is made quickly."""

import contextlib
import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from distributed import Client, LocalCluster

from quark_bench import Dataset, Run, bench

PIPELINES = Path(__file__).parent / "pipelines"


class Way(NamedTuple):
    """A way to execute: an executor at a granularity."""

    on: str
    granularity: str


WAYS = ["inline", "dask-chunk", "dask-agent"]


@pytest.fixture(scope="session")
def cluster():
    """The address of a real scheduler with two worker processes, started when a test first asks for it."""
    settings = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with LocalCluster(n_workers=2, threads_per_worker=8, processes=True, **settings) as started:
        yield started.scheduler_address


@pytest.fixture(scope="session")
def way_named(request):
    """A way by its name; only those on Dask start a cluster."""

    def chosen(name: str) -> Way:
        if name == "inline":
            return Way("inline", "chunk")
        return Way(request.getfixturevalue("cluster"), name.removeprefix("dask-"))

    return chosen


@pytest.fixture(params=WAYS)
def way(request, way_named):
    """Every way to execute."""
    return way_named(request.param)


@pytest.fixture
def run_with(tmp_path) -> Callable[..., Run]:
    """`run_with(way, prompts, pipeline, **options)`: a run below `tmp_path`, after one warm-up trial an arm.

    `prompts` is a Dataset, texts, or how many prompts; `pipeline` a Pipeline, or `FILE.py:NAME` in tests/pipelines.
    """

    def made(way: Way, prompts, pipeline, **options) -> Run:
        if isinstance(prompts, int):
            prompts = [f"prompt {n}" for n in range(prompts)]
        dataset = prompts if isinstance(prompts, Dataset) else Dataset.of(prompts)
        if isinstance(pipeline, str) and (PIPELINES / pipeline.partition(":")[0]).is_file():
            pipeline = str(PIPELINES / pipeline)
        chosen = {"warmup": 1, "scores": (), "out": tmp_path} | options
        return bench(dataset, pipeline, on=way.on, granularity=way.granularity, **chosen)

    return made


@pytest.fixture(scope="session")
def quickstart() -> Dataset:
    """A dozen prompts of the data set that comes with the assistant."""
    return Dataset.read(Path(__file__).parents[1] / "datasets" / "quickstart.jsonl").limit(12)


@pytest.fixture
def inline() -> Way:
    """The reference: everything in this process."""
    return Way("inline", "chunk")


class DaskProcesses:
    """Real `dask scheduler` and `dask worker` processes, in a folder where nothing of ours lies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler_file = folder / "scheduler.json"
        self.started: list[subprocess.Popen[bytes]] = []

    def scheduler(self, *options: str, host: str = "127.0.0.2", env: dict[str, str] | None = None) -> str:
        """Start a scheduler on a loopback address; its own address."""
        where = ("--host", host, "--port", "0", "--dashboard-address", f"{host}:0")
        process = self._start("scheduler", *where, "--scheduler-file", str(self.scheduler_file), *options, env=env)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                return json.loads(self.scheduler_file.read_text())["address"]
            time.sleep(0.05)
        pytest.fail(f"no scheduler came up: {self.log()}")

    def worker(
        self,
        scheduler: str,
        *options: str,
        host: str = "127.0.0.3",
        env: dict[str, str] | None = None,
        python: Sequence[str] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a worker on a loopback address, in a process without a nanny."""
        chosen = ("--host", host, "--no-nanny", "--nthreads", "4", "--memory-limit", "1GB", *options)
        return self._start("worker", scheduler, *chosen, env=env, python=python)

    def await_workers(self, scheduler: str, number: int, security: object = None) -> list[str]:
        """Wait until so many workers are there; their addresses."""
        with Client(scheduler, security=security, set_as_default=False, timeout=30) as client:
            client.wait_for_workers(number, timeout=60)
            return sorted(client.scheduler_info(n_workers=-1)["workers"])

    def log(self) -> str:
        """What the processes wrote."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def end(self) -> None:
        for process in self.started:
            process.kill()  # asked politely, a scheduler waits for workers that are gone
            process.wait(10)

    def _start(self, role: str, *options: str, env=None, python=()) -> subprocess.Popen[bytes]:
        with (self.folder / f"{len(self.started)}-{role}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *python, "-m", "dask", role, *options],
                cwd=self.folder,
                env=os.environ | (env or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        return process


@pytest.fixture
def dask_processes(tmp_path_factory):
    """Starts schedulers and workers as processes of their own, and ends what it started."""
    processes = DaskProcesses(tmp_path_factory.mktemp("elsewhere"))
    yield processes
    processes.end()


@pytest.fixture
def remote(dask_processes) -> str:
    """The address of a scheduler in a process of its own, with workers on two further loopback addresses."""
    address = dask_processes.scheduler()
    dask_processes.worker(address, host="127.0.0.3")
    dask_processes.worker(address, host="127.0.0.4")
    dask_processes.await_workers(address, 2)
    return address


def _link_packages(folder: Path, left_out: str) -> Path:
    """A folder of links to every installed package but those whose name contains `left_out`."""
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if left_out not in path.name:
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture
def without_quark_bench(tmp_path):
    """Arguments of `DaskProcesses.worker` for a Python that has all packages but quark-bench."""
    folder = _link_packages(tmp_path / "packages", "quark_bench")
    return {"python": ["-S"], "env": {"PYTHONPATH": str(folder)}}


@pytest.fixture
def with_versions(tmp_path):
    """Arguments of `DaskProcesses.worker` for a Python in which packages have the given versions."""

    def made(**versions: str):
        folder = tmp_path / "other versions"
        for name, version in versions.items():
            about = folder / f"{name}-{version}.dist-info"
            about.mkdir(parents=True)
            (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        return {"env": {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}}

    return made
