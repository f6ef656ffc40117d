import dask
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.execute.graph import drawn_graph, prompt_graph

DIAMOND = [("nlu", ()), ("memory", (0,)), ("retrieval", (0,)), ("reasoning", (1, 2))]
TWO_ENDS = [*DIAMOND, ("metrics", (3,)), ("planning", (3,))]


@st.composite
def layouts(draw):
    """Agents, each behind those it needs."""
    size = draw(st.integers(1, 10))
    return [
        (f"agent {n}", tuple(sorted(draw(st.sets(st.integers(0, n - 1)))))) if n else ("agent 0", ())
        for n in range(size)
    ]


def count(index, *below):
    """The indices of all agents that were called for this one."""
    return frozenset({index}).union(*below)


@given(layouts())
def test_a_graph_has_a_node_an_agent_and_calls_each_with_what_it_needs(layout):
    ends = prompt_graph(layout, count, "label")
    nodes = set().union(*(end.__dask_graph__() for end in ends))
    assert nodes == {(name, "label") for name, _ in layout}
    reached = frozenset().union(*dask.compute(*ends, scheduler="sync"))
    assert reached == frozenset(range(len(layout)))


@given(layouts())
def test_the_ends_are_the_agents_that_feed_no_other(layout):
    fed = {need for _, needs in layout for need in needs}
    ends = {end.key[0] for end in prompt_graph(layout, count, "label")}
    assert ends == {name for index, (name, _) in enumerate(layout) if index not in fed}


def test_keys_of_different_prompts_differ():
    keys = [set(prompt_graph(DIAMOND, count, label)[0].__dask_graph__()) for label in ("run-0-1", "run-0-2")]
    assert not keys[0] & keys[1]


def test_resources_annotate_only_the_agents_that_ask_for_them():
    (end,) = prompt_graph(DIAMOND, count, "label", [{}, {}, {"gpu": 1}, {}])
    layers = end.__dask_graph__().layers
    asked = {name: layer.annotations for name, layer in layers.items() if layer.annotations}
    assert list(asked.values()) == [{"resources": {"gpu": 1}}]
    assert "retrieval" in str(list(asked))


@pytest.mark.parametrize(("layout", "nodes"), [(DIAMOND, 4), (TWO_ENDS, 6 + 1)])
def test_a_drawn_graph_tells_who_calls_whom(layout, nodes):
    graph = drawn_graph(layout)
    assert len(dict(graph.__dask_graph__())) == nodes
    told = str(graph.compute(scheduler="sync"))
    assert "reasoning(memory(nlu()), retrieval(nlu()))" in told


def test_the_graph_of_a_run_computes(run_with, inline):
    run = run_with(inline, 1, "waits.py:layers", arms=["async"])
    graph = run.graph()
    assert len(dict(graph.__dask_graph__())) == 7 + 1
    assert graph.compute(scheduler="sync") == [f"{end}(then(join(a(), b(), c())))" for end in ("left", "right")]
