"""The pipelines that the benchmarks run: seven agents in four layers that do nothing, or wait for a known time.

nlu -------+                            +-> metrics
memory ----+-> reasoning -> planning ---+
retrieval -+                            +-> self_improvement
"""

import asyncio
import functools

from quark_bench import Pipeline, agent

WAITS_S = {
    "nlu": 0.020,
    "memory": 0.030,
    "retrieval": 0.050,
    "reasoning": 0.100,
    "planning": 0.060,
    "metrics": 0.005,
    "self_improvement": 0.010,
}
CRITICAL_PATH_S = sum(WAITS_S[name] for name in ("retrieval", "reasoning", "planning", "self_improvement"))


async def nlu(prompt):
    return prompt.text


async def memory(prompt):
    return prompt.text


async def retrieval(prompt):
    return prompt.text


async def reasoning(nlu, memory, retrieval):
    return retrieval


async def planning(reasoning):
    return reasoning


async def metrics(planning):
    return planning


async def self_improvement(planning):
    return planning


def waiting(step):
    """The step after its wait."""

    @functools.wraps(step)
    async def waited(**inputs):
        await asyncio.sleep(WAITS_S[step.__name__])
        return await step(**inputs)

    return waited


STEPS = (nlu, memory, retrieval, reasoning, planning, metrics, self_improvement)

null = Pipeline("null", [agent(step) for step in STEPS], answer="reasoning")
waits = Pipeline("waits", [agent(waiting(step)) for step in STEPS], answer="reasoning")
