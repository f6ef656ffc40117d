"""The graphs of work.py as pipelines."""

import asyncio
from inspect import Parameter, Signature

import work

from quark_bench import Breaker, Pipeline, agent

BURN_ROUNDS = 1_000_000
"""Of an empty loop: about 20 ms."""


def passing(_wait_s):
    async def step(prompt, **inputs):
        return prompt.text

    return step, ["prompt"]


def keyed(_wait_s):
    async def step(prompt, call, **inputs):
        assert call.idempotency_key
        return prompt.text

    return step, ["prompt", "call"]


def waiting(wait_s):
    async def step(prompt, **inputs):
        await asyncio.sleep(wait_s * work.slowness(prompt.text))
        return prompt.text

    return step, ["prompt"]


def burning(_wait_s):
    def step(prompt, **inputs):
        for _ in range(BURN_ROUNDS):
            pass
        return prompt.text

    return step, ["prompt"]


def pipeline(name, graph, kind, answer=work.ANSWER, **policy):
    """All agents of one kind, under one policy."""

    def made(step_name):
        step, given = kind(graph.waits_s[step_name])
        names = [*given, *graph.needs[step_name]]
        step.__signature__ = Signature([Parameter(each, Parameter.POSITIONAL_OR_KEYWORD) for each in names])
        return agent(name=step_name, **policy)(step)

    return Pipeline(name, [made(step_name) for step_name in graph.needs], answer=answer)


null = pipeline("null", work.NULL, passing)
guarded = pipeline("guarded", work.NULL, keyed, timeout_s=30, retries=2, backoff_s=0.05, breaker=Breaker())
waits = pipeline("waits", work.WAITS, waiting)
burns = pipeline("burns", work.NULL, burning, cpu=True)
slow_first, slow_last, slow_between = (
    pipeline(name, graph, waiting, answer="join") for name, graph in work.BESIDE.items()
)


@agent
async def question(prompt, call):
    return (await call.model([{"role": "user", "content": prompt.text}])).text


asking = Pipeline("asking", [question])
"""One question to the model of the run."""
