"""The built-in assistant, run without an executor: agent by agent, in declared order."""

import asyncio
import json

from quark_bench.agent import Call
from quark_bench.dataset import Prompt
from quark_bench.plan import trial_seed


def write(path, rows):
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def ready(pipeline, **made):
    """What the set-ups return, by agent; `made` is what need not be made again."""
    agents = [step.agent for step in pipeline.steps if step.name not in made]
    return made | {agent.name: agent.setup() if agent.setup else None for agent in agents}


def call_of(pipeline, name, prompt_id, made_ready, seed=0):
    trial = trial_seed(seed, prompt_id, 0)
    return Call(name, prompt_id, 0, 1, trial, None, made_ready, "run", pipeline.model, blocking=False)


async def results(pipeline, made_ready, prompt, seed=0):
    values, calls = {}, {}
    for step in pipeline.steps:
        calls[step.name] = call_of(pipeline, step.name, prompt.id, made_ready[step.name], seed)
        given_ = {needed.parameter: values[needed.parameter] for needed in step.agent.inputs}
        given_ |= {"prompt": prompt} if step.agent.takes_prompt else {}
        values[step.name] = await step.agent(call=calls[step.name], **given_)
    return values, calls


def run(pipeline, made_ready, text, seed=0, **metadata):
    return asyncio.run(results(pipeline, made_ready, Prompt("p-1", text, metadata=metadata), seed))[0]
