"""Agents that do to their process whatever the prompt's text tells them."""

import asyncio
import contextlib
import sys
import threading
import time

from quark_bench import Pipeline, agent

LIMIT_S = 0.25
HANG_S = 3.0


class Strange(BaseException):
    """Not an Exception, so that a bare `except Exception` misses it."""


class OneWayError(Exception):
    """Pickles, and then cannot be rebuilt: its arguments are not those of its message."""

    def __init__(self, order, customer):
        super().__init__(f"order {order} of {customer}")


def fault(kind):
    """Do it, or return the value that cannot be taken."""
    if kind == "raise":
        raise ValueError("no such order")
    if kind == "exit":
        sys.exit(3)
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "strange":
        raise Strange("unheard of")
    if kind == "cancel":
        raise asyncio.CancelledError
    if kind == "close":
        raise GeneratorExit
    if kind == "lock":
        return threading.Lock()
    if kind == "generator":
        return (n for n in range(3))
    if kind == "one-way":
        return OneWayError(1, 2)
    return "fine"


def sync_faulty(prompt):
    if prompt.text == "hang":
        time.sleep(HANG_S)
    return fault(prompt.text)


async def async_faulty(prompt):
    if prompt.text == "hang":
        await asyncio.sleep(HANG_S)
    return fault(prompt.text)


def beside(prompt):
    return "beside"


def answer(faulty, beside):
    return f"{faulty}, {beside}"


def around(faulty):
    return Pipeline("faults", [agent(name="faulty", timeout_s=LIMIT_S)(faulty), beside, answer])


async def clinging(prompt):
    if prompt.text == "hang":
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(HANG_S)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(HANG_S)
    return fault(prompt.text)


sync = around(sync_faulty)

in_async = around(async_faulty)
clings = around(clinging)


def unspeakable(prompt):
    return {1, 2} if prompt.text == "set" else prompt.text


class Shouted(str):
    """A text that only this module knows."""


def odd_text(prompt):
    return Shouted("HALF \ud83d A SMILE")


odd = Pipeline("odd", [odd_text])
unstorable = Pipeline("unstorable", [unspeakable])


@agent(optional=True)
def garnish(prompt):
    raise ValueError("none left")


def dish(prompt, garnish="plain"):
    return f"{prompt.text}, {garnish}"


optional = Pipeline("optional", [garnish, dish])


@agent
def broken(prompt):
    raise ValueError("broken")


def child(broken):
    return "never"


def grandchild(child):
    return "never"


def sibling(prompt):
    time.sleep(0.05)
    return "to the end"


def taking_default(sibling, grandchild="a default"):
    return f"{sibling}, {grandchild}"


descendants = Pipeline("descendants", [broken, child, grandchild, sibling, taking_default], answer="taking_default")

BACKOFF_S = 0.1


@agent(retries=2, backoff_s=BACKOFF_S)
def flaky(prompt, call):
    time.sleep(0.01)
    if call.attempt < 3:
        raise ConnectionError(f"attempt {call.attempt}")
    return call.attempt


retried = Pipeline("retried", [flaky])
