import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.agent import agent
from quark_bench.errors import PipelineError
from quark_bench.pipeline import Pipeline
from quark_bench.policy import Breaker


def step(name, *needs):
    """An agent of that name and those inputs."""
    scope = {}
    exec(f"def made({', '.join(needs)}): ...", scope)
    return agent(name=name)(scope["made"])


def diamond():
    return [
        step("nlu", "prompt"),
        step("memory", "nlu"),
        step("retrieval", "nlu"),
        step("reasoning", "memory", "retrieval", "call"),
    ]


@st.composite
def graphs(draw):
    """Agents in an order in which each stands behind those it needs."""
    size = draw(st.integers(1, 9))
    return [
        step(f"agent_{n}", *(f"agent_{need}" for need in sorted(draw(st.sets(st.integers(0, n - 1)))) if n))
        if n
        else step("agent_0", "prompt")
        for n in range(size)
    ]


def wired(agents):
    return Pipeline("random", agents, answer=agents[0].name)


@given(graphs(), st.randoms(use_true_random=False))
def test_every_agent_stands_behind_those_it_needs_in_whatever_order_they_are_declared(agents, random) -> None:
    shuffled = list(agents)
    random.shuffle(shuffled)
    pipeline = wired(shuffled)
    assert sorted(pipeline.agents, key=lambda each: each.name) == agents
    assert all(need < each.index for each in pipeline.steps for need in each.needs)


@given(graphs())
def test_a_valid_declared_order_is_kept(agents) -> None:
    assert list(wired(agents).agents) == agents


@given(graphs(), st.randoms(use_true_random=False))
def test_what_an_agent_feeds_is_what_needs_it(agents, random) -> None:
    random.shuffle(agents)
    steps = wired(agents).steps
    assert [each.index for each in steps] == list(range(len(steps)))
    for each in steps:
        assert [steps[need].name for need in each.needs] == [needed.parameter for needed in each.agent.inputs]
        assert list(each.feeds) == [other.index for other in steps if each.index in other.needs]


@given(graphs())
def test_depths_grow_by_one_along_the_longest_chain(agents) -> None:
    pipeline = wired(agents)
    depths = pipeline.depths()
    for each in pipeline.steps:
        assert depths[each.index] == max((depths[need] + 1 for need in each.needs), default=0)
    assert pipeline.levels == max(depths) + 1
    assert 1 <= pipeline.width <= len(agents)


@given(graphs(), st.data())
def test_closing_a_chain_makes_a_cycle_that_is_found(agents, data) -> None:
    first, last = sorted(data.draw(st.tuples(*[st.integers(0, len(agents) - 1)] * 2)))
    needs = [needed.parameter for needed in agents[last].inputs]
    agents[last] = step(agents[last].name, *dict.fromkeys([*needs, agents[first].name]))
    agents[first] = step(
        agents[first].name,
        *dict.fromkeys([*(needed.parameter for needed in agents[first].inputs), agents[last].name]),
    )
    with pytest.raises(PipelineError, match=r"in a cycle: (agent_[0-9]).* -> \1$"):
        wired(agents)


def test_a_diamond_has_three_levels_and_is_two_wide() -> None:
    pipeline = Pipeline("quark", diamond())
    assert (pipeline.levels, pipeline.width, pipeline.depths()) == (3, 2, [0, 1, 1, 2])


def test_an_agent_is_moved_back_only_as_far_as_its_inputs_ask() -> None:
    agents = [step("late", "early"), step("other"), step("early"), step("last", "late", "other")]
    assert [each.name for each in Pipeline("moved", agents).agents] == ["other", "early", "late", "last"]


def test_plain_functions_are_agents_with_the_default_policy() -> None:
    def first(prompt): ...
    async def second(prompt, first): ...

    pipeline = Pipeline("plain", [first, second])
    assert [(each.name, each.is_async) for each in pipeline.agents] == [("first", False), ("second", True)]


def test_the_only_agent_that_feeds_no_other_gives_the_answer() -> None:
    assert Pipeline("quark", diamond()).answer == "reasoning"


def test_an_answer_may_be_given_by_an_agent_that_feeds_others() -> None:
    pipeline = Pipeline("quark", diamond(), answer="Memory")
    assert (pipeline.answer, pipeline.answer_index) == ("memory", 1)


def test_inputs_find_agents_without_case_and_underscores() -> None:
    pipeline = Pipeline("names", [step("SelfImprovement"), step("last", "self_improvement")])
    assert pipeline.steps[1].needs == (0,)


def test_a_pipeline_tells_its_name_agents_and_answer() -> None:
    assert repr(Pipeline("two", [step("a"), step("b", "a")])) == "Pipeline('two', ['a', 'b'], answer='b')"


@pytest.mark.parametrize(
    ("agents", "answer", "message"),
    [
        ([], None, "'broken' has no agents; give at least one"),
        ([step("a_b"), step("AB")], None, "two agents are called 'a_b' and 'AB', which are the same name"),
        ([step("Call")], None, "an agent cannot be called 'Call', which is reserved"),
        ([step("a", "a")], None, "in a cycle: a -> a$"),
        ([step("a", "b"), step("b", "a")], None, "in a cycle: a -> b -> a$"),
        ([step("start"), step("a", "c", "start"), step("b", "a"), step("c", "b")], None, "cycle: a -> b -> c -> a$"),
        ([step("behind", "a"), step("a", "b"), step("b", "a")], None, "cycle: a -> b -> a$"),
        ([step("retrieval"), step("b", "retreival")], None, "'b' needs 'retreival'.*did you mean 'retrieval'"),
        ([step("self_improvement"), step("b", "SELFIMPROVMENT")], None, "did you mean 'self_improvement'"),
        ([step("b", "promt")], None, "'b' needs 'promt'.*did you mean 'prompt'"),
        ([step("b", "zzz")], None, "'b' needs 'zzz', which is no agent of it$"),
        ([step("a"), step("b")], "c", "answer='c' is no agent of it; its agents: a, b"),
        ([step("a"), step("b")], None, "give answer=...; several agents end it: a, b"),
    ],
)
def test_a_pipeline_that_cannot_be_wired_names_the_culprit(agents, answer, message) -> None:
    with pytest.raises(PipelineError, match=message):
        Pipeline("broken", agents, answer=answer)


@pytest.mark.parametrize("name", ["prompt", "call", "Prompt", "c_a_l_l"])
def test_reserved_names_are_reserved_however_they_are_written(name) -> None:
    with pytest.raises(PipelineError, match="which is reserved"):
        Pipeline("broken", [step(name)])


def guarded(name, fallback="none", **breaker):
    return agent(name=name, fallback=fallback, breaker=Breaker(**breaker))(step(name, "prompt").function)


def test_breakers_are_known_by_provider_or_agent_those_of_fallbacks_too():
    second = guarded("second", failures=2)
    pipeline = Pipeline(
        "guarded",
        [guarded("a", provider="openai"), guarded("b", provider="openai"), guarded("c", fallback=second)],
        answer="a",
    )
    assert pipeline.breakers == {"openai": Breaker(provider="openai"), "c": Breaker(), "second": Breaker(failures=2)}


def test_agents_that_share_a_breaker_agree_on_it():
    with pytest.raises(PipelineError, match=r"agent 'b' asks for a breaker 'openai' that opens after 2 .*give both"):
        Pipeline("two", [guarded("a", provider="openai"), guarded("b", provider="openai", failures=2)], answer="a")
    with pytest.raises(PipelineError, match="agent 'openai' asks for a breaker 'openai'"):
        Pipeline("two", [guarded("a", provider="openai"), guarded("openai")], answer="a")
