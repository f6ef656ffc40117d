"""The same seven agents without quark-bench, as a person would write them for this one graph.

Nothing is recorded here: no span, no timeout, no contained failure. What is left is the price of the graph.
"""

import asyncio
import gc
import itertools
import time

from dask import delayed
from distributed import as_completed

# -- plain asyncio, one process


async def agent(text, *inputs):
    return text


async def answer(text, admission):
    """One prompt through its four layers; its answer."""
    async with admission:
        known = await asyncio.gather(agent(text), agent(text), agent(text))
        reasoned = await agent(text, *known)
        planned = await agent(text, reasoned)
        await asyncio.gather(agent(text, planned), agent(text, planned))
        return reasoned


async def answer_all(texts, in_flight):
    admission = asyncio.Semaphore(in_flight)
    return await asyncio.gather(*(answer(text, admission) for text in texts))


def asyncio_rate(texts, in_flight):
    """Prompts a second of plain asyncio.

    What the tests have imported is kept from the collector: one walk through it would halve this rate, and
    a program that is nothing but this loop would not pay for it.
    """
    gc.collect()
    gc.freeze()
    try:
        start_s = time.perf_counter()
        answers = asyncio.run(answer_all(texts, in_flight))
        took_s = time.perf_counter() - start_s
    finally:
        gc.unfreeze()
    assert answers == texts
    return len(texts) / took_s


# -- dask.delayed, a task an agent


def step(text, *inputs):
    return text


node = delayed(step, pure=False)


def graph(text):
    """One prompt's seven nodes; the two at the end."""
    known = [node(text) for _ in range(3)]
    planned = node(text, node(text, *known))
    return [node(text, planned), node(text, planned)]


def delayed_rate(client, texts, in_flight):
    """Prompts a second with a window of `in_flight` graphs, refilled as they end."""
    start_s = time.perf_counter()
    waiting = iter(texts)
    owners, open_ends, answers = {}, {}, []
    done = as_completed(with_results=True, loop=client.loop)

    def admit(text):
        futures = client.compute(graph(text))
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
    took_s = time.perf_counter() - start_s
    assert sorted(answers) == sorted(texts)
    return len(texts) / took_s
