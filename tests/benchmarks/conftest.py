"""Where benchmarks run, how two ways of doing the same are measured side by side, and the table of it all."""

import importlib.metadata
import os
import sys
from pathlib import Path

import pytest

from quark_bench import Dataset, bench
from quark_bench.execute.cluster import open_cluster
from quark_bench.execute.cluster_spec import read_spec

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))  # worker processes inherit it: handwritten.py travels by reference, the cheapest way

from bars import Row, text_table  # noqa: E402 - found by the line above

ROUNDS = 3
ROWS = pytest.StashKey[list]()
MATTERS = ("dask", "langgraph", "apache-hamilton")
"""Whose versions stand beside the figures."""


@pytest.fixture(scope="module")
def client():
    """Of two worker processes like those that `--on local` starts, with a thread for each of 128 calls under way."""
    with open_cluster(read_spec("local"), workers=2, threads=64) as connection:
        yield connection.client


@pytest.fixture
def run_on(tmp_path):
    """Runs texts through a pipeline of pipelines.py, somewhere; all of them must come back whole."""

    def run(on, texts, pipeline, *, arm="async", **options):
        named = f"{FOLDER / 'pipelines.py'}:{pipeline}"
        run = bench(Dataset.of(texts), named, **({"arms": [arm]} | options), on=on, out=tmp_path)
        assert (run.records["status"] == "ok").all()
        assert len(run.spans) == len(run.records) * len(run.layout)
        return run

    return run


@pytest.fixture
def run(client, run_on):
    """Runs texts on the two worker processes."""

    def run(texts, pipeline, granularity="chunk", **options):
        return run_on(client.scheduler.address, texts, pipeline, granularity=granularity, **options)

    return run


@pytest.fixture
def tell(request, benchmark):
    """Takes a row into the table and into the JSON file; whatever it says, the test goes on."""
    benchmark.extra_info["rows"] = []

    def told(row):
        request.config.stash.setdefault(ROWS, []).append(row)
        benchmark.extra_info["rows"].append(row.as_data())

    return told


@pytest.fixture
def compare(benchmark, tell):
    """Measures ours and everything beside it in turn, round by round; a row for each of those."""

    def measure(case, unit, ours, beside, rounds=ROUNDS):
        values, others = [], {name: [] for name in beside}

        def measure_others():
            for name, each in beside.items():
                others[name].append(each.measured())

        benchmark.pedantic(lambda: values.append(ours()), setup=measure_others, rounds=rounds)
        rows = [Row.of_pairs(case, unit, values, name, others[name], each.bar) for name, each in beside.items()]
        for row in rows:
            tell(row)
        unbearable = [f"{row.ratios} x {row.beside}, the bar is {row.bar}" for row in rows if not row.bearable]
        assert not unbearable

    return measure


def pytest_benchmark_update_machine_info(config, machine_info):
    """What the README tells of the machine."""
    machine_info["cores"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine_info["versions"] = {name: version for name in MATTERS if (version := installed_version(name))}


def installed_version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def pytest_terminal_summary(terminalreporter, config):
    if rows := config.stash.get(ROWS, []):
        terminalreporter.section("beside the same work by hand and by others")
        terminalreporter.write_line(text_table(rows))
        if absent := [name for name in MATTERS if not installed_version(name)]:
            terminalreporter.write_line(f"\nnot installed and left out: {', '.join(absent)}; `make peers` adds them")
