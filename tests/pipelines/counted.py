"""Agents that leave a line for every call, so that a test can tell which calls were made twice."""

import asyncio
import os
from pathlib import Path

from quark_bench import Pipeline, agent

LOG = Path(os.environ.get("QUARK_BENCH_TEST_LOG", os.devnull))


@agent
async def first(prompt, call):
    if call.repeat >= 0:  # warm-ups are made again by every session
        with LOG.open("a") as log:
            log.write(f"{prompt.id}\n")
    await asyncio.sleep(0.02)
    return prompt.text


@agent
async def second(first):
    return first.upper()


pipeline = Pipeline("counted", [first, second])


@agent
async def long_first(prompt, call):
    if call.repeat >= 0:
        with LOG.open("a") as log:
            log.write(f"{prompt.id}\n")
    await asyncio.sleep(0.3)
    return prompt.text


steady = Pipeline("steady", [long_first])
