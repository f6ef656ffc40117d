"""Agents that ask whatever model the run gives them: an async one, and a sync one that must wait for it."""

from quark_bench import Pipeline, agent


@agent
async def draft(prompt, call):
    return (await call.model([{"role": "user", "content": prompt.text}])).text


@agent
def final(prompt, draft, call):
    return call.model([{"role": "user", "content": f"{prompt.text}: {draft}"}]).text


pipeline = Pipeline("asking", [draft, final])
