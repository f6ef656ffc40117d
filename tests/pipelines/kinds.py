"""One agent of every kind that can be called, joined by one that reads them all."""

import asyncio
from functools import partial

from quark_bench import Pipeline, agent


def plain(prompt):
    return f"plain {prompt.text}"


async def awaited(prompt):
    await asyncio.sleep(0)
    return f"awaited {prompt.text}"


class Caller:
    def __init__(self, word):
        self.word = word

    def __call__(self, prompt):
        return f"{self.word} {prompt.text}"


class AsyncCaller(Caller):
    async def __call__(self, prompt):
        await asyncio.sleep(0)
        return f"{self.word} {prompt.text}"


def worded(prompt, *, word):
    return f"{word} {prompt.text}"


async def worded_later(prompt, *, word):
    await asyncio.sleep(0)
    return f"{word} {prompt.text}"


def promising(prompt):
    return awaited(prompt)


KINDS = {
    "function": plain,
    "coroutine_function": awaited,
    "caller": Caller("calls"),
    "async_caller": AsyncCaller("calls later"),
    "partial_function": partial(worded, word="partly"),
    "partial_coroutine": partial(worded_later, word="partly later"),
    "partial_caller": partial(Caller("called partly")),
    "partial_async_caller": partial(AsyncCaller("called partly later")),
    "promise": promising,
}

SAID = ["plain", "awaited", "calls", "calls later", "partly", "partly later"]
SAID += ["called partly", "called partly later", "awaited"]


def joined(  # noqa: PLR0917 - a parameter names an agent
    function,
    coroutine_function,
    caller,
    async_caller,
    partial_function,
    partial_coroutine,
    partial_caller,
    partial_async_caller,
    promise,
):
    first = [function, coroutine_function, caller, async_caller, partial_function, partial_coroutine]
    return [*first, partial_caller, partial_async_caller, promise]


pipeline = Pipeline("kinds", [*(agent(name=name)(kind) for name, kind in KINDS.items()), joined])
