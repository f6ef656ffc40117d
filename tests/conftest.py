"""What many tests share: every way to execute, and a run that is made quickly."""

import os
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import dask
import pytest
from distributed import LocalCluster
from hypothesis import settings

from quark_bench import Dataset, Run, bench

from .clusters import DaskProcesses

settings.register_profile("laws", deadline=None)  # a law holds also on a machine that is busy
settings.load_profile("laws")

PIPELINES = Path(__file__).parent / "pipelines"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """More than there are cores: much of the time goes into waiting for time limits and for processes that start."""
    return (os.cpu_count() or 1) + 2


class Way(NamedTuple):
    """A way to execute: an executor at a granularity."""

    on: str
    granularity: str


QUIET = {
    "distributed.admin.tick.interval": "500ms",
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "1s",
}
"""Without these a cluster that idles takes four times as much of the processors, as long as the tests last."""
WAYS = ["inline", "dask-chunk", "dask-agent"]


@pytest.fixture(scope="session")
def cluster():
    """The address of a real scheduler with two worker processes, started when a test first asks for it."""
    settings = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with (
        dask.config.set(QUIET),
        LocalCluster(n_workers=2, threads_per_worker=8, processes=True, **settings) as started,
    ):
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


@pytest.fixture
def undrawn(monkeypatch):
    """For tests of what a page says: its figures, most of what it costs, are named and empty."""
    monkeypatch.setattr("quark_bench.report.canvas._painted", lambda *_, **__: b"<svg ></svg>")


@pytest.fixture(scope="session")
def quickstart() -> Dataset:
    """A dozen prompts of the data set that comes with the assistant."""
    return Dataset.read(Path(__file__).parents[1] / "datasets" / "quickstart.jsonl").limit(12)


@pytest.fixture
def inline() -> Way:
    """The reference: everything in this process."""
    return Way("inline", "chunk")


@pytest.fixture
def elsewhere(tmp_path_factory):
    """Starts schedulers and workers of another loopback address, in a folder where nothing of ours lies."""
    processes = DaskProcesses(tmp_path_factory.mktemp("elsewhere"), host="127.0.0.2")
    yield processes
    processes.close()


@pytest.fixture
def remote(elsewhere) -> str:
    """The address of a scheduler in a process of its own, with workers on two further loopback addresses."""
    elsewhere.scheduler("--scheduler-file", elsewhere.folder / "scheduler.json")
    elsewhere.worker("--no-nanny", host="127.0.0.3")
    elsewhere.worker("--no-nanny", host="127.0.0.4")
    return elsewhere.wait_for_workers(2).address


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
    return {"python": ["-S"], "PYTHONPATH": str(folder)}


@pytest.fixture
def with_versions(tmp_path):
    """Arguments of `DaskProcesses.worker` for a Python in which packages have the given versions."""

    def made(**versions: str):
        folder = tmp_path / "other versions"
        for name, version in versions.items():
            about = folder / f"{name}-{version}.dist-info"
            about.mkdir(parents=True)
            (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}

    return made
