"""Pipelines that ask a model of ours, which tells how it was asked."""

import asyncio
import os
import time
from pathlib import Path

from quark_bench import Pipeline, agent
from quark_bench.model import Reply


class Parrot:
    """Says what it was told, at half a dollar. With a folder, every call under way leaves a file there."""

    name = "parrot"

    def __init__(self, folder=None, took_s=0.0):
        self.folder = folder
        self.took_s = took_s

    async def reply(self, messages, call):
        text = messages[-1]["content"]
        if self.folder:
            mark = Path(self.folder) / f"{os.getpid()}-{time.monotonic_ns()}"
            mark.touch()
            here = len(list(Path(self.folder).iterdir()))
            await asyncio.sleep(self.took_s)
            mark.unlink()
            return Reply(str(here), 10, 10)
        return Reply(text[::-1], len(text), 1, 0.5, 0.01)

    def reply_blocking(self, messages, call):
        raise AssertionError("asked by async agents only")


def asking(model):
    @agent
    async def opinion(prompt, call):
        return (await call.model([{"role": "user", "content": prompt.text}])).text

    @agent
    async def answer(prompt, opinion, call):
        return (await call.model([{"role": "user", "content": f"{prompt.text} {opinion}"}])).text

    return Pipeline("asking", [opinion, answer], answer="answer", model=model)


pipeline = asking(Parrot())
