"""Agents that fail and what stands in for them."""

import asyncio
import inspect

from quark_bench import Breaker, Pipeline, agent
from quark_bench.execute.threads import EngineFaultError, Threads


async def failing(prompt, call):
    await asyncio.sleep(0.005)
    raise ConnectionError("provider down")


def reading(fragile):
    return {"answer": fragile}


def around(*, last=reading, **options):
    return Pipeline("policies", [agent(name="fragile", **options)(failing), last], answer=last.__name__)


@agent(retries=1, backoff_s=0, fallback="at last")
def second(prompt, call):
    if call.attempt < 3:
        raise ValueError("not yet")
    return f"second {prompt.text}"


by_value = around(fallback=None)
by_function = around(fallback=lambda prompt: f"told {prompt.text}")
by_agent = around(fallback=second)
broken_too = around(fallback=agent(name="also")(failing))

FAILURES, RESET_S = 3, 30.0
guarded = around(breaker=Breaker(FAILURES, RESET_S, "openai"), fallback="sorry")


async def paced(prompt):
    await asyncio.sleep(0.02)
    return prompt.text


@agent(breaker=Breaker(1, 0.2))
async def recovering(paced):
    if paced == "down":
        raise ConnectionError("provider down")
    return paced


recovers = Pipeline("recovers", [paced, recovering])


@agent(optional=True)
async def upstream(prompt):
    if prompt.text == "down":
        raise ValueError("down")
    return {"facts": {"b", "a", "c"}, "of": prompt.text}


async def keyed(call, upstream=None):
    return call.idempotency_key


keys = Pipeline("keys", [upstream, keyed])


def starve():
    """From now on this process has no thread for the agents below, as where no thread can start, but for all others."""
    original = Threads._start
    if original.__name__ == "refusing":
        return

    def refusing(self, job):
        if getattr(inspect.getclosurevars(job).nonlocals["function"], "is_starved", False):
            raise EngineFaultError("no thread could be started for a call (can't start new thread)")
        original(self, job)

    Threads._start = refusing


@agent(setup=starve)
def one(prompt):
    return prompt.text


@agent(setup=starve)
def two(prompt):
    return prompt.text


one.function.is_starved = two.function.is_starved = True


async def fed(one, two):
    return f"{one}, {two}"


threadless = Pipeline("threadless", [one, two, fed])
