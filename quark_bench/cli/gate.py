"""`quark-bench gate`: from arguments to values, through `gate`, to a verdict that a person and a CI job can read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quark_bench.cli.run import EXIT_ALL_FAILED, tell, watched
from quark_bench.dataset import Dataset
from quark_bench.errors import ExecutionError, UsageError
from quark_bench.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Files:
    """Where a verdict is written beside the terminal; None for nowhere."""

    junit: Path | None
    markdown: Path | None

    def check(self) -> None:
        """Raise UsageError, before anything is measured, for a file whose folder is not there."""
        for option, file in (("--junit", self.junit), ("--markdown", self.markdown)):
            if file is not None and not file.absolute().parent.is_dir():
                raise UsageError(f"{option} {file}: there is no folder {file.parent}; make it, or choose another file")


def baseline_named(against: str | None, *, null: bool) -> str | None:
    """What was asked for as the baseline; None for the candidate itself. Raises UsageError for both or neither."""
    if null and against is not None:
        raise UsageError("--null measures the candidate against itself; leave out --against")
    if not null and against is None:
        raise UsageError(
            "name the baseline, as in --against main or --against old.py:pipeline; or measure this machine's noise "
            "with --null"
        )
    return against


def carry_out(
    dataset: Dataset, pipeline: Pipeline | str, options: Mapping[str, Any], files: Files, *, as_json: bool
) -> int:
    """Measure, tell, write, and give the exit code."""
    files.check()
    from quark_bench.gate import gate
    from quark_bench.report.gate_table import gate_table

    def work(watcher: Any) -> Any:
        found = gate(dataset, pipeline, **options, watcher=watcher)
        watcher.stage("writing the report")
        return found, found.run.report()

    made = watched(work)
    if isinstance(made, int):
        return made
    found, report = made
    data = {"run_id": found.run.path.name, "path": str(found.run.path), **found.result.as_data()}
    answered = tell(found.run, report, gate_table(found.result), data if as_json else None)
    _write(found.result, files)
    if not as_json:
        _annotate(found.result)
    return int(found.result.exit_code) if answered else EXIT_ALL_FAILED


def _write(result: Any, files: Files) -> None:
    """JUnit and Markdown where they were asked for, and the summary of a GitHub job."""
    from quark_bench.report.gate_markdown import gate_markdown
    from quark_bench.report.junit import junit_xml

    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    try:
        if files.junit is not None:
            files.junit.write_text(junit_xml(result), "utf-8")
        if files.markdown is not None:
            files.markdown.write_text(gate_markdown(result), "utf-8")
        if summary:
            with Path(summary).open("a", encoding="utf-8") as page:
                page.write(gate_markdown(result))
    except OSError as error:
        raise ExecutionError(
            f"{error.filename} cannot be written: {error.strerror}; choose another with --junit or --markdown"
        ) from error


def _annotate(result: Any) -> None:
    """What GitHub shows beside a pull request; it reads them from a job's output."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from quark_bench.report.gate_markdown import annotations

        for line in annotations(result):
            print(line)
