"""The same agents in other orchestrators, by their own batch interface where they have one."""

import asyncio
import functools
import importlib.util
import os
from inspect import Parameter, Signature
from typing import TypedDict

from handwritten import answer_all, took_s


def langgraph_s(graph, texts, in_flight):
    """A StateGraph, and its own `abatch`."""
    from langgraph.graph import START, StateGraph

    def node(name):
        async def step(state):
            if wait_s := graph.waits_s[name]:
                await asyncio.sleep(wait_s)
            return {name: state["text"]}

        return step

    fields = dict.fromkeys(("text", *graph.needs), str)
    state_graph = StateGraph(TypedDict("State", fields, total=False))
    for name, needs in graph.needs.items():
        state_graph.add_node(f"call {name}", node(name))
        before = [f"call {need}" for need in needs] or [START]
        state_graph.add_edge(before if len(before) > 1 else before[0], f"call {name}")
    compiled = state_graph.compile()

    async def batch():
        ended = await compiled.abatch([{"text": text} for text in texts], config={"max_concurrency": in_flight})
        return [state[graph.ends[-1]] for state in ended]

    return took_s(batch(), texts)


def hamilton_s(graph, texts, in_flight):
    """An AsyncDriver, which has no batch: every prompt is executed by itself."""
    os.environ["HAMILTON_TELEMETRY_ENABLED"] = "false"
    from hamilton import ad_hoc_utils, async_driver, base

    def node(name):
        async def step(text, **inputs):
            if wait_s := graph.waits_s[name]:
                await asyncio.sleep(wait_s)
            return text

        names = ("text", *graph.needs[name])
        step.__name__ = name
        step.__annotations__ = dict.fromkeys((*names, "return"), str)
        given = [Parameter(each, Parameter.POSITIONAL_OR_KEYWORD, annotation=str) for each in names]
        step.__signature__ = Signature(given, return_annotation=str)
        return step

    module = ad_hoc_utils.create_temporary_module(*(node(name) for name in graph.needs))

    async def batch():
        driver = await async_driver.Builder().with_modules(module).with_adapters(base.DictResult()).build()

        async def answer(text):
            return (await driver.execute(graph.ends, inputs={"text": text}))[graph.ends[-1]]

        return await answer_all(answer, texts, in_flight)

    return took_s(batch(), texts)


def installed(graph, texts, in_flight):
    """What takes those texts through the graph, and returns the seconds, by name of each peer that is there."""
    known = {"langgraph": langgraph_s, "hamilton": hamilton_s}
    there = {name: took_s for name, took_s in known.items() if importlib.util.find_spec(name)}
    return {name: functools.partial(took_s, graph, texts, in_flight) for name, took_s in there.items()}
