"""Summary: what tests noted, and the session's own check of its baseline, at the end of a session."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

TOLD, IDLE, UNUSED = "quark-bench", "quark-bench idle", "quark-bench unused"
"""Properties of a test's report: a line about it, why it fed nothing, and that it never used the fixture."""
EXIT_MISSING = 1
ENDED = (0, 1, 5)
"""Exit statuses of a session that ran to its end: passed, failed, nothing collected."""


class Summary:
    """Collects notes from reports, which pytest-xdist brings from its workers too."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._collected: set[str] = set()
        self._passed: set[str] = set()
        self._lines: dict[str, None] = {}
        self._idle: Counter[str] = Counter()
        self._missing: list[str] = []

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self._collected.add(item.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._collected.add(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._passed.add(report.nodeid)
        if report.when == "teardown":
            for name, line in report.user_properties:
                self._noted(report.nodeid, name, line)

    def _noted(self, nodeid: str, name: str, line: object) -> None:
        if name == TOLD:
            self._lines[f"{nodeid}: {line}"] = None
        elif name == UNUSED and nodeid in self._passed:
            self._lines[f"{nodeid}: asked for quark but never used it: nothing measured"] = None
        elif name == IDLE:
            self._idle[str(line)] += 1

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail a session whose benchmarks have become fewer than those of the baseline."""
        benchmarks = getattr(self._config, "_benchmarksession", None)
        if benchmarks is None or benchmarks.disabled or exitstatus not in ENDED or self._chosen_by_name():
            return
        for path, baseline in (benchmarks.compared_mapping or {}).items():
            for name in self._missing_from(baseline, benchmarks):
                self._missing.append(f"{name}: in the baseline {path.name}, but not measured now")
        if self._missing:
            session.exitstatus = EXIT_MISSING

    def _chosen_by_name(self) -> bool:
        """Whether files were collected in part only, so that what is not there may well exist."""
        return any("::" in each for each in self._config.args) or bool(self._config.getoption("lf", False))

    def _missing_from(self, baseline: Any, benchmarks: Any) -> list[str]:
        from quark_bench.pytest_plugin.baseline import covers, missing

        config = self._config
        given = [config.invocation_params.dir / each for each in config.args]
        fed = {each.fullname for each in benchmarks.benchmarks if each}
        covered = covers(config.rootpath, given, self._collected)
        return missing(baseline, fed, self._passed, covered, self._collected)

    @pytest.hookimpl(tryfirst=True)  # pytest-benchmark's own raises where a limit of its was passed
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        idle = [
            f"{count} test{'s' if count > 1 else ''} fed pytest-benchmark no statistics: {why}"
            for why, count in self._idle.items()
        ]
        if not (self._lines or idle or self._missing):
            return
        terminalreporter.section("quark-bench")
        for line in (*self._lines, *idle):
            terminalreporter.write_line(line)
        for line in self._missing:
            terminalreporter.write_line(line, red=True)
        if self._missing:
            terminalreporter.write_line("If they were renamed or deleted on purpose: save a baseline without them.")
