"""Agents that cannot keep a secret: errors, answers and results for other agents hold what the environment holds."""

import os

from quark_bench import Pipeline, agent


@agent
def knowing(prompt):
    return os.environ["SUPPORT_API_KEY"]


@agent
async def leaking(prompt, knowing):
    if prompt.text == "error":
        raise ConnectionError(f"401 from https://me:pa55word@api/v1?access_token=t0k3n-of-mine with key {knowing}")
    if prompt.text == "lookup":
        return {}[knowing]
    if prompt.text == "unstorable":
        return {"answer": {knowing: {knowing}}}
    if prompt.text == "exit":
        raise SystemExit(f"Authorization: Bearer {knowing}")
    if prompt.text == "data":
        return [{"key": knowing}]
    return f"the key is {knowing}, {len(knowing)} long"


pipeline = Pipeline("leaky", [knowing, leaking])


def set_up():
    raise ValueError(f"no index for {os.environ['SUPPORT_API_KEY']}")


@agent(setup=set_up)
def unready(prompt):
    return "never"


never_ready = Pipeline("never_ready", [unready])
