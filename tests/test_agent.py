import asyncio
import functools
import importlib
import pickle
import subprocess
import sys

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.agent import Agent, Call, Input, agent, canonical, stable_hash
from quark_bench.errors import PipelineError
from quark_bench.model import Reply
from quark_bench.policy import Breaker, Policy


def function(prompt, memory, call):
    return memory


async def coroutine_function(prompt, memory, call):
    return memory


class Callable:
    def __call__(self, prompt, memory, call):
        return memory


class AsyncCallable:
    async def __call__(self, prompt, memory, call):
        return memory


class Methods:
    def blocking(self, prompt, memory, call):
        return memory

    async def awaited(self, prompt, memory, call):
        return memory


def with_setting(prompt, memory, call, *, depth):
    return memory


async def async_with_setting(prompt, memory, call, *, depth):
    return memory


class CallableWithSetting:
    def __call__(self, prompt, memory, call, depth):
        return memory


class AsyncCallableWithSetting:
    async def __call__(self, prompt, memory, call, depth):
        return memory


KINDS = [
    (function, "function", False),
    (coroutine_function, "coroutine_function", True),
    (Callable(), "Callable", False),
    (AsyncCallable(), "AsyncCallable", True),
    (Methods().blocking, "blocking", False),
    (Methods().awaited, "awaited", True),
    (functools.partial(with_setting, depth=3), "with_setting", False),
    (functools.partial(async_with_setting, depth=3), "async_with_setting", True),
    (functools.partial(CallableWithSetting(), depth=3), "CallableWithSetting", False),
    (functools.partial(AsyncCallableWithSetting(), depth=3), "AsyncCallableWithSetting", True),
]


@pytest.mark.parametrize(("made_of", "name", "is_async"), KINDS, ids=[name for _, name, _ in KINDS])
def test_every_kind_of_callable_becomes_an_agent(made_of, name, is_async) -> None:
    made = agent(made_of)
    assert (made.name, made.is_async) == (name, is_async)
    assert made.inputs == (Input("memory", optional=False),)
    assert made.takes_prompt
    assert made.takes_call


@pytest.mark.parametrize(("made_of", "name", "is_async"), KINDS, ids=[name for _, name, _ in KINDS])
def test_an_agent_is_called_like_what_it_is_made_of(made_of, name, is_async) -> None:
    value = agent(made_of)(prompt=None, memory="kept", call=None)
    assert (asyncio.run(value) if is_async else value) == "kept"


def test_a_class_whose_instances_are_async_is_itself_a_blocking_agent() -> None:
    class Made:
        def __init__(self, prompt):
            pass

        async def __call__(self):
            pass

    assert not agent(Made).is_async


def test_an_agent_that_takes_neither_prompt_nor_call_is_told_so() -> None:
    made = agent(lambda_free_constant)
    assert (made.takes_prompt, made.takes_call, made.inputs) == (False, False, ())


def lambda_free_constant():
    return 1


def test_a_parameter_with_a_default_is_an_optional_input() -> None:
    @agent
    def planning(reasoning, memory=None, retrieval=()):
        pass

    assert planning.inputs == (
        Input("reasoning", optional=False),
        Input("memory", optional=True, default=None),
        Input("retrieval", optional=True, default=()),
    )


def test_what_a_partial_has_bound_is_no_input_any_more() -> None:
    made = agent(functools.partial(function, "a prompt", memory="bound"))
    assert made.inputs == ()
    assert (made.takes_prompt, made.takes_call) == (False, True)


def test_a_call_that_a_partial_has_bound_is_not_given_again() -> None:
    assert not agent(functools.partial(function, call="mine")).takes_call


def test_options_of_the_decorator_reach_agent_and_policy() -> None:
    @agent(name="reader", setup=dict, cpu=True, resources={"GPU": 1}, optional=True, timeout_s=2, retries=3)
    def read(prompt):
        pass

    assert (read.name, read.setup, read.cpu, read.optional) == ("reader", dict, True, True)
    assert read.resources == {"GPU": 1}
    assert read.policy == Policy(timeout_s=2, retries=3)


def test_an_agent_without_options_has_the_default_policy() -> None:
    assert agent(function).policy == Policy()


@pytest.mark.parametrize("same", ["self_improvement", "SelfImprovement", "SELF_IMPROVEMENT", "selfimprovement"])
def test_names_compare_without_case_and_underscores(same) -> None:
    assert canonical(same) == canonical("self_improvement")


def varargs(prompt, *others): ...
def keywords(prompt, **others): ...
def positional(prompt, /): ...


@pytest.mark.parametrize(("made_of", "parameter"), [(varargs, "others"), (keywords, "others"), (positional, "prompt")])
def test_a_parameter_that_cannot_be_wired_by_name_is_refused(made_of, parameter) -> None:
    with pytest.raises(PipelineError, match=f"agent '{made_of.__name__}': parameter '{parameter}' cannot be wired"):
        agent(made_of)


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(PipelineError, match="a lambda has no name"):
        agent(lambda prompt: prompt)
    with pytest.raises(PipelineError, match="a lambda has no name"):
        agent(functools.partial(lambda prompt, k: prompt, k=1))
    assert agent(name="echo")(lambda prompt: prompt).name == "echo"


def test_what_cannot_be_called_is_no_agent() -> None:
    with pytest.raises(PipelineError, match="'int' is a int, which cannot be called"):
        agent(3)


def test_a_callable_without_a_signature_is_refused() -> None:
    with pytest.raises(PipelineError, match="'max' has no readable signature; wrap it in a def"):
        agent(max)


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PipelineError, match="agent 'function': unknown option 'timeout'; known: timeout_s, retries"):
        agent(timeout=3, retries=1)(function)


@pytest.mark.parametrize("options", [{"retries": -1}, {"timeout_s": 0}, {"timeout_s": "10"}, {"backoff_s": -1}])
def test_a_wrong_option_names_the_agent(options) -> None:
    with pytest.raises(PipelineError, match="agent 'function': "):
        agent(**options)(function)


class Echo:
    name = "echo"

    async def reply(self, messages, call):
        return self.reply_blocking(messages, call)

    def reply_blocking(self, messages, call):
        return Reply(
            f"{messages[0]['content']} {call.seed}", tokens_in=2, tokens_out=3, cost_usd=0.5, first_token_s=0.1
        )


def call_of(*, agent="reader", trial_seed=1, attempt=1, generator=None, blocking=True, run_key="run", **more):
    return Call(
        agent=agent,
        prompt_id=more.pop("prompt_id", "p-1"),
        repeat=more.pop("repeat", 0),
        attempt=attempt,
        trial_seed=trial_seed,
        deadline_s=None,
        ready=None,
        run_key=run_key,
        generator=generator,
        blocking=blocking,
        **more,
    )


@pytest.mark.parametrize("blocking", [True, False])
def test_a_model_answers_blocking_and_awaited_agents_alike_and_usage_adds_up(blocking) -> None:
    call = call_of(generator=Echo(), blocking=blocking)
    for _ in range(2):
        reply = call.model([{"role": "user", "content": "hi"}])
        reply = reply if blocking else asyncio.run(reply)
        assert reply.text == f"hi {call.seed}"
    assert (call.usage.tokens_in, call.usage.tokens_out, call.usage.cost_usd) == (4, 6, 1.0)
    assert call.usage.first_token_s == 0.1


def test_an_agent_that_asks_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(PipelineError, match="agent 'reader' asks a model, but its pipeline has none"):
        call_of().model([])


def test_a_seed_depends_on_trial_and_agent_but_not_on_the_attempt() -> None:
    assert call_of().seed == call_of(attempt=2).seed
    assert call_of().seed != call_of(agent="other").seed
    assert call_of().seed != call_of(trial_seed=2).seed


def test_an_idempotency_key_is_equal_for_every_execution_of_one_call() -> None:
    assert call_of().idempotency_key == call_of(attempt=2, agent="Reader").idempotency_key
    assert call_of().idempotency_key != call_of(agent="other").idempotency_key


circumstances = st.fixed_dictionaries(
    {
        "run_key": st.sampled_from(["run-sync", "run-async"]),
        "prompt_id": st.sampled_from(["p-1", "p-2"]),
        "repeat": st.integers(0, 1),
        "agent": st.sampled_from(["reader", "writer"]),
        "inputs": st.dictionaries(
            st.sampled_from(["memory", "facts"]), st.none() | st.integers(0, 2) | st.lists(st.sampled_from("ab"))
        ),
    }
)


@given(circumstances, circumstances, st.integers(1, 9), st.integers(1, 9))
def test_keys_are_equal_where_run_arm_prompt_repeat_agent_and_inputs_are(one, other, attempt, other_attempt) -> None:
    keys = [call_of(**each, attempt=n).idempotency_key for each, n in ((one, attempt), (other, other_attempt))]
    assert (keys[0] == keys[1]) == (one == other)


def test_a_key_is_hashed_from_inputs_only() -> None:
    given = {"prompt": object(), "memory": "kept"}
    call = call_of(inputs=given)
    given["call"] = call
    assert call.idempotency_key == call_of(inputs={"Memory": "kept"}).idempotency_key


def test_an_upstream_default_and_a_real_value_have_different_keys() -> None:
    assert call_of(inputs={"memory": None}).idempotency_key != call_of(inputs={"memory": "kept"}).idempotency_key


@pytest.mark.parametrize("value", [None, "sorry", 0, ["a"], {"answer": "sorry"}])
def test_a_fallback_may_be_any_plain_value_also_none(value) -> None:
    made = agent(fallback=value)(function)
    assert asyncio.run(made.fallback()) == value
    assert made.fallback.inputs == ()


def test_without_a_fallback_there_is_none() -> None:
    assert agent(function).fallback is None


@agent(timeout_s=3, retries=2, fallback="at last")
def understudy(prompt, memory):
    return "understudy"


def test_a_fallback_may_be_a_function_or_another_agent_with_its_own_policy() -> None:
    by_function = agent(timeout_s=7, retries=5, fallback=lambda prompt, mem_ory, call: "by function")(function).fallback
    assert (by_function.name, by_function.policy) == ("function_fallback", Policy(timeout_s=7))
    assert agent(fallback=understudy)(function).fallback is understudy
    assert [each.name for each in agent(fallback=understudy)(function).chain()] == [
        "function",
        "understudy",
        "understudy_fallback",
    ]


@pytest.mark.parametrize("fallback", [lambda prompt, facts: facts, lambda facts=None: facts])
def test_a_fallback_takes_only_what_its_agent_takes(fallback) -> None:
    with pytest.raises(
        PipelineError, match=r"'function': its fallback 'function_fallback' needs 'facts'.*call, memory"
    ):
        agent(fallback=fallback)(function)


@pytest.mark.parametrize("fallback", [None, "sorry", function, understudy])
def test_an_agent_travels_with_its_fallback(fallback) -> None:
    @agent(fallback=fallback, breaker=Breaker(failures=2))
    def fragile(prompt, memory, call):
        pass

    arrived = pickle.loads(cloudpickle.dumps(fragile))
    assert arrived.policy == fragile.policy
    assert [each.name for each in arrived.chain()] == [each.name for each in fragile.chain()]
    assert arrived.fallback.function == fragile.fallback.function


def test_a_breaker_is_known_by_its_provider_or_its_agent() -> None:
    assert agent(breaker=Breaker())(function).breaker_name == "function"
    assert agent(breaker=Breaker(provider="openai"))(function).breaker_name == "openai"


def test_a_stable_hash_is_the_same_in_every_process() -> None:
    script = "from quark_bench.agent import stable_hash; print(stable_hash(0, 'p-1', 'reader'))"
    assert int(run_python("-c", script)) == stable_hash(0, "p-1", "reader")


MODULE = """
from quark_bench.agent import agent

@agent(retries=2)
async def reader(prompt):
    return prompt

def plain(prompt):
    return prompt

renamed = agent(name="renamed")(plain)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "agents_of_a_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("agents_of_a_test")
    sys.modules.pop("agents_of_a_test", None)


def run_python(*arguments, text=True, stdin=None):
    done = subprocess.run([sys.executable, *arguments], capture_output=True, check=True, text=text, input=stdin)
    return done.stdout


def test_an_agent_of_an_importable_module_travels_by_name(module) -> None:
    packed = pickle.dumps(module.reader)
    assert len(packed) < 150
    assert pickle.loads(packed) is module.reader


def test_an_agent_under_another_name_than_its_function_travels_with_its_parts(module) -> None:
    arrived = pickle.loads(pickle.dumps(module.renamed))
    assert isinstance(arrived, Agent)
    assert (arrived.name, arrived.function) == ("renamed", module.plain)


def test_an_agent_whose_module_is_missing_where_it_arrives_says_so(module, monkeypatch) -> None:
    packed = pickle.dumps(module.reader)
    monkeypatch.delitem(sys.modules, "agents_of_a_test")
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(PipelineError, match="'reader' cannot be imported from module 'agents_of_a_test'"):
        pickle.loads(packed)


def test_an_agent_made_within_a_function_travels_by_value() -> None:
    unit = 2

    @agent(timeout_s=5)
    def doubled(prompt):
        return prompt * unit

    arrived = pickle.loads(cloudpickle.dumps(doubled))
    assert arrived is not doubled
    assert (arrived.name, arrived.policy, arrived(21)) == ("doubled", Policy(timeout_s=5), 42)


def test_an_agent_of_main_travels_by_value_to_another_process() -> None:
    script = MODULE + "import cloudpickle, sys; sys.stdout.buffer.write(cloudpickle.dumps([reader, renamed]))"
    packed = run_python("-c", script, text=False)
    load = "import sys, pickle; print([(a.name, a.is_async) for a in pickle.load(sys.stdin.buffer)])"
    arrived = run_python("-c", load, text=False, stdin=packed).decode().strip()
    assert arrived == "[('reader', True), ('renamed', False)]"
