"""Log file: what the live orchestrator logs, as lines of JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from quark_bench.errors import UsageError, describe
from quark_bench.live_trial import LOG
from quark_bench.redact import redact

FIELDS = ("prompt_id", "trial_id", "agent", "status", "took_s", "error")
"""Of a line, where they apply, beside time, level and text."""


class JsonLine(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "text": redact(record.getMessage()),
        }
        about = {name: getattr(record, name, None) for name in FIELDS}
        return json.dumps(line | {name: value for name, value in about.items() if value is not None})


class LogFile(logging.FileHandler):
    """A file that is added to. One that can be written no longer is told of once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self.setFormatter(JsonLine())
        self._told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        if not self._told:
            self._told = True
            error = sys.exc_info()[1]
            told = "" if error is None else f": {describe(error)}"
            print(f"meta-async: --log {self.baseFilename} cannot be written{told}", file=sys.stderr)


@contextmanager
def logging_to(path: Path | None) -> Iterator[None]:
    """Inside, the log goes to the file, if there is one. Raises UsageError where it cannot be written."""
    if path is None:
        yield
        return
    try:
        file = LogFile(path)
    except OSError as error:
        raise UsageError(f"--log {path}: cannot be written: {error.strerror}; name another file") from error
    LOG.addHandler(file)
    LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOG.setLevel(logging.NOTSET)
        LOG.removeHandler(file)
        file.close()
