"""Pytest plugin: the fixture `quark`, the mark `quark`, and what is told of them at the end of a session.

Everybody who has quark-bench loads this with every run of pytest: whatever is heavy is imported by the test that first
needs it, and nothing here asks for pytest-benchmark, which may be missing.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from quark_bench.pytest_plugin.feeding import add_percentiles, prepare_replay
from quark_bench.pytest_plugin.summary import TOLD, Summary

if TYPE_CHECKING:
    from quark_bench.pytest_plugin.fixture import Quark

MARK = (
    "quark(slo=[...], against=REVISION|PIPELINE|RUN, repeats=N, on=PLACE, inconclusive='skip'|'fail'|'pass'): "
    "what the fixture `quark` holds its run to: objectives, a baseline, or both."
)
ASYNC_MARKS = ("asyncio", "anyio", "trio")
"""Of plugins that run coroutine tests themselves."""
BENCHMARK_PLUGINS = ("benchmark", "codspeed")
"""Plugins with a fixture `benchmark`, which choose tests by it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where runs are kept."""
    group = parser.getgroup("quark-bench")
    group.addoption("--quark-out", metavar="DIR", help="keep the runs of the fixture `quark` in this folder")


def pytest_configure(config: pytest.Config) -> None:
    """The mark, and what is told at the end."""
    config.addinivalue_line("markers", MARK)
    config.pluginmanager.register(Summary(config), "quark-bench-summary")


@pytest.fixture
def quark(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quark]:
    """`quark(pipeline, prompts)`: a run, whose latencies become statistics of pytest-benchmark."""
    from quark_bench.pytest_plugin.fixture import Quark

    kept: str | None = request.config.getoption("--quark-out")
    folder = request.config.invocation_params.dir / kept if kept else tmp_path_factory.mktemp("quark-bench")
    fixture = Quark(request, folder)
    yield fixture
    fixture.close()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Make a test with `quark` one with `benchmark`, by which pytest-benchmark knows what to skip and what to keep."""
    names: list[str] = getattr(item, "fixturenames", [])
    if "quark" not in names:
        if any(mark.name == "quark" for mark in item.own_markers):
            item.user_properties.append((TOLD, "is marked quark but does not use the fixture: nothing judged"))
        return
    if "benchmark" not in names and any(map(item.config.pluginmanager.hasplugin, BENCHMARK_PLUGINS)):
        names.append("benchmark")
    prepare_replay(item)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Raise UsageError before any test has run where they would all run only to find no baseline."""
    session = getattr(config, "_benchmarksession", None)
    if not session or not session.compare_fail or session.compared_mapping or session.disabled:
        return
    if any("quark" in getattr(item, "fixturenames", ()) for item in items):
        raise pytest.UsageError(
            f"--benchmark-compare-fail: no baseline in {session.storage}; save one with --benchmark-save=NAME and "
            "compare with it by --benchmark-compare"
        )


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test that uses `quark`, where it is no other plugin's."""
    theirs = any(pyfuncitem.get_closest_marker(name) for name in ASYNC_MARKS)
    if theirs or "quark" not in pyfuncitem.fixturenames or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    import asyncio

    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}))
    return True


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    """Percentiles beside the statistics that pytest-benchmark keeps."""
    add_percentiles(output_json["benchmarks"])


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_benchmark_compare_machine_info(
    benchmarksession: Any, machine_info: dict[str, Any], compared_benchmark: dict[str, Any]
) -> Generator[None, object, object]:
    """Keep pytest-benchmark from taking a clock's reading for another machine, and from breaking down over one."""
    from quark_bench.pytest_plugin.baseline import differences, has_location, same_clock

    same_clock(machine_info, compared_benchmark["machine_info"])
    try:
        return (yield)
    except ValueError:
        if has_location(benchmarksession.storage):
            raise
        told = "; ".join(differences(machine_info, compared_benchmark["machine_info"]))
        benchmarksession.logger.warning(f"Benchmark machine_info is different: {told}")
        return []
