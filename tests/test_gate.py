"""A gate: two sides in one job, in interleaved blocks, and a verdict; here in this process, where it takes moments."""

import asyncio
import json

import pytest

from quark_bench import Dataset, Pipeline, Prompt, Run, agent, bench, store
from quark_bench.changes import ARMS
from quark_bench.errors import RunInterrupted, UsageError
from quark_bench.gate import FEWEST_BLOCK_PAIRS, gate
from quark_bench.gate_result import GateResult
from quark_bench.measuring import Silent
from quark_bench.rule import Verdict

PROMPTS = 8
FAST = {"on": "inline", "granularity": "chunk", "in_flight": 1, "repeats": 1, "warmup": 2, "scores": ["exact"]}


def assistant(*, look_s=0.004, aside_s=0.001, wrong=(), fails=(), name="assistant"):
    """Looks things up, something else beside it, and echoes the prompt; some prompts wrong, or not at all."""

    @agent
    async def look(prompt):
        await asyncio.sleep(look_s)

    @agent
    async def aside(prompt):
        await asyncio.sleep(aside_s)

    @agent
    async def reply(prompt, look, aside):
        if prompt.id in fails:
            raise ValueError("no idea")
        return "wrong" if prompt.id in wrong else prompt.text

    return Pipeline(name, [look, aside, reply])


def eight_prompts():
    return Dataset(Prompt(f"p-{n}", f"text {n}", reference=f"text {n}") for n in range(PROMPTS))


@pytest.fixture
def prompts():
    return eight_prompts()


@pytest.fixture(scope="module")
def null(tmp_path_factory):
    """The same code on both sides, and an objective that it cannot reach."""
    slos = ["p50_latency_s<1ms", "baseline.p50_latency_s<1ms", "latency_s<60@50%"]
    return gate(eight_prompts(), assistant(), out=tmp_path_factory.mktemp("null"), slos=slos, **FAST)


@pytest.fixture
def gated(prompts, tmp_path):
    """`gated(candidate, against, **options)` in a folder of its own."""

    def made(candidate, against=None, **options):
        return gate(prompts, candidate, against=against, out=tmp_path, **FAST | options)

    return made


def of(found, measure):
    return next(each for each in found.result.judged if each.measure == measure)


# -- verdicts


def test_a_slower_candidate_regresses_is_measured_twice_and_its_agent_is_named(gated):
    found = gated(assistant(look_s=0.03, aside_s=0.008), assistant(look_s=0.01, aside_s=0.008))
    assert found.result.verdict is Verdict.REGRESSED
    assert found.result.exit_code == 1
    latency = of(found, "latency")
    assert 1.5 < latency.change.low < latency.change.worse < latency.change.high
    assert latency.again is not None
    assert found.result.measurements == 2
    assert [each.change.measure for each in found.result.agents if each.slower] == ["look"]
    assert found.line.startswith("regressed against pipeline assistant: latency ")


def test_an_agent_off_the_critical_path_may_be_slower_and_is_named(gated):
    found = gated(assistant(look_s=0.02, aside_s=0.008), assistant(look_s=0.02, aside_s=0.004))
    assert found.result.verdict is not Verdict.REGRESSED
    assert [each.change.measure for each in found.result.agents if each.slower] == ["aside"]


def test_wrong_answers_are_told_with_their_prompts(gated):
    found = gated(assistant(wrong={f"p-{n}" for n in range(7)}), assistant(), chaos="look: delay=5ms@1")
    exact = of(found, "exact")
    assert (exact.verdict, exact.change.baseline, exact.change.candidate) == (Verdict.REGRESSED, 1.0, 1 / PROMPTS)
    assert set(exact.change.prompts) == {f"p-{n}" for n in range(7)}
    assert found.result.conditions == "chaos (look: delay 5 ms)"
    assert "7 prompts answered differently: p-0, p-1, p-2, p-3, p-4 and 2 more" in found.result.findings


def test_a_candidate_that_answers_nothing_regresses_although_no_latency_can_be_compared(gated):
    found = gated(assistant(fails={f"p-{n}" for n in range(PROMPTS)}), assistant())
    assert of(found, "failures").verdict is Verdict.REGRESSED
    assert of(found, "latency").verdict is Verdict.NOT_JUDGED
    assert found.result.exit_code == 1


def test_where_both_sides_answer_nothing_nothing_passes(gated):
    nobody = {f"p-{n}" for n in range(PROMPTS)}
    found = gated(assistant(fails=nobody), assistant(fails=nobody))
    assert of(found, "failures").why == "every trial failed on both sides"
    assert found.result.exit_code == 3


def test_what_differs_in_no_pair_passes_and_too_few_prompts_are_no_reason_to_be_unsure(prompts, tmp_path):
    found = gate(prompts[:3], assistant(), out=tmp_path, **FAST)
    assert of(found, "failures").why == "equal in every pair"
    assert of(found, "latency").verdict is Verdict.NOT_JUDGED
    assert of(found, "latency").why.startswith("n too small: 5 prompts needed")
    assert found.result.exit_code == 0


def test_an_objective_that_the_candidate_misses_decides_the_exit_code(null):
    assert null.result.slos_missed == ("p50_latency_s<1ms", "baseline.p50_latency_s<1ms")
    assert "latency_s<60@50% met: 100 % [67.6 to 100 %] of the trials" in null.result.findings
    assert null.result.exit_code == 1


# -- how it is measured


def test_repeats_grow_until_there_are_enough_pairs_of_blocks_and_the_sides_take_turns(null):
    assert not any("answered differently" in told for told in null.result.findings)
    blocks = null.run.manifest["blocks"]
    assert len(blocks) == 2 * null.result.blocks >= 2 * FEWEST_BLOCK_PAIRS
    order = [arm for arm, *_ in blocks]
    assert order[:8] == ["baseline", "candidate", "candidate", "baseline"] * 2
    assert len(set(null.run.manifest["granularity"]["chunk_size"].values())) == 1
    assert f"{null.result.repeats} repeats instead of 1, for enough pairs of blocks" in null.result.findings


def test_a_gate_of_the_same_code_tells_the_noise_and_how_often_the_rule_would_have_alarmed(null):
    assert null.result.kind == "null"
    assert null.result.null.tries == 1_000
    assert null.result.null.once < 0.1
    assert 0.5 < null.result.noise < 2


def test_its_result_is_kept_with_the_run_and_told_again(null):
    kept = Run.open(null.run.path).manifest["gate"]
    assert GateResult.of_data(json.loads(json.dumps(kept))) == null.result
    assert "Candidate against baseline" in null.run.report().read_text()
    assert "latency" in null._repr_html_()


def test_agents_that_one_side_lacks_are_told(gated):
    @agent
    async def reply(prompt):
        await asyncio.sleep(0.004)
        return prompt.text

    found = gated(Pipeline("small", [reply]), assistant())
    assert "agents differ: only the baseline has look, aside" in found.result.findings


# -- stored runs


def test_a_stored_run_shows_a_trend_and_decides_only_where_that_is_wanted(gated, prompts, tmp_path):
    stored = bench(prompts, assistant(), arms=["async"], **FAST | {"repeats": 3}, out=tmp_path)
    slow = assistant(look_s=0.02)
    trend = gated(slow, stored.path, repeats=3)
    assert (trend.result.verdict, trend.result.exit_code) == (Verdict.INCONCLUSIVE, 3)
    assert any("a trend, no verdict" in told for told in trend.result.findings)
    assert of(trend, "throughput").verdict is Verdict.NOT_JUDGED
    decided = gated(slow, stored.path, repeats=3, allow_stored=True)
    assert decided.result.exit_code == 1
    assert of(decided, "latency").change.worse > 2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scores": []}, "the scorers changed"),
        ({"in_flight": 2}, "it has no arm that ran parallel with 2 in flight"),
        ({"chaos": "look: error=0.1"}, "the chaos changed"),
    ],
)
def test_a_stored_run_of_other_conditions_is_not_comparable(changes, told, gated, prompts, tmp_path):
    stored = bench(prompts, assistant(), arms=["async"], **FAST, out=tmp_path)
    with pytest.raises(UsageError, match=f"not comparable: {told}"):
        gated(assistant(), stored.path, **changes)


def test_a_stored_run_of_other_prompts_is_not_comparable(gated, prompts, tmp_path):
    stored = bench(prompts[:5], assistant(), arms=["async"], **FAST, out=tmp_path)
    with pytest.raises(UsageError, match="the data set changed"):
        gated(assistant(), stored.path)


def test_a_commit_is_measured_in_processes_of_its_own_only(gated):
    for elsewhere in ("inline", "tcp://127.0.0.1:1"):
        with pytest.raises(UsageError, match="use --on local"):
            gated("tests/pipelines/waits.py:layers", "HEAD", on=elsewhere)


# -- going on


def test_a_gate_that_was_killed_before_its_verdict_gets_one(gated, tmp_path):
    sides = assistant(), assistant()
    found = gated(*sides)
    store.write_manifest(found.run.path, {k: v for k, v in found.run.manifest.items() if k != "gate"})
    again = gated(*sides, resume="last")
    assert again.result.judged[0].change.pairs == found.result.judged[0].change.pairs
    with pytest.raises(UsageError, match="is complete"):
        gated(*sides, resume="last")


class Interrupted(Silent):
    """Ends a measurement, the first or the one that confirms, in a block."""

    def __init__(self, measurement, block):
        self.measurement, self.block = measurement, block

    def began(self, plan, dashboard):
        self.measurement -= 1

    def advanced(self, batch):
        if self.measurement < 0 and batch.block % 32 == self.block:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("measurement", "block"), [(0, 0), (0, 31), (1, 9)])
def test_a_gate_goes_on_and_measures_both_sides_of_a_pair_in_one_session(measurement, block, gated, tmp_path):
    sides = assistant(look_s=0.02), assistant()
    with pytest.raises(RunInterrupted, match="quark-bench gate --resume"):
        gated(*sides, watcher=Interrupted(measurement, block))
    found = gated(*sides, resume="last")
    records = found.run.records
    assert found.result.verdict is Verdict.REGRESSED
    assert found.result.measurements == 2
    assert len(records) == 2 * PROMPTS * found.run.manifest["repeats"]
    assert not records.duplicated(["arm", "repeat", "prompt_id"]).any()
    for pair in range(0, len(found.run.manifest["blocks"]), len(ARMS)):
        both = records[records["block"].isin(range(pair, pair + len(ARMS)))]
        assert both["session"].nunique() == 1
    assert of(found, "latency").change.pairs == PROMPTS * found.result.repeats


def test_only_a_gate_is_continued_as_one(gated, prompts, tmp_path):
    stored = bench(prompts, assistant(), arms=["async"], **FAST, out=tmp_path)
    with pytest.raises(UsageError, match="is no gate; continue it with: quark-bench run --resume"):
        gated(assistant(), resume=stored.path)
