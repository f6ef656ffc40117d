"""Agents that wait for a known time."""

import asyncio
import functools

from quark_bench import Pipeline, agent

WAITS_S = {"a": 0.02, "b": 0.03, "c": 0.05, "join": 0.1, "then": 0.06, "left": 0.005, "right": 0.01}
WORK_S = sum(WAITS_S.values())
CRITICAL_PATH_S = WAITS_S["c"] + WAITS_S["join"] + WAITS_S["then"] + WAITS_S["right"]


def wait(name, wait_s, *needs):
    """An agent of that name that needs the agents named, waits and answers with its name."""

    async def waited(prompt, **inputs):
        await asyncio.sleep(wait_s)
        return name

    @functools.wraps(waited)
    async def wired(**inputs):
        return await waited(**inputs)

    wired.__signature__ = _signature("prompt", *needs)
    return agent(name=name)(wired)


def _signature(*names):
    from inspect import Parameter, Signature

    return Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names])


def known(name, *needs):
    return wait(name, WAITS_S[name], *needs)


layers = Pipeline(
    "layers",
    [
        known("a"),
        known("b"),
        known("c"),
        known("join", "a", "b", "c"),
        known("then", "join"),
        known("left", "then"),
        known("right", "then"),
    ],
    answer="then",
)

STEP_S = 0.1
IDEAL_S = 3 * STEP_S


def beside_a_chain(slow, first, second, third):
    """A branch as long as a chain of three, and an agent that joins both."""
    return Pipeline(
        "beside",
        [
            wait(slow, IDEAL_S),
            wait(first, STEP_S),
            wait(second, STEP_S, first),
            wait(third, STEP_S, second),
            wait("join", 0, slow, third),
        ],
    )


slow_first = beside_a_chain("a_slow", "b_first", "c_second", "d_third")
slow_last = beside_a_chain("z_slow", "a_first", "b_second", "c_third")
slow_between = beside_a_chain("m_slow", "z_first", "a_second", "y_third")

short = Pipeline("short", [wait("short", 0.02)])
long = Pipeline("long", [wait("long", 0.3)])
