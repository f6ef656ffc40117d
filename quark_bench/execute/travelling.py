"""Travelling: an agent's call made in another process. Here, its place in the trial does not change.

What travels is bytes, there and back. The other process has loaded the same pipeline; it gets the call's arguments and
circumstances, and answers with a value or an error, and with what was spent. Timeouts, retries, breakers and fallbacks
are decided where the trial runs, which takes the agent for an async one that waits.
"""

from __future__ import annotations

import dataclasses
import functools
import pickle
import time
from collections.abc import Awaitable, Callable
from typing import Any

import cloudpickle

from quark_bench.agent import Agent, Call, Constant
from quark_bench.errors import describe
from quark_bench.execute.attempt import Callee, FailedElsewhereError, attempt
from quark_bench.execute.deadlines import Branch
from quark_bench.execute.step import Wired
from quark_bench.execute.threads import Threads
from quark_bench.model import Usage
from quark_bench.redact import redact

Carry = Callable[[bytes], Awaitable[bytes]]
"""Takes a packed call to where it is made, and gives its packed answer. What it raises fails that call."""


class LostCallError(Exception):
    """The process that a call was made in ended before it answered."""


def moved(agent: Agent, carry: Carry) -> Agent:
    """The agent with its calls, and those of its fallbacks, made where `carry` takes them.

    A fallback that is a plain value stays: it must be there also when the other place is not.
    """

    def link(each: Agent, position: int) -> Agent:
        fallback = None if each.fallback is None else link(each.fallback, position + 1)
        if isinstance(each.function, Constant):
            return dataclasses.replace(each, fallback=fallback)
        sent = _sent(each, (agent.name, position), carry)
        return dataclasses.replace(each, function=sent, takes_call=True, is_async=True, setup=None, fallback=fallback)

    return link(agent, 0)


def _sent(agent: Agent, callee: tuple[str, int], carry: Carry) -> Callable[..., Any]:
    """What is called in place of the agent's function; `callee` is the pipeline's agent and the link of its chain."""

    @functools.wraps(agent.function)  # who asks for its source or its name is given the agent's own
    async def sent(*, call: Call, **arguments: Any) -> Any:
        # What belongs to this process stays behind.
        lean = dataclasses.replace(call, ready=None, generator=None, usage=Usage(), inputs={})
        value, error, spent = pickle.loads(await carry(_packed(callee, arguments, lean)))
        call.usage.merge(spent)
        if error is not None:
            raise FailedElsewhereError(redact(error))
        return value

    return sent


async def answered(parcel: bytes, wired: Wired, branch: Branch, threads: Threads) -> bytes:
    """In the other process: make a packed call. Returns its packed answer, whatever the agent does.

    `branch` bounds it by the agent's limit, if it is watched.
    """
    spent = Usage()
    try:
        (name, position), arguments, sent = pickle.loads(parcel)
        callee = _callee(wired, name, position)
        agent = callee.agent
        call = dataclasses.replace(
            sent,
            ready=callee.ready,
            generator=wired.pipeline.model,
            blocking=not agent.is_async,
            usage=spent,
            inputs=arguments,
        )
        given = {**arguments, "call": call} if agent.takes_call else arguments
        value, _, failed = await attempt(callee, given, branch, time.perf_counter(), threads)
        return _packed(value, None if failed is None else failed.error, spent)
    except BaseException as error:  # noqa: BLE001 - a value's own methods may raise anything where it is packed
        return _packed(None, describe(error), spent)


def _packed(*parts: Any) -> bytes:
    """By value what is defined in `__main__`, which is another module there."""
    return bytes(cloudpickle.dumps(parts))


def _callee(wired: Wired, name: str, position: int) -> Callee:
    callee = next(callee for callee in wired.callees if callee.agent.name == name)
    for _ in range(position):
        assert callee.fallback is not None, "both processes have the same pipeline"
        callee = callee.fallback
    return callee
