"""Pipelines of any shape, of agents that say what they were given."""

import asyncio
from inspect import Parameter, Signature

from hypothesis import strategies as st

from quark_bench.agent import agent
from quark_bench.pipeline import Pipeline


def named(name, *needs, after=None, **optional):
    """An agent that answers with its name and what it was given, by parameter, `after` having been awaited.

    It cannot do without `needs`; `optional` are its inputs with a default.
    """

    async def told(**given):
        if after is not None:
            await after(name)
        inputs = {need: value for need, value in given.items() if need != "prompt"}
        return [name, *sorted(inputs.items())]

    parameters = [Parameter(need, Parameter.POSITIONAL_OR_KEYWORD) for need in ("prompt", *needs)]
    defaults = [Parameter(need, Parameter.POSITIONAL_OR_KEYWORD, default=it) for need, it in optional.items()]
    told.__signature__ = Signature(parameters + defaults)
    return agent(name=name)(told)


@st.composite
def dags(draw, after=None):
    """A pipeline of up to eight agents, in any declared order, of which any one answers."""
    size = draw(st.integers(1, 8))
    agents = []
    for number in range(size):
        needs, optional = [], {}
        for earlier in range(number):
            match draw(st.sampled_from(["none", "none", "needs", "takes"])):
                case "needs":
                    needs.append(f"agent_{earlier}")
                case "takes":
                    optional[f"agent_{earlier}"] = "default"
        agents.append(named(f"agent_{number}", *needs, after=after, **optional))
    answer = f"agent_{draw(st.integers(0, size - 1))}"
    return Pipeline("random", draw(st.permutations(agents)), answer=answer)


async def hand_over(turns):
    """Let others go on so many times."""
    for _ in range(turns):
        await asyncio.sleep(0)
