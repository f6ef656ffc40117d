"""Routes: which agents a category needs, and what is refused."""

import pickle

import pytest
from hypothesis import given

from quark_bench.agents.quark import quark
from quark_bench.errors import PipelineError, UsageError
from quark_bench.pipeline import Pipeline
from quark_bench.routing import Router, category_of, read_routes

from .dags import named, routed_pipelines


def assistant():
    """`reasoning` answers, cannot do without retrieval, and takes memory where there is one."""
    return Pipeline(
        "assistant",
        [
            named("nlu"),
            named("memory"),
            named("index"),
            named("retrieval", "index"),
            named("reasoning", "retrieval", memory=None),
            named("planning", "reasoning"),
            named("metrics", "planning"),
        ],
        answer="reasoning",
    )


def left_out(router, pipeline, category):
    return {pipeline.steps[index].name for index in router.on(pipeline).unneeded(category)}


def test_a_route_leaves_out_all_that_it_does_not_name_and_nobody_needs():
    router = Router(routes={"fact": ()})
    assert left_out(router, assistant(), "fact") == {"memory", "planning", "metrics"}


def test_what_a_named_agent_cannot_do_without_comes_with_it():
    router = Router(routes={"measured": ("metrics",)})
    assert left_out(router, assistant(), "measured") == {"memory"}


@pytest.mark.parametrize("category", ["poem", None, ""])
def test_a_category_without_a_route_gets_the_whole_pipeline(category):
    assert left_out(Router(routes={"fact": ()}), assistant(), category) == set()


def test_names_in_routes_compare_without_case_and_underscores():
    router = Router("NLU", {"fact": ("Mem_ory",)})
    assert left_out(router, assistant(), "fact") == {"planning", "metrics"}


def test_an_agent_that_takes_what_may_be_left_out_begins_when_the_category_is_known():
    pipeline = assistant()
    late = Router(routes={"fact": ("planning",)}).on(pipeline).late
    assert {pipeline.steps[index].name for index in late} == {"reasoning", "planning", "metrics"}
    assert Router(routes={"recalled": ("memory", "metrics")}).on(pipeline).late == frozenset()


def test_what_comes_before_the_agent_that_finds_the_category_is_never_left_out():
    pipeline = Pipeline("chained", [named("hints"), named("nlu", hints=None), named("reasoning")], answer="reasoning")
    assert left_out(Router(routes={"fact": ()}), pipeline, "fact") == set()


@given(routed_pipelines())
def test_whatever_is_kept_has_all_that_it_cannot_do_without(pipeline):
    router = pipeline.router
    routing = router.on(pipeline)
    for category, names in router.routes.items():
        unneeded = routing.unneeded(category)
        kept = [step for step in pipeline.steps if step.index not in unneeded]
        assert {router.by, pipeline.answer, *names} <= {step.name for step in kept}
        for step in kept:
            inputs = zip(step.agent.inputs, step.needs, strict=True)
            assert not unneeded & {need for wanted, need in inputs if not wanted.optional}


@given(routed_pipelines())
def test_nothing_that_comes_before_the_category_is_left_out_or_waits_for_it(pipeline):
    router = pipeline.router
    routing = router.on(pipeline)
    before = {routing.finder}
    for index in range(routing.finder, -1, -1):
        before |= set(pipeline.needs[index]) if index in before else set()
    assert not before & routing.late
    assert not any(before & routing.unneeded(category) for category in router.routes)
    for step in pipeline.steps:
        takes_in_vain = any(set(step.needs) & routing.unneeded(category) for category in router.routes)
        assert step.index in before | routing.late or not takes_in_vain


@pytest.mark.parametrize(
    ("router", "told"),
    [
        (Router("nlp", {}), "router, by='nlp' is no agent of it; did you mean 'nlu'?"),
        (Router(routes={"fact": ("resoning",)}), "router, routes.fact='resoning' is no agent of it; did you mean 'rea"),
        (Router(routes={"fact": ("zzz",)}), "routes.fact='zzz' is no agent of it; its agents: nlu, memory"),
    ],
)
def test_an_unknown_agent_is_refused_with_the_nearest(router, told):
    with pytest.raises(PipelineError, match="pipeline 'assistant'") as raised:
        router.on(assistant())
    assert told in str(raised.value)


def test_a_pipeline_is_built_with_routes_of_its_own_agents_only():
    with pytest.raises(PipelineError, match="did you mean 'only'"):
        Pipeline("one", [named("only")], router=Router("onyl"))


@pytest.mark.parametrize(
    ("value", "category"),
    [
        ("fact", "fact"),
        ({"category": "fact", "confidence": 0.9}, "fact"),
        ({"category": 3}, None),
        ({}, None),
        (3, None),
        (None, None),
    ],
)
def test_a_category_is_a_text_or_stands_in_a_dict(value, category):
    assert category_of(value) == category


def test_a_router_says_its_routes_and_comes_through_pickle_and_cannot_be_changed():
    routes = {"fact": ["reasoning"], "plan": ("planning", "metrics")}
    router = Router(routes=routes)
    routes["fact"].append("planning")
    assert str(router) == "by nlu: fact -> reasoning; plan -> planning, metrics"
    assert pickle.loads(pickle.dumps(router)) == router
    with pytest.raises(TypeError):
        router.routes["fact"] = ()


def test_the_assistants_own_routes_fit_it():
    pipeline = quark()
    routes = pipeline.router.on(pipeline)
    assert {pipeline.steps[index].name for index in routes.unneeded("fact")} == {"planning"}
    assert routes.unneeded("plan") == frozenset()


def test_routes_are_read_from_toml(tmp_path):
    path = tmp_path / "routes.toml"
    path.write_text('by = "intent"\n[routes]\nfact = ["reasoning"]\nhello = []\n')
    assert read_routes(path) == Router("intent", {"fact": ("reasoning",), "hello": ()})
    path.write_text("[routes]\nfact = []\n")
    assert read_routes(str(path)).by == "nlu"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[routes", "the routes cannot be read: "),
        ("", "there are no routes; write [routes]"),
        ("routes = 3", "there are no routes"),
        ("by = 3\n[routes]\na = []", "by = 3; give the name of the agent"),
        ("[routes]\nfact = 'reasoning'", "routes.fact = 'reasoning'; give a list of agents"),
        ("[routes]\nfact = [1]", "routes.fact = [1]; give a list of agents"),
        ("route = 1\n[routes]\na = []", "unknown 'route'; write by = NAME and a table [routes]"),
    ],
)
def test_what_is_wrong_with_a_file_of_routes_is_told_with_its_name(text, told, tmp_path):
    path = tmp_path / "routes.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        read_routes(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert told in str(raised.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_routes_that_cannot_be_read_are_told_with_their_file(content, tmp_path):
    path = tmp_path / "routes.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="the routes cannot be read"):
        read_routes(path)
