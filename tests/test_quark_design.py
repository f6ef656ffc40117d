"""The design document of the live orchestrator: its Python runs as it stands there, and its claims hold."""

import ast
import asyncio
import inspect
import logging
import re
import textwrap
from pathlib import Path

import pytest

from quark_bench import AsyncOrchestrator
from quark_bench.agents.quark import quark
from quark_bench.errors import UsageError

SNIPPETS = Path(__file__).with_name("quark_design_snippets.md")
DOCUMENT = Path(__file__).parents[2] / "shared" / "quark-design.md"


def python_in(path):
    return [textwrap.dedent(block) for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)]


BLOCKS = python_in(SNIPPETS)


def block(beginning):
    """The one snippet that begins so."""
    (found,) = (each for each in BLOCKS if each.startswith(beginning))
    return found


def test_the_snippets_are_those_of_the_document():
    if not DOCUMENT.is_file():
        pytest.skip("the document is not at hand")
    assert python_in(DOCUMENT) == BLOCKS


CALLED = [each for each in BLOCKS if re.search(r"await |= AsyncOrchestrator\(|logger", each)]
GIVEN = ("orchestrator", "prompt", "pipeline", "category", "agent_name", "agent", "input_data", "logger", "error")


def as_one_coroutine(snippets):
    """A coroutine function of all of them in turn; what they leave undefined are its parameters."""
    own = "\n".join(snippets).replace("from core.async_orchestrator import", "from quark_bench import")
    own += "\nreturn orchestrator, stats, results, result\n"
    source = f"async def document({', '.join(GIVEN)}):\n{textwrap.indent(own, '    ')}"
    names = {}
    exec(compile(source, str(SNIPPETS), "exec"), names)
    return names["document"]


def test_every_snippet_runs_in_one_coroutine_with_only_its_import_changed(capsys):
    assert len(CALLED) == 8, "the others are skeletons and lists, see below"

    async def run():
        async with AsyncOrchestrator() as orchestrator:
            given = (orchestrator, "What is inertia?", ["Memory", "Retrieval", "Reasoning"], "definition")
            agent = ("Reasoning", orchestrator.agents["Reasoning"], "What is inertia?", logging.getLogger("test"))
            return await as_one_coroutine(CALLED)(*given, *agent, "none")

    orchestrator, stats, results, result = asyncio.run(run())
    assert isinstance(orchestrator, AsyncOrchestrator)
    assert {"performance_metrics", "execution_stats"} <= stats.keys()
    assert all(results[name]["success"] for name in ("Memory", "Retrieval", "Reasoning"))
    assert result["success"]
    assert result["error"] is None
    assert "Throughput: " in capsys.readouterr().out


def test_the_first_example_answers_a_prompt():
    async def run():
        names = {}
        source = block("from core.async_orchestrator").replace("from core.async_orchestrator", "from quark_bench")
        exec("async def example():\n" + textwrap.indent(source, "    ") + "\n    return result, stats\n", names)
        return await names["example"]()

    answer, stats = asyncio.run(run())
    assert answer.success
    assert str(answer)
    assert stats["execution_stats"]["completed_tasks"] == 1


def test_the_statistics_have_the_documents_keys():
    names = {}
    exec(block("performance_metrics = {"), names)
    orchestrator = AsyncOrchestrator(max_workers=2)
    assert names["performance_metrics"].keys() <= orchestrator.performance_metrics.keys()
    assert names["execution_stats"].keys() <= orchestrator.execution_stats.keys()
    assert all(orchestrator.execution_stats[name] == value for name, value in names["execution_stats"].items())


def test_the_skeletons_are_there_by_attribute():
    assert inspect.signature(AsyncOrchestrator).parameters["max_workers"].default == 4
    orchestrator = AsyncOrchestrator(max_workers=2)
    for name in re.findall(r"self\.(\w+) =", block("class AsyncOrchestrator")):
        assert hasattr(orchestrator, name)
    (skeleton,) = ast.parse(block("async def _execute_pipeline_parallel") + "    pass").body
    documented = [argument.arg for argument in skeleton.args.args]
    assert [*inspect.signature(AsyncOrchestrator._execute_pipeline_parallel).parameters] == documented
    for agent in orchestrator.agents.values():
        agent._ensure_model()
    assert {name.replace("_", "").lower() for name in orchestrator.agents} == {
        name.lower() for name in ("NLU", "Memory", "Retrieval", "Reasoning", "Planning", "Metrics", "SelfImprovement")
    }


def test_which_agents_are_independent_follows_from_the_dag():
    names = {}
    exec(block("# Agents that can run in parallel"), names)
    pipeline = quark()
    behind = {}
    for step in pipeline.steps:
        behind[step.index] = {*step.needs}.union(*(behind[need] for need in step.needs))

    def independent(a, b):
        a, b = pipeline.position(a), pipeline.position(b)
        return a not in behind[b] and b not in behind[a]

    assert independent("Memory", "Retrieval")
    assert independent("NLU", "Retrieval")
    assert independent("Metrics", "SelfImprovement")
    assert all(any(independent(a, b) for b in names["parallel_agents"] if b != a) for a in names["parallel_agents"])
    assert pipeline.position("Retrieval") in behind[pipeline.position("Reasoning")]
    assert pipeline.position("Reasoning") in behind[pipeline.position("Planning")]
    assert not independent(*names["sequential_agents"])


def test_a_pipeline_of_unknown_agents_says_which_there_are():
    async def run():
        async with AsyncOrchestrator() as orchestrator:
            await orchestrator._execute_pipeline_parallel("hello", ["Retrieval", "Reasonning"], "fact")

    with pytest.raises(UsageError, match="did you mean 'reasoning'"):
        asyncio.run(run())
