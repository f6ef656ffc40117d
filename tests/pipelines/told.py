"""Agents that answer with what they were told, what they drew, or what their set-up made."""

import asyncio
import os
import random
import secrets
import time

from quark_bench import Pipeline, agent


async def draw(prompt, call):
    dice = random.Random(call.seed)
    await asyncio.sleep(dice.random() / 100)
    return dice.random()


def second_draw(draw, call):
    return [draw, random.Random(call.seed).random()]


drawn = Pipeline("drawn", [draw, second_draw])


@agent(retries=1, backoff_s=0)
def circumstances(prompt, call):
    """Fails once, and tells afterwards what both attempts were told: attempts of one call meet in one process."""
    place = (call.idempotency_key, call.prompt_id)
    heard.setdefault(place, []).append([call.attempt, call.idempotency_key, call.seed, call.deadline_s])
    if call.attempt == 1:
        raise ValueError("again, please")
    return heard.pop(place, [])


@agent
async def neighbour(circumstances, call):
    return {"answer": {"circumstances": circumstances, "own": [call.idempotency_key, call.seed, call.repeat]}}


heard: dict[tuple[str, str], list] = {}
circumstantial = Pipeline("circumstantial", [circumstances, neighbour])


@agent
def echoed(prompt):
    return prompt.text


echo = Pipeline("echo", [echoed])

SET_UP_S = 0.4


def make_ready():
    time.sleep(SET_UP_S)
    return f"{os.getpid()} {secrets.token_hex(8)}"


@agent(setup=make_ready)
def readied(prompt, call):
    time.sleep(0.02)  # long enough for every worker to get its share
    return call.ready


ready = Pipeline("ready", [readied])


def fail_to_set_up():
    raise FileNotFoundError("no index here")


@agent(setup=fail_to_set_up)
def unready(prompt):
    return "never"


never_ready = Pipeline("never_ready", [unready])


def exit_in_set_up():
    raise SystemExit(2)


@agent(setup=exit_in_set_up)
def unready_at_all(prompt):
    return "never"


exits = Pipeline("exits", [unready_at_all])
