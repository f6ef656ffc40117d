"""The same agents with and without a policy, of every kind that chaos has to wrap."""

import asyncio

from quark_bench import Pipeline, agent

TIMEOUT_S = 0.3


@agent
async def look(prompt):
    await asyncio.sleep(0.02)
    return prompt.text


@agent(name="reason")
async def reason_once(look):
    return look.upper()


@agent(name="reason", retries=2, backoff_s=0.001)
async def reason_again(look):
    return look.upper()


bare = Pipeline("bare", [look, reason_once])
guarded = Pipeline("guarded", [look, reason_again])


@agent(setup=lambda: "ready")
def sync_told(prompt, call):
    return f"{call.ready} {prompt.text}"


@agent
async def async_told(prompt, call):
    return call.attempt


@agent(optional=True)
def sync_untold(prompt):
    return "garnish"


@agent(timeout_s=TIMEOUT_S)
def joined(sync_told, async_told, sync_untold="none"):
    return f"{sync_told}, {async_told}, {sync_untold}"


kinds = Pipeline("kinds", [sync_told, async_told, sync_untold, joined])
