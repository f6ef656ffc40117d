"""Agents whose outputs may be kept, one of which leaves a line for every call."""

import asyncio
import os
from pathlib import Path

from quark_bench import Pipeline, agent
from quark_bench.agent_code import agent_hashes
from quark_bench.cache import SqliteCache
from quark_bench.dataset import Prompt
from quark_bench.execute.caching import Caching
from quark_bench.execute.deadlines import Deadlines
from quark_bench.execute.threads import Threads
from quark_bench.execute.trial import Bench, Case, Wired, run_trial
from quark_bench.plan import Strategy

LOG = Path(os.environ.get("QUARK_BENCH_TEST_LOG", os.devnull))


@agent(cache=True)
async def asked(prompt):
    with LOG.open("a") as log:
        log.write(f"{prompt.text}\n")
    await asyncio.sleep(0.05)
    return {"found": prompt.text.upper()}


@agent(cache=True)
def weighed(asked, call):
    return [asked["found"], call.seed % 100]


@agent
async def told(weighed):
    return f"{weighed[0]}!"


pipeline = Pipeline("cached", [asked, weighed, told])


def answered_at_once(path, texts):
    """Ask all texts at once, one prompt each; records, spans and the counts of the cache in that file."""

    async def made():
        cache = SqliteCache(path)
        caching = Caching(cache, agent_hashes(pipeline))
        wired, bench = Wired(pipeline), Bench("here:1", Threads(), Deadlines(), caching=caching)
        cases = [Case(Prompt(f"p-{n}", text), 0, 7, "run") for n, text in enumerate(texts)]
        ended = await asyncio.gather(*(run_trial(wired, case, Strategy.PARALLEL, bench) for case in cases))
        cache.close()
        return [each.record for each in ended], [each.spans for each in ended], caching.counts

    return asyncio.run(made())
