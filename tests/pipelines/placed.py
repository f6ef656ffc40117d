"""Agents that tell where they are called, and with what."""

import asyncio
import dataclasses
import os
import subprocess
import time

from quark_bench import Pipeline, agent
from quark_bench.model import Reply


@agent
def place(prompt):
    return os.getpid()


somewhere = Pipeline("somewhere", [place])


@agent(setup=lambda: ["ready", os.getpid()], timeout_s=20)
def circumstances(prompt, call):
    word, pid = call.ready
    assert pid == os.getpid()
    return [word, call.agent, call.prompt_id, call.attempt, call.seed, call.deadline_s, call.idempotency_key]


circumstantial = Pipeline("circumstantial", [circumstances])


@dataclasses.dataclass
class Counting:
    """A model that tells what it was asked, and takes a token a message."""

    name: str = "counting"

    async def reply(self, messages, call):
        return self.reply_blocking(messages, call)

    def reply_blocking(self, messages, call):
        if "fail" in messages[0]["content"]:
            raise ConnectionError("provider down")
        return Reply(f"{messages[0]['content']} {call.seed}", len(messages), 2, 0.5, 0.25)


def ask(prompt, call):
    call.model([{"role": "user", "content": "first"}])
    return call.model([{"role": "user", "content": prompt.text}] * 2).text


async def ask_later(prompt, call):
    call.usage.simulated_s += 3.0
    return (await call.model([{"role": "user", "content": prompt.text}])).text


asking = Pipeline("asking", [ask, ask_later], answer="ask", model=Counting())


class Found:
    """What stands in a script is in `__main__`."""

    def __init__(self, text):
        self.text = text


Found.__module__ = "__main__"


def find(prompt):
    return Found(prompt.text)


def tell(find):
    assert isinstance(find, Found)
    return find.text


finding = Pipeline("finding", [find, tell])


def large(prompt):
    return "x" * 20_000_000


def measured(large):
    return len(large)


heavy = Pipeline("heavy", [large, measured])


@agent
def printed(prompt):
    print("said by the agent")
    os.write(1, b"written by the agent\n")
    return prompt.text.upper()


loud = Pipeline("loud", [printed])


def burn(prompt):
    """A fixed amount of work for one core."""
    total = 0
    for n in range(6_000_000):
        total += n
    return total


burning = Pipeline("burning", [agent(name="burning", cpu=True)(burn)])


LINGER = ["sleep", "61.25"]


@agent(timeout_s=1.5)
def lingering(prompt):
    """Sleeps where no timeout reaches it, in a process of its own."""
    if prompt.text == "linger":
        subprocess.run(LINGER, check=False)
    return os.getpid()


lingers = Pipeline("lingers", [lingering])


@agent(setup=lambda: time.sleep(1.0), timeout_s=0.4, cpu=True)
async def late(prompt):
    return os.getpid()


starting = Pipeline("starting", [late])


@agent(timeout_s=None)
def forking(prompt):
    """Leaves a child of a child behind that has inherited whatever this process has open, and then may end."""
    if prompt.text != "none" and os.fork() == 0:
        os.fork()
        time.sleep(600)
        os._exit(0)
    if prompt.text == "exit":
        os._exit(4)
    return os.getpid()


forks = Pipeline("forks", [forking])


def noted(name):
    """A set-up that leaves a line where it ran."""

    def note():
        with open(os.environ["QUARK_BENCH_TEST_NOTES"], "a") as notes:
            print(name, os.getpid(), file=notes)

    return note


@agent(setup=noted("here"))
def here(prompt):
    return prompt.text


@agent(setup=noted("there"))
def there(here):
    return here


noting = Pipeline("noting", [here, there])


class Meeting:
    """Who waits in this process, until enough do."""

    def __init__(self):
        self.waiting = 0

    async def join(self, enough):
        self.waiting += 1
        while self.waiting < enough:
            await asyncio.sleep(0.01)
        return self.waiting


@agent(setup=Meeting, timeout_s=30)
async def met(prompt, call):
    return await call.ready.join(int(prompt.text))


meeting = Pipeline("meeting", [met])


class Turnstile:
    """Counts who is inside at once."""

    def __init__(self):
        self.inside = self.most = 0


@agent(setup=Turnstile, resources={"GPU": 1})
async def passed(prompt, call):
    gate = call.ready
    gate.inside += 1
    gate.most = max(gate.most, gate.inside)
    await asyncio.sleep(0.05)
    gate.inside -= 1
    return gate.most


bounded = Pipeline("bounded", [passed])


@agent(timeout_s=None)
async def tiring(prompt):
    """Stays as long as it is told."""
    await asyncio.sleep(float(prompt.text))
    return os.getpid()


staying = Pipeline("staying", [tiring])


@agent(retries=1, backoff_s=0)
def deadly_at_first(prompt, call):
    if call.attempt == 1 and prompt.text == "die":
        os._exit(3)
    time.sleep(0.1)
    return prompt.text.upper()


retried = Pipeline("retried", [deadly_at_first])
