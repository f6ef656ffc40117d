"""What a gate says that seeing a smaller change takes."""

import math

import pytest

from quark_bench.plan import Arm, make_plan
from quark_bench.rule import MARGIN, Change, Scale
from quark_bench.significance import prompts_needed
from quark_bench.weigh_gate import what_it_takes

ONCE = make_plan([Arm("baseline"), Arm("candidate")], 100, repeats=5)
TWICE_THE_MARGIN = math.expm1(2 * math.log1p(MARGIN))


def latency(mde, widest):
    return Change("latency", Scale.RATIO, 1.0, 0.9, 1.1, 0.5, mde, 100, 500, widest=widest)


def test_where_prompts_differ_the_most_it_takes_more_prompts_with_as_many_repeats():
    needed = prompts_needed(MARGIN, 0.3, 0.2, 5)
    assert needed > 100
    assert what_it_takes(latency(0.08, "prompts"), (0.3, 0.2), ONCE) == f"{needed} prompts with 5 repeats"


def test_it_takes_more_prompts_than_there_were_whatever_the_formula_says():
    assert what_it_takes(latency(0.06, "prompts"), (0.01, 0.01), ONCE) == "101 prompts with 5 repeats"


def test_without_components_errors_shrink_with_the_root_of_the_numbers():
    assert what_it_takes(latency(TWICE_THE_MARGIN, "prompts"), None, ONCE) == "400 prompts with 5 repeats"


@pytest.mark.parametrize("widest", ["blocks", "repeats"])
def test_where_the_machine_is_the_noise_it_takes_more_repeats(widest):
    assert what_it_takes(latency(TWICE_THE_MARGIN, widest), (0.3, 0.2), ONCE) == "20 repeats"
