"""Arrivals cells: how an open load came, written for people, the same for terminal and page."""

from __future__ import annotations

from collections.abc import Iterator

from quark_bench.arrivals import Shape
from quark_bench.arrivals_check import ArrivalsCheck
from quark_bench.report.sentences import plural
from quark_bench.units import PER_SECOND, SECONDS, significant

KEPT_UP, FELL_BEHIND = "kept up", "could not keep up"


def arrival_rows(check: ArrivalsCheck) -> Iterator[tuple[str, str, str]]:
    """Label, what was found, and what would be right."""
    drawn, asked = (PER_SECOND.format(each) for each in (check.drawn_per_s, check.asked.mean_rate_per_s))
    yield "rate", PER_SECOND.format(check.achieved_per_s), f"{drawn} drawn, {asked} asked"
    yield "lag, median", SECONDS.format(check.lag_p50_s), ""
    yield "lag, 99 %", SECONDS.format(check.lag_p99_s), f"at most {SECONDS.format(check.most_lag_s)}"
    yield "lag, maximum", SECONDS.format(check.lag_max_s), ""
    yield "variation of gaps", _number(check.gap_cv), f"{significant(check.expected_gap_cv)} if {_named(check)}"
    expected = f"{_number(check.drawn_dispersion)} drawn, {_expected(check)} if {_named(check)}"
    yield "index of dispersion", _number(check.dispersion), expected
    yield "latency from the start, median", SECONDS.format(check.sent_p50_s), "without lag"
    yield "latency from the start, 99 %", SECONDS.format(check.sent_p99_s), "without lag"


def verdict(check: ArrivalsCheck) -> str:
    """`kept up`, or `could not keep up`."""
    return KEPT_UP if check.kept_up else FELL_BEHIND


def headline(check: ArrivalsCheck) -> str:
    """`async, poisson, 20/s: kept up`; else why it did not and what to do."""
    told = "" if check.kept_up else f" ({check.why}); {check.remedy}"
    return f"{check.arm}, {check.asked}: {verdict(check)}{told}"


def lines(check: ArrivalsCheck) -> Iterator[str]:
    """The check in a few sentences, for a terminal."""
    rate, drawn = PER_SECOND.format(check.achieved_per_s), PER_SECOND.format(check.drawn_per_s)
    lag = [SECONDS.format(each) for each in (check.lag_p50_s, check.lag_p99_s, check.lag_max_s)]
    yield f"{rate} of {drawn}; lag {lag[0]} median, {lag[1]} at 99 %, {lag[2]} at most"
    cv, dispersion = _number(check.gap_cv), _number(check.dispersion)
    yield f"gaps vary by {cv} ({significant(check.expected_gap_cv)} expected)"
    yield f"index of dispersion {dispersion} ({_number(check.drawn_dispersion)} drawn, {_expected(check)} expected)"
    if left_out := notes(check):
        yield left_out


def notes(check: ArrivalsCheck) -> str:
    """What the check leaves out; empty for nothing."""
    if not check.borders:
        return ""
    continued = f", {check.continued} of them where a later session went on" if check.continued else ""
    return f"left out: {plural(check.borders, 'gap')} between blocks{continued}"


def _named(check: ArrivalsCheck) -> str:
    return f"bursts of {check.asked.at_once}" if check.asked.shape is Shape.BURST else str(check.asked.shape)


def _expected(check: ArrivalsCheck) -> str:
    """A number, or of a Poisson stream the range in which 95 % of them lie."""
    if check.dispersion_range is None:
        return significant(check.expected_dispersion)
    low, high = map(significant, check.dispersion_range)
    return f"{low} to {high}"


def _number(value: float | None) -> str:
    return "n/a" if value is None else significant(value)
