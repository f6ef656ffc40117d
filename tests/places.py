"""Trials of this process whose agents are called elsewhere."""

import asyncio
from contextlib import asynccontextmanager

from quark_bench.dataset import Prompt
from quark_bench.execute.deadlines import Deadlines
from quark_bench.execute.threads import EngineFaultError, Threads
from quark_bench.execute.trial import Bench, Case, Wired, run_trial
from quark_bench.plan import Strategy
from quark_bench.user_code import find_pipeline, pack_pipeline

from .conftest import PIPELINES

CANT_START = RuntimeError("can't start new thread")


class Starved(Threads):
    """Has threads for the first so many calls."""

    def __init__(self, threads):
        super().__init__()
        self.left = threads

    def _start(self, job):
        self.left -= 1
        if self.left < 0:
            raise EngineFaultError(f"no thread could be started for a call ({CANT_START})")
        super()._start(job)


def shipped(pipeline):
    """A Pipeline, or `FILE.py:NAME` in tests/pipelines, and how it travels."""
    if isinstance(pipeline, str):
        return find_pipeline(str(PIPELINES / pipeline))
    return pipeline, pack_pipeline(pipeline)


def new_bench(wired):
    bench = Bench("here:1", Threads(), Deadlines())
    bench.deadlines.refine(wired.shortest_limit_s)
    return bench


class Trials:
    """Trials of one pipeline, wherever its agents are called."""

    def __init__(self, pipeline, strategy=Strategy.PARALLEL):
        self.wired = Wired(pipeline)
        self.bench = new_bench(self.wired)
        self.strategy = strategy

    async def __call__(self, text="hello", prompt_id="p-1"):
        """Record and spans of one."""
        case = Case.of(Prompt(prompt_id, text), "arm", 0, 0, "run")
        return (await asyncio.wait_for(run_trial(self.wired, case, self.strategy, self.bench), 60))[:2]

    async def all(self, texts):
        """Records and spans of many, side by side."""
        return await asyncio.gather(*(self(text, f"p-{n}") for n, text in enumerate(texts)))


@asynccontextmanager
async def moved_to(place, pipeline, only=lambda agent: True):
    """The pipeline with its agents, or only some, called at a place, which is closed at the end."""
    try:
        yield pipeline.with_agents(lambda agent: place.moved(agent) if only(agent) else agent)
    finally:
        await place.close()
