"""What-if beside real runs in which the change was made."""

from pathlib import Path

import pytest
from bars import Bar, Row
from work import texts

from quark_bench import Arm, Dataset, bench

GATED = Path(__file__).parents[1] / "pipelines" / "gated.py"
ARMS = (Arm("one at a time", in_flight=1), Arm("eight at once", in_flight=8))
PROMPTS = texts(16)
WITHIN = 0.05
CHANGES = {
    "reasoning_50": {"reasoning": 0.5},
    "reasoning_144": {"reasoning": 1.44},
    "memory_90": {"memory": 3.0},  # it takes the place of retrieval on the critical path
}
"""Pipelines of gated.py by what made them of `base`."""
pytestmark = pytest.mark.timed


@pytest.fixture(scope="module")
def run_named(tmp_path_factory):
    """Runs a pipeline of gated.py inline."""

    def run(name):
        out = tmp_path_factory.mktemp(name)
        return bench(Dataset.of(PROMPTS), f"{GATED}:{name}", arms=ARMS, on="inline", warmup=2, scores=(), out=out)

    return run


@pytest.fixture(scope="module")
def base(run_named):
    return run_named("base")


@pytest.mark.parametrize("name", CHANGES)
def test_predictions_are_what_a_run_with_that_change_measures(name, base, run_named, tell, benchmark):
    factors = CHANGES[name]
    changed = benchmark.pedantic(lambda: run_named(name), rounds=1)
    missed = []
    for arm in (arm.name for arm in ARMS):
        predicted = base.what_if(factors, arm=arm)
        for measure, unit in (("p50_latency_s", "s"), ("throughput_per_s", "prompts/s")):
            case = ", ".join(f"{agent} x {factor:g}" for agent, factor in factors.items())
            pair = ([predicted[measure].then.value], f"measured, {arm}", [changed.measures[arm][measure].value])
            row = Row.of_pairs(f"what if {case}: {measure}", unit, *pair, Bar(1 + WITHIN, at_least=False))
            tell(row)
            if abs(row.ratio - 1) > WITHIN:
                missed.append(f"{row.case}, {row.beside}: {row.ratio:.3f}")
    assert not missed
