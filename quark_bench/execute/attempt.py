"""One attempt of an agent's call: everything an agent may do is contained here, and told as a value or a failure."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from quark_bench.agent import Agent, canonical
from quark_bench.dataset import Prompt
from quark_bench.errors import ExecutionError, describe
from quark_bench.execute.breakers import Guard
from quark_bench.execute.deadlines import Branch
from quark_bench.execute.decide import Failure
from quark_bench.execute.threads import EngineFaultError, Threads
from quark_bench.execute.values import PLAIN, answer_text, check_travels

LONGEST_OF_SEVERAL = 300
"""Characters kept of each error where an agent and its fallback have failed."""


@dataclass(frozen=True, slots=True)
class Callee:
    """An agent made ready in this process: its set-up done, and everything that a call of it needs resolved."""

    agent: Agent
    ready: Any
    limit_s: float | None
    is_answer: bool
    guard: Guard | None
    fallback: Callee | None


def make_callee(agent: Agent, is_answer: bool) -> Callee:
    """The agent with its set-up done, and its fallbacks with theirs. Raises ExecutionError, naming the agent."""
    limit_s, breaker = agent.policy.timeout_s, agent.policy.breaker
    guard = None if breaker is None else Guard(agent.breaker_name, breaker, limit_s or breaker.reset_s)
    fallback = None if agent.fallback is None else make_callee(agent.fallback, is_answer)
    return Callee(agent, _set_up(agent), limit_s, is_answer, guard, fallback)


def _set_up(agent: Agent) -> Any:
    try:
        return agent.setup() if agent.setup else None
    except (Exception, SystemExit) as error:
        raise ExecutionError(f"the set-up of agent {agent.name!r} failed: {describe(error)}") from error


class FailedElsewhereError(Exception):
    """A call that was made in another process has failed there. The message is the error as a span tells it."""


class Failed(NamedTuple):
    """How an attempt failed, and the error that its span tells."""

    kind: Failure
    error: str


Attempted = tuple[Any, str | None, Failed | None]
"""What an attempt gave: value, answer text (of the answer agent), failure."""


async def attempt(
    callee: Callee, arguments: dict[str, Any], branch: Branch, start_s: float, threads: Threads | None
) -> Attempted:
    """One attempt. Contains whatever an agent does."""
    limit_s = callee.limit_s
    branch.begin(callee.agent.name, math.inf if limit_s is None else start_s + limit_s)
    value, answer, error = None, None, None
    try:
        agent = callee.agent
        value = await (agent.function(**arguments) if agent.is_async else _call_sync(agent, arguments, threads))
        if type(value) not in PLAIN:
            check_travels(value)
        if callee.is_answer:
            answer = answer_text(value)
    except EngineFaultError as fault:
        return None, None, Failed(Failure.ENGINE, str(fault))
    except FailedElsewhereError as told:
        error = str(told)
    except GeneratorExit as raised:
        if not _runs(branch.task):
            raise  # nobody waits for this trial any more: its coroutine is being thrown away
        error = describe(raised)
    except asyncio.CancelledError:
        if not branch.expired and branch.task.cancelling():
            raise
        error = "CancelledError: the agent cancelled itself"
    except BaseException as raised:  # noqa: BLE001 - sys.exit() in an agent must cost its record only
        error = describe(raised)
    finally:
        branch.deadline_s = math.inf
    if branch.expired:
        for _ in range(branch.expired):
            branch.task.uncancel()
        branch.expired = 0
        return None, None, Failed(Failure.TIMEOUT, f"TimeoutError: no result within {limit_s} s")
    return (value, answer, None) if error is None else (None, None, Failed(Failure.ERROR, error))


async def _call_sync(agent: Agent, arguments: dict[str, Any], threads: Threads | None) -> Any:
    value = agent.function(**arguments) if threads is None else await threads.call(agent.function, arguments)
    return await value if inspect.isawaitable(value) else value


def _runs(task: asyncio.Task[None]) -> bool:
    """Whether this is called from within the task."""
    try:
        return asyncio.current_task() is task
    except RuntimeError:
        return False


def handed_on(arguments: dict[str, Any], fallback: Agent, prompt: Prompt) -> dict[str, Any]:
    """What the fallback takes, of what the agent that failed was given."""
    given = {canonical(name): value for name, value in arguments.items()}
    taken = {wanted.parameter: given[canonical(wanted.parameter)] for wanted in fallback.inputs}
    return taken | ({"prompt": prompt} if fallback.takes_prompt else {})


def joined_errors(errors: Sequence[str]) -> str:
    """The error of an agent, and in short those of the fallbacks that failed after it."""
    if len(errors) == 1:
        return errors[0]
    return "; its fallback failed too: ".join(error[:LONGEST_OF_SEVERAL] for error in errors)
