"""What a sweep found, as people read it."""

import io
from dataclasses import replace
from xml.etree import ElementTree

from rich.console import Console

from quark_bench.measures import Measure
from quark_bench.report.sweep_figure import sweep_svg
from quark_bench.report.sweep_page import render_sweep
from quark_bench.report.sweep_table import headlines, notes, sweep_table
from quark_bench.search import parse_levels
from quark_bench.slo import judged_share, parse_slo
from quark_bench.stats import wilson
from quark_bench.sweep_result import LevelResult, Load, SweepResult
from quark_bench.units import PER_SECOND, SECONDS, SHARE, Direction

from .simulated_runs import MARKUP

SLOS = ("latency_s<2@90%", "Reasoning.first_token_s<500ms@95%", "cost_usd<0.01@50%")
SLOTS = 4


def level(in_flight, slos=SLOS[:1], failed=0, prompts=200):
    """A level as a server of SLOTS slots would leave it, fewer trials keeping to objectives beyond them."""
    rate, latency_s = 1_234.0 * min(in_flight, SLOTS), 0.1234 * max(1.0, in_flight / SLOTS)
    kept = prompts if in_flight <= SLOTS else prompts * 0.91 if in_flight <= 6 else prompts * 0.3
    measures = [
        *(Measure(f"{name}_per_s", rate, PER_SECOND, Direction.HIGHER, 0.9 * rate, 1.1 * rate) for name in RATES),
        *(Measure(f"{name}_latency_s", latency_s, SECONDS, Direction.LOWER, latency_s, latency_s) for name in TIMES),
    ]
    judged = tuple(judged_share(parse_slo(text), "async", wilson(kept, prompts)) for text in slos)
    named = {each.name: each for each in measures}
    return LevelResult(in_flight, f"{in_flight}-in-flight/run", prompts, prompts, failed, named, judged)


RATES, TIMES = ("throughput", "goodput"), ("mean", "p50", "p95")


def found(*levels, slos=SLOS[:1], title="support over few.jsonl", asked="1..64"):
    told = tuple(level(each, slos) if isinstance(each, int) else each for each in levels)
    return SweepResult(title, Load.IN_FLIGHT, parse_levels(asked, "", whole=True), slos, told)


def lines(result):
    written = io.StringIO()
    Console(width=80, file=written).print(sweep_table(result))
    return written.getvalue().splitlines()


def test_the_table_fits_80_columns_and_parts_no_number_from_its_unit():
    for slos in ((), SLOS[:1], SLOS[:2], SLOS):
        shown = lines(found(1, 2, 4, 8, 6, 5, slos=slos))
        assert max(map(len, shown)) <= 80
        assert not any(line.strip() in ("%", "ms", "s") for line in shown)
        assert all(f"{text}" in "".join(shown) for text in slos)


def test_levels_are_told_in_their_order_with_verdicts_by_whole_intervals():
    told = [line.split() for line in lines(found(1, 2, 4, 8, 6, 5)) if line[:9].strip().isdigit()]
    assert [(line[0], line[-1]) for line in told] == [
        *((name, "met") for name in "124"), *((name, "undecided") for name in "56"), ("8", "missed")
    ]  # fmt: skip


def test_the_highest_load_and_the_knee_are_sentences():
    highest, knee = headlines(found(1, 2, 4, 8, 6, 5))
    assert highest.startswith("Highest load that meets the objectives: 4 in flight, with 4,936 req/s of goodput")
    assert highest.endswith("at 5 in flight they are undecided")
    assert knee == "Knee: 4 in flight, where throughput over latency is largest"
    assert headlines(found(1, 2, 4, slos=(), asked="1,2,4")) == [
        "Knee: not within these levels; throughput over latency is largest at the highest, 4"
    ]
    assert "the lowest, 8 in flight, misses them" in headlines(found(8, asked="8..9"))[0]
    assert headlines(found()) == ["Nothing was measured yet"]


def test_what_stands_in_the_way_is_told():
    told = " ".join(notes(found(4, level(6), level(64, failed=20))))
    assert "Too few prompts for 64 in flight" in told
    assert "6 (3,458 prompts)" in told  # of 91 %, whose interval leaves 90 % there
    assert "10.0 % at 64" in told


def test_a_level_at_which_the_client_could_not_keep_up_is_not_judged():
    late = found(1, 2, replace(level(4), behind="starts lag by 1 s"))
    assert late.history == {1: True, 2: True, 4: None}
    assert "At 4 in flight the client could not keep up" in " ".join(notes(late))
    assert SweepResult.of_data(late.as_data()) == late


def test_what_users_wrote_starts_nothing_on_the_page():
    slo = f"{'a' * 30}.latency_s<2@90%"
    page = render_sweep(replace(found(1, 2, 4, title=MARKUP), slos=(slo,)))
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("<script") == 0
    assert "default-src &#39;none&#39;" in page


def test_the_figure_marks_the_knee_and_the_highest_load():
    drawn = sweep_svg(found(1, 2, 4, 8, 6, 5))
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    for text in ("knee", "objectives met up to here", "goodput", "latency over throughput"):
        assert text in drawn
    assert sweep_svg(found(1, 2, 4, 8, 6, 5)) == drawn


def test_shares_have_their_unit():
    assert level(4).objectives[0].unit is SHARE
