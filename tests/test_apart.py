import time

import pytest

from quark_bench import Dataset, Pipeline, agent
from quark_bench.errors import ClusterError, ExecutionError
from quark_bench.execute import Consumption, Setting, Work
from quark_bench.execute.apart import Apart
from quark_bench.execute.caching import CacheCounts
from quark_bench.execute.granularity import Costs
from quark_bench.execute.inline import Inline
from quark_bench.plan import Arm, Block, Granularity, Strategy
from quark_bench.user_code import pack_pipeline

ARMS = {name: Arm(name, Strategy.PARALLEL, 2) for name in ("baseline", "candidate")}
BY_CHUNK = Setting(Granularity.CHUNK, 2)


def work(**pipelines):
    shipments = {name: pack_pipeline(each) for name, each in pipelines.items()}
    return Work("key", 0, Dataset.of(["one", "two", "three"]).prompts, ARMS, shipments)


def saying(text):
    @agent
    async def answer(prompt):
        return text

    return Pipeline("p", [answer])


class Told:
    """An executor that says what it was told, and what it is said to have used."""

    costs = Costs(hop_s=1.0, task_s=1.0, processes=1, cores=1)

    def __init__(self, name, heard, cpu_s=0.0, peak_memory_bytes=0, fault=None):
        self.name, self.heard, self.fault = name, heard, fault
        self.cpu_s, self.peak_memory_bytes = cpu_s, peak_memory_bytes
        self.drain = None

    def __enter__(self):
        self.heard.append(f"{self.name} opened")
        if self.fault:
            raise self.fault
        return self

    def __exit__(self, *_):
        self.heard.append(f"{self.name} closed")

    def prepare(self, work):
        self.heard.append(f"{self.name} prepared {sorted(work.arms)} {sorted(work.shipments)}")

    def run(self, block, setting, finished=()):
        self.heard.append(f"{self.name} ran {block.arm} but for {sorted(finished)}")
        yield f"batch of {self.name}"

    def consumption(self):
        self.heard.append(f"{self.name} read")
        return Consumption(time.process_time() + self.cpu_s, self.peak_memory_bytes, frozenset({self.name}))

    def describe(self):
        return {"on": "local", "workers": 2}

    def breakers(self, since_s):
        return [{"arm": self.name}]

    def cache_counts(self):
        return CacheCounts(hits=1)


@pytest.fixture
def heard():
    return []


@pytest.fixture
def apart(heard):
    return Apart({name: Told(name, heard, cpu_s=n, peak_memory_bytes=n) for n, name in enumerate(ARMS, 5)})


def test_each_arm_runs_on_its_own_executor_with_its_own_pipeline_only(apart, heard):
    given = work(baseline=saying("a"), candidate=saying("b"))
    with apart as entered:
        assert entered is apart
        apart.prepare(given)
        assert list(apart.run(Block(0, "candidate", 0, 0, 3), BY_CHUNK, {1})) == ["batch of candidate"]
        assert list(apart.run(Block(1, "baseline", 0, 0, 3), BY_CHUNK)) == ["batch of baseline"]
    assert heard == [
        "baseline opened",
        "candidate opened",
        "baseline prepared ['baseline'] ['baseline']",
        "candidate prepared ['candidate'] ['candidate']",
        "candidate ran candidate but for [1]",
        "baseline ran baseline but for []",
        "candidate closed",
        "baseline closed",
    ]


def test_both_arms_give_what_their_own_pipelines_answer():
    with Apart({name: Inline() for name in ARMS}) as apart:
        apart.prepare(work(baseline=saying("then"), candidate=saying("now")))
        answers = {
            name: [each for batch in apart.run(Block(n, name, 0, 0, 3), BY_CHUNK) for each in batch.records["answer"]]
            for n, name in enumerate(ARMS)
        }
    assert answers == {"baseline": ["then"] * 3, "candidate": ["now"] * 3}


def test_an_executor_that_does_not_open_closes_those_that_did(heard):
    fault = ClusterError("no more ports")
    executors = {"baseline": Told("baseline", heard), "candidate": Told("candidate", heard, fault=fault)}
    with pytest.raises(ClusterError, match="no more ports"), Apart(executors):
        pass
    assert heard == ["baseline opened", "candidate opened", "baseline closed"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ExecutionError])
def test_all_are_closed_whatever_happens(apart, heard, error):
    with pytest.raises(error), apart:
        raise error
    assert heard[-2:] == ["candidate closed", "baseline closed"]


def test_one_drain_ends_all(apart):
    inline = {name: Inline() for name in ARMS}
    apart = Apart(inline)
    apart.drain.begin()
    assert all(each.drain.begun for each in inline.values())


def test_a_set_up_that_fails_names_the_arm():
    def missing():
        raise FileNotFoundError("model.bin")

    @agent(setup=missing)
    async def answer(prompt):
        return 1

    with (
        pytest.raises(ExecutionError, match=r"^baseline: the set-up of agent 'answer' failed: .*model\.bin"),
        Apart({name: Inline() for name in ARMS}) as apart,
    ):
        apart.prepare(work(baseline=Pipeline("p", [answer]), candidate=saying("x")))


def test_peak_memory_is_that_of_the_arm_that_worked_last(apart):
    peaks = {}
    for name in ("candidate", "baseline", "candidate"):
        list(apart.run(Block(0, name, 0, 0, 3), BY_CHUNK))
        peaks[name] = apart.consumption().peak_memory_bytes
    assert peaks == {"baseline": 5, "candidate": 6}


def test_the_arm_that_worked_is_read_first_as_reading_forgets_this_process_s_peak(apart, heard):
    list(apart.run(Block(0, "candidate", 0, 0, 3), BY_CHUNK))
    apart.consumption()
    assert heard[-2:] == ["candidate read", "baseline read"]


def test_cpu_seconds_are_those_of_all_processes_and_this_one_counts_once(apart):
    before_s = time.process_time()
    read = apart.consumption()
    assert 5 + 6 + before_s - 0.05 < read.cpu_s < 5 + 6 + time.process_time() + 0.05
    assert read.processes == {"baseline", "candidate"}


def test_what_is_told_of_all_is_told_of_each_arm(apart):
    assert apart.describe() == {"on": "local", "workers": 2, "apart": True}
    assert [each["arm"] for each in apart.breakers(0.0)] == ["baseline", "candidate"]
    assert apart.cache_counts().hits == 2
    assert apart.costs.hop_s == 1.0
