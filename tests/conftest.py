"""What many tests share: every way to execute, and a run that is made quickly."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from distributed import LocalCluster

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
