"""What-if beside real runs in which the change was made."""

from itertools import count
from pathlib import Path

import pytest
from bars import BUSY_EXCESS, Bar, Row
from work import texts

from quark_bench import Arm, Dataset, bench

GATED = Path(__file__).parents[1] / "pipelines" / "gated.py"
ARMS = {"one at a time": (Arm("one", in_flight=1), 4), "eight at once": (Arm("eight", in_flight=8), 24)}
"""Each with its number of prompts."""
MEASURES = {"p50_latency_s": ("s", min), "throughput_per_s": ("prompts/s", max)}
WITHIN = 0.05
ROUNDS = 2
CHANGES = {
    "reasoning_50": {"reasoning": 0.5},
    "reasoning_144": {"reasoning": 1.44},
    "memory_90": {"memory": 3.0},  # it takes the place of retrieval on the critical path
}
"""Pipelines of gated.py by what made them of `base`."""
pytestmark = pytest.mark.timed


@pytest.fixture(scope="module")
def run_named(tmp_path_factory):
    """Runs a pipeline of gated.py inline, in one arm."""
    numbers = count()

    def run(name, arm, prompts):
        out = tmp_path_factory.mktemp(f"run-{next(numbers)}")
        options = {"arms": [arm], "on": "inline", "warmup": 1, "scores": (), "out": out}
        return bench(Dataset.of(texts(prompts)), f"{GATED}:{name}", **options)

    return run


@pytest.fixture(scope="module")
def rounds(run_named):
    """By round and arm, a run of `base` and, beside it, one of every change."""
    names = ("base", *CHANGES)
    return [{how: {name: run_named(name, *arm) for name in names} for how, arm in ARMS.items()} for _ in range(ROUNDS)]


@pytest.mark.parametrize("name", CHANGES)
def test_predictions_are_what_a_run_with_that_change_measures(name, rounds, tell, benchmark):
    """Of each side the best round: other work on the machine only ever adds."""
    changed = ", ".join(f"{agent} x {factor:g}" for agent, factor in CHANGES[name].items())
    found = benchmark.pedantic(lambda: _best(name, rounds), rounds=1)
    for (how, measure), (predicted, measured) in found.items():
        case, bar = f"what if {changed}: {measure}", Bar(1 + WITHIN, at_least=False)
        tell(Row.of_pairs(case, MEASURES[measure][0], [predicted], f"measured, {how}", [measured], bar))
    off = {key: predicted / measured - 1 for key, (predicted, measured) in found.items()}
    assert {key: error for key, error in off.items() if abs(error) > BUSY_EXCESS * WITHIN} == {}


def _best(name, rounds):
    """By arm and measure: what was predicted, and what was measured."""
    found = {}
    for how in ARMS:
        predicted = [runs[how]["base"].what_if(CHANGES[name]) for runs in rounds]
        measured = [runs[how][name].measures[runs[how][name].arms[0]] for runs in rounds]
        for measure, (_, best) in MEASURES.items():
            values = (each[measure].then.value for each in predicted), (each[measure].value for each in measured)
            found[how, measure] = tuple(map(best, values))
    return found
