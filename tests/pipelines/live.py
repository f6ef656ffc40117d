"""Agents for a person at a terminal: quick, slow or wrong as the prompt says, and one that goes on after the answer."""

import asyncio

from quark_bench import Pipeline, agent

EARLY_S = 0.2
AFTER_S = 0.3


@agent
async def early(prompt):
    await asyncio.sleep(EARLY_S)
    return {"category": "short" if prompt.text.startswith("short") else "long"}


@agent
async def beside(prompt):
    await asyncio.sleep(EARLY_S / 2)
    return "beside"


@agent
async def reply(prompt, early):
    if prompt.text.startswith("wait "):
        await asyncio.sleep(float(prompt.text.removeprefix("wait ")))
    if prompt.text.startswith("fail"):
        raise ValueError("no such order")
    return f"You said: {prompt.text}"


@agent(optional=True)
async def after(reply):
    await asyncio.sleep(AFTER_S)
    return "after"


pipeline = Pipeline("paced", [early, beside, reply, after], answer="reply")
