"""One cluster for all benchmarks, and how two ways of doing the same are measured side by side."""

import statistics
import sys
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from quark_bench import Dataset, bench

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))  # worker processes inherit it: handwritten.py travels by reference, the cheapest way


@pytest.fixture(scope="session")
def cluster():
    """Two worker processes with room for every call under way; its address is what `on=` takes."""
    with LocalCluster(
        n_workers=2,
        threads_per_worker=16,
        processes=True,
        host="127.0.0.1",
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as started:
        yield started.scheduler_address


@pytest.fixture(scope="session")
def client(cluster):
    """A client for what is written by hand."""
    with Client(cluster, set_as_default=False) as connected:
        yield connected


@pytest.fixture
def async_arm(cluster, tmp_path):
    """Runs texts through a pipeline of pipelines.py in the async arm, as a user would."""

    def run(texts, pipeline, *, in_flight, granularity):
        return bench(
            Dataset.of(texts),
            f"{FOLDER / 'pipelines.py'}:{pipeline}",
            arms=["async"],
            on=cluster,
            in_flight=in_flight,
            granularity=granularity,
            out=tmp_path,
        )

    return run


@pytest.fixture
def side_by_side(benchmark):
    """Measures ours and theirs in turn; the median of the ratios, ours over theirs, a pair at a time."""

    def measure(ours, theirs, pairs):
        rates = {"ours": [], "theirs": []}
        benchmark.pedantic(
            lambda: rates["ours"].append(ours()),
            setup=lambda: rates["theirs"].append(theirs()),
            rounds=pairs,
        )
        ratios = [a / b for a, b in zip(rates["ours"], rates["theirs"], strict=True)]
        ratio = statistics.median(ratios)
        benchmark.extra_info.update(
            {f"{whose}_prompts_per_s": round(statistics.median(each)) for whose, each in rates.items()},
            ratio=round(ratio, 3),
            ratios=[round(each, 3) for each in ratios],
        )
        return ratio

    return measure
