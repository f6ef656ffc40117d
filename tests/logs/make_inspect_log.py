"""Makes inspect.eval, the log that tests import, where inspect-ai is installed: python make_inspect_log.py inspect.eval

Two agents side by side and one after them ask a model that needs no network; one prompt of four fails. Tracebacks are
left out: they name folders of the machine.
"""

import asyncio
import sys
import tempfile

from inspect_ai import Task, eval, task
from inspect_ai.agent import Agent, AgentState, agent, run
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import ChatMessageUser, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import includes, match
from inspect_ai.solver import solver


async def answer(given, tools, tool_choice, config):
    text = given[-1].text
    await asyncio.sleep(0.01)
    if "9" in text and "reasoning" in text:
        raise ValueError("no such order")
    said = "42" if "reasoning" in text else "looked up" + " at length" * 20
    output = ModelOutput.from_content(model="mockllm", content=said)
    output.usage = ModelUsage(input_tokens=20, output_tokens=2, total_tokens=22)
    return output


def named(role):
    @agent(name=role)
    def made() -> Agent:
        async def execute(state: AgentState) -> AgentState:
            said = "; ".join(message.text for message in state.messages)
            state.output = await get_model().generate([ChatMessageUser(content=f"{role}: {said}")])
            return state

        return execute

    return made()


@solver
def pipeline():
    nlu, retrieval, reasoning = named("nlu"), named("retrieval"), named("reasoning")

    async def solve(state, generate):
        asked = [ChatMessageUser(content=state.input_text)]
        found = await asyncio.gather(run(nlu, asked), run(retrieval, asked))
        last = await run(reasoning, asked + [ChatMessageUser(content=each.output.completion) for each in found])
        state.output = last.output
        return state

    return solve


@task
def support():
    cases = [
        Sample(
            id=f"q-{n}", input=f"What is {n} - {n} + 42?", target="41" if n == 2 else "42", metadata={"category": "sum"}
        )
        for n in (1, 2, 3, 9)
    ]
    return Task(
        dataset=MemoryDataset(cases, name="orders"), solver=pipeline(), scorer=[match(numeric=True), includes()]
    )


if __name__ == "__main__":
    model = get_model("mockllm/model", custom_outputs=answer)
    with tempfile.TemporaryDirectory() as folder:
        (made,) = eval(support(), model=model, log_dir=folder, display="none", epochs=2, fail_on_error=False)
        log = read_eval_log(made.location)
    for case in log.samples:
        case.events = [event for event in case.events if event.event != "logger"]
        for holder in (case, *case.events):
            if getattr(holder, "error", None) and hasattr(holder.error, "traceback"):
                holder.error.traceback = holder.error.traceback_ansi = ""
            if hasattr(holder, "call"):
                holder.call = holder.traceback = holder.traceback_ansi = None
    write_eval_log(log, sys.argv[1])
