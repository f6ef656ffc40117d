"""The pipeline that the gate's soak judges: 20/30/50 -> 100 -> 60 -> 5/10 ms, and what becomes of it."""

import asyncio

from quark_bench import Pipeline, agent


def assistant(*, reasoning_s=0.1, memory_s=0.03, wrong=0):
    """The first `wrong` prompts get a wrong answer."""

    @agent
    async def nlu(prompt):
        await asyncio.sleep(0.02)

    @agent
    async def memory(prompt):
        await asyncio.sleep(memory_s)

    @agent
    async def retrieval(prompt):
        await asyncio.sleep(0.05)

    @agent
    async def reasoning(prompt, nlu, memory, retrieval):
        await asyncio.sleep(reasoning_s)
        return "no idea" if int(prompt.id.removeprefix("p-")) < wrong else prompt.text

    @agent
    async def planning(reasoning):
        await asyncio.sleep(0.06)

    @agent
    async def metrics(planning):
        await asyncio.sleep(0.005)

    @agent
    async def self_improvement(planning):
        await asyncio.sleep(0.01)

    agents = [nlu, memory, retrieval, reasoning, planning, metrics, self_improvement]
    return Pipeline("assistant", agents, answer="reasoning")


base = assistant()
reasoning_122 = assistant(reasoning_s=0.122)
reasoning_144 = assistant(reasoning_s=0.144)
reasoning_110 = assistant(reasoning_s=0.110)
memory_45 = assistant(memory_s=0.045)
ten_wrong = assistant(wrong=10)
five_wrong = assistant(wrong=5)
reasoning_50 = assistant(reasoning_s=0.050)
memory_90 = assistant(memory_s=0.090)
