"""Agents that do to their worker's process whatever the prompt's text tells them."""

import asyncio
import ctypes
import os
import signal
import time
from pathlib import Path

from quark_bench import Pipeline, agent

LIMIT_S = 0.3
BIG = 50_000_000


def deed(text):
    """Do it; most deeds end the process."""
    if text == "exit":
        os._exit(3)
    if text == "crash":
        ctypes.string_at(0)
    if text == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "memory":
        held = []
        while True:
            held.append(bytearray(20_000_000))
            time.sleep(0.01)
    if text.startswith("once "):
        mark = Path(text.removeprefix("once "))
        if not mark.exists():
            mark.write_text("was here")
            os._exit(3)
    if text == "big":
        return "x" * BIG
    return text.upper()


@agent
def beside(prompt):
    time.sleep(0.01)
    return "beside"


@agent
def doer(prompt):
    time.sleep(0.01)
    return deed(prompt.text)


@agent
def answer(doer, beside):
    return doer


pipeline = Pipeline("deadly", [beside, doer, answer])


@agent(timeout_s=LIMIT_S)
async def blocker(prompt):
    """Blocks the event loop itself, where no timeout can reach it."""
    await asyncio.sleep(0)
    if prompt.text == "block":
        time.sleep(600)
    return prompt.text.upper()


blocking = Pipeline("blocking", [blocker])


@agent
async def slow(prompt, call):
    await asyncio.sleep(0.2)
    return prompt.text.upper()


slowly = Pipeline("slowly", [slow])


def ready_unless_told():
    if os.environ.get("QUARK_BENCH_TEST_UNFIT"):
        raise FileNotFoundError("no index on this machine")
    return "index"


@agent(setup=ready_unless_told)
async def picky(prompt, call):
    await asyncio.sleep(0.1)
    return f"{call.ready} {os.getpid()}"


demanding = Pipeline("demanding", [picky])


@agent(timeout_s=None)
async def sluggish(prompt, call):
    """The prompts from the fortieth on take for ever."""
    await asyncio.sleep(3600 if int(prompt.text.split()[1]) >= 40 else 0.02)
    return prompt.text


hanging = Pipeline("hanging", [sluggish])


@agent(resources={"GPU": 1})
async def costly(prompt):
    return prompt.text.upper()


resourceful = Pipeline("resourceful", [costly])
