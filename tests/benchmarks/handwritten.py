"""The same agents without quark-bench, as a person would write them by hand.

Every function here and in peers.py takes the texts and the prompts in flight, and returns the seconds it took.
"""

import asyncio
import gc
import itertools
import json
import os
import time

from dask import delayed
from distributed import as_completed
from work import ANSWER, ASSISTANT


def took_s(coroutine, texts):
    """Seconds until the coroutine has answered all texts, on an event loop of its own.

    What the tests have imported is kept from the collector: one walk through it would halve the rate, and
    a program that is nothing but this loop would not pay for it.
    """
    gc.collect()
    gc.freeze()
    try:
        start_s = time.perf_counter()
        answers = asyncio.run(coroutine)
        end_s = time.perf_counter()
    finally:
        gc.unfreeze()
    assert answers == texts
    return end_s - start_s


async def answer_all(answer, texts, in_flight):
    """The answers to all texts, so many at a time."""
    admission = asyncio.Semaphore(in_flight)

    async def admitted(text):
        async with admission:
            return await answer(text)

    return await asyncio.gather(*map(admitted, texts))


# -- plain asyncio, one process: nothing is recorded, timed out or contained; what is left is the price of the graph


async def agent(text, *inputs):
    return text


async def answer_plainly(text):
    known = await asyncio.gather(agent(text), agent(text), agent(text))
    reasoned = await agent(text, *known)
    planned = await agent(text, reasoned)
    await asyncio.gather(agent(text, planned), agent(text, planned))
    return reasoned


def asyncio_s(texts, in_flight):
    return took_s(answer_all(answer_plainly, texts, in_flight), texts)


# -- asyncio with all that a careful person puts around an agent, for any graph


class Guarded:
    """An agent that limits its calls under way, times each attempt out, tries three times with growing waits, refuses
    after five failures in a row, and writes a line for every call."""

    def __init__(self, name, trace):
        self.name = name
        self.trace = trace
        self.room = asyncio.Semaphore(64)
        self.failures = 0

    async def __call__(self, text, inputs):
        asked_s = time.perf_counter()
        for attempt in (1, 2, 3):
            if self.failures >= 5:
                raise ConnectionRefusedError(f"{self.name} is down")
            try:
                async with self.room:
                    begun_s = time.perf_counter()
                    async with asyncio.timeout(30):
                        answer = await agent(text, *inputs)
            except Exception:
                self.failures += 1
                if attempt == 3:
                    raise
                await asyncio.sleep(0.05 * 2**attempt)
            else:
                self.failures = 0
                break
        times = {"queue_s": begun_s - asked_s, "took_s": time.perf_counter() - begun_s}
        self.trace.write(json.dumps({"agent": self.name, "prompt": text, "attempt": attempt, **times}) + "\n")
        return answer


async def answer_all_guarded(texts, in_flight, trace):
    agents = {name: Guarded(name, trace) for name in ASSISTANT}

    async def answer(text):
        calls = {}

        async def call(name):
            return await agents[name](text, [await calls[need] for need in ASSISTANT[name]])

        async with asyncio.TaskGroup() as group:
            for name in ASSISTANT:
                calls[name] = group.create_task(call(name))
        return calls[ANSWER].result()

    return await answer_all(answer, texts, in_flight)


def guarded_s(texts, in_flight):
    with open(os.devnull, "w") as trace:
        return took_s(answer_all_guarded(texts, in_flight, trace), texts)


# -- dask.delayed, a task an agent


def step(wait_s, text, *inputs):
    if wait_s:
        time.sleep(wait_s)
    return text


node = delayed(step, pure=False)


def prompt_graph(graph, text):
    """The nodes at the end of one prompt's graph."""
    nodes = {}
    for name, needs in graph.needs.items():
        nodes[name] = node(graph.waits_s[name], text, *(nodes[need] for need in needs))
    return [nodes[name] for name in graph.ends]


def delayed_s(client, graph, texts, in_flight):
    """A window of `in_flight` prompts, refilled as they end."""
    start_s = time.perf_counter()
    waiting = iter(texts)
    owners, open_ends, answers = {}, {}, []
    done = as_completed(with_results=True, loop=client.loop)

    def admit(text):
        futures = client.compute(prompt_graph(graph, text))
        owners.update(dict.fromkeys(futures, text))
        open_ends[text] = len(futures)
        done.update(futures)

    for text in itertools.islice(waiting, in_flight):
        admit(text)
    for future, result in done:
        text = owners.pop(future)
        open_ends[text] -= 1
        if open_ends[text] == 0:
            answers.append(result)
            if (following := next(waiting, None)) is not None:
                admit(following)
    end_s = time.perf_counter()
    assert sorted(answers) == sorted(texts)
    return end_s - start_s
