"""Pipelines of any shape, of agents that say what they were given."""

import asyncio
from inspect import Parameter, Signature

from hypothesis import strategies as st

from quark_bench.agent import agent
from quark_bench.pipeline import Pipeline
from quark_bench.routing import Router


async def hand_over(turns):
    """Let others go on so many times."""
    for _ in range(turns):
        await asyncio.sleep(0)


def named(name, *needs, after=None, category=None, fails=False, **optional):
    """An agent that answers with its name and what it was given, by parameter, or fails; first it awaits `after()`.

    It cannot do without `needs`; `optional` are its inputs with a default. With a `category`, it finds that one.
    """

    async def told(**given):
        if after is not None:
            await after()
        if fails:
            raise ValueError(name)
        inputs = {need: value for need, value in given.items() if need != "prompt"}
        found = [name, *sorted(inputs.items())]
        return found if category is None else {"category": category, "told": found}

    parameters = [Parameter(need, Parameter.POSITIONAL_OR_KEYWORD) for need in ("prompt", *needs)]
    defaults = [Parameter(need, Parameter.POSITIONAL_OR_KEYWORD, default=it) for need, it in optional.items()]
    told.__signature__ = Signature(parameters + defaults)
    return agent(name=name)(told)


@st.composite
def routed_pipelines(draw):
    """A pipeline of up to eight agents, in any declared order, and routes for it.

    Any one answers, any one finds the category, some fail, and each lets the others go on a few times first.
    """
    size = draw(st.integers(1, 8))
    names = [f"agent_{number}" for number in range(size)]
    finder = draw(st.sampled_from(names))
    agents = []
    for number, name in enumerate(names):
        how = {earlier: draw(st.sampled_from(["", "", "needs", "takes", "takes"])) for earlier in names[:number]}
        turns = draw(st.integers(0, 9))
        agents.append(
            named(
                name,
                *(earlier for earlier in how if how[earlier] == "needs"),
                after=lambda turns=turns: hand_over(turns),
                category=draw(st.sampled_from(["one", "other", "unknown"])) if name == finder else None,
                fails=draw(st.integers(0, 11)) == 0,
                **{earlier: "default" for earlier in how if how[earlier] == "takes"},
            )
        )
    some = st.lists(st.sampled_from(names), max_size=4)
    router = Router(finder, {"one": draw(some), "other": draw(some)})
    return Pipeline("random", draw(st.permutations(agents)), answer=draw(st.sampled_from(names)), router=router)
