"""Every error a person can meet, and the exit code that a command turns it into.

    QuarkBenchError
    ├── UsageError            an option or an argument is wrong                    exit 2
    │   ├── DataError         a prompt file, or one row of it, is wrong            exit 2
    │   ├── PipelineError     a pipeline cannot be built or loaded                 exit 2
    │   └── RunNotFoundError  a run was named that cannot be opened                exit 2
    └── ExecutionError        a run could not start or could not finish            exit 4
        ├── ClusterError      the Dask cluster is unreachable, unfit or gone       exit 4
        ├── BudgetSpentError  what a run may spend at models is spent              exit 4
        ├── ConservationError planned != ok + degraded + failed + not run          exit 4
        └── ModelError        a model did not answer a call; in an agent it fails   exit 4
            │                 that attempt only, and its class tells why:
            ├── ModelRateLimitedError   429: too many requests                     exit 4
            ├── ModelServerError        5xx, or an error within a stream           exit 4
            ├── ModelRefusedError       another 4xx: key, name or request          exit 4
            ├── ModelTimeoutError       no answer, or no more of it, in time       exit 4
            ├── ModelConnectionError    not reached, or lost before the end        exit 4
            ├── MalformedReplyError     something that is no answer                exit 4
            └── ReplayMissingError      a recorded run has no such call            exit 4

A message states what is wrong and what to do next. An agent's own exception is not in this tree:
it becomes the error of its record and never leaves the trial.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from quark_bench.redact import redact_start


class QuarkBenchError(Exception):
    """Base of all errors that are addressed to a person."""

    exit_code: ClassVar[int] = 2


class UsageError(QuarkBenchError):
    """An option or an argument is wrong."""


class DataError(UsageError):
    """A prompt file, or one row of it, is wrong. The message begins with the file and the row."""


class PipelineError(UsageError):
    """A pipeline cannot be built or loaded. The message names the agent or the file at fault."""


class RunNotFoundError(UsageError):
    """A run was named that does not exist or cannot be read."""


class ExecutionError(QuarkBenchError):
    """A run could not start or could not finish."""

    exit_code = 4


class ClusterError(ExecutionError):
    """The Dask cluster is unreachable, unfit for the run, or was lost."""


class ConservationError(ExecutionError):
    """Trials were lost or counted twice: planned is not ok + degraded + failed + not run."""


class BudgetSpentError(ExecutionError):
    """A run has spent what it may at models, with trials left to make."""


class ModelError(ExecutionError):
    """A model did not answer a call. `retry_after_s` is how long its server asks to wait; None: it does not say.
    After a `final` one nobody asks again."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, final: bool = False) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.final = final


class ModelRateLimitedError(ModelError):
    """The server has had too many requests."""


class ModelServerError(ModelError):
    """The server failed, or told of an error in its stream."""


class ModelRefusedError(ModelError):
    """The server refuses the request as it is: a wrong key, an unknown model, too long a prompt."""


class ModelTimeoutError(ModelError):
    """No answer, or no further piece of it, came in time."""


class ModelConnectionError(ModelError):
    """The server could not be reached, or the connection was lost before the answer's end."""


class MalformedReplyError(ModelError):
    """What came is no answer: bad JSON, another content type, no choice, more than is taken."""


class ReplayMissingError(ModelError):
    """The recorded run holds no call of this agent for this prompt, or one that asked something else."""


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C while records were being written: what was finished is in `path`, and `command` continues it."""

    def __init__(self, path: Path, command: str) -> None:
        super().__init__(f"interrupted; continue with: {command}")
        self.path = path


def describe(error: BaseException, limit: int = 2_000) -> str:
    """`Type: message` of an exception without secrets, at most `limit` characters, even where its `str` raises."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - a user's __str__ may raise anything
        message = "(its message could not be made)"
    name = type(error).__name__
    return redact_start(f"{name}: {message}" if message else name, limit)
