"""Arrivals check: whether prompts of an open load started as its schedule said, or the client could not keep up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import chi2

from quark_bench.arrivals import Arrivals, Shape
from quark_bench.stats import Floats
from quark_bench.trials import Trials, block_numbers, is_answered, numbers
from quark_bench.units import PER_SECOND, SECONDS

WINDOW = 2.0
"""Mean gaps in a window whose arrivals are counted: 500 windows for 1,000 prompts tell a Poisson stream's index of
dispersion to within 0.13 either way, and a generator whose draws repeat makes it several."""
FEWEST_WINDOWS = 10
LAG_S = 0.010
"""A busy machine's event loop is late by so much now and then, whatever the load."""
LAG_OF_GAP = 0.1
"""... and of rare prompts, a lag of a tenth of the mean gap leaves the pattern as it is,"""
LAG_OF_LATENCY = 0.01
"""... as one of a hundredth of the median latency leaves the latencies, of which it is part."""
LEAST_RATE = 0.95
"""Of the schedule's rate: below, load is missing that latencies cannot show."""


@dataclass(frozen=True, slots=True)
class ArrivalsCheck:
    """What became of an arm's schedule. Gaps are between the starts of one block in one session, each times the rate
    that was asked for at its moment, so that they are 1 on average also in a ramp.

    `drawn_per_s` is the rate of the schedule itself, which for Poisson arrivals is not just what was asked for.
    `gap_cv` is the gaps' standard deviation over their mean, `dispersion` the variance over the mean of the arrivals in
    windows of two mean gaps, which a client's stutter raises; beside it that of the schedule (`drawn`) and what the
    shape would give, for Poisson arrivals with the range of 95 % of schedules. `lag` is from due to start; `sent`
    latencies count from the start, by answered prompts. None is what there is too little of. `borders` counts gaps that
    are left out: between blocks, and, `continued` of them, where a later session went on with one.
    """

    arm: str
    asked: Arrivals
    prompts: int
    in_flight: int
    drawn_per_s: float | None
    achieved_per_s: float | None
    gap_cv: float | None
    expected_gap_cv: float
    dispersion: float | None
    drawn_dispersion: float | None
    expected_dispersion: float
    dispersion_range: tuple[float, float] | None
    lag_p50_s: float
    lag_p99_s: float
    lag_max_s: float
    sent_p50_s: float | None
    sent_p99_s: float | None
    most_under_way: int
    borders: int
    continued: int

    @property
    def most_lag_s(self) -> float:
        """The lag at 99 % up to which the client kept up."""
        return max(LAG_S, LAG_OF_GAP / self.asked.mean_rate_per_s, LAG_OF_LATENCY * (self.sent_p50_s or 0.0))

    @property
    def kept_up(self) -> bool:
        return not self.why

    @property
    def why(self) -> str:
        """Why the client could not keep up; empty where it did."""
        return "; ".join(self._reasons())

    def _reasons(self) -> Iterator[str]:
        if self.lag_p99_s > self.most_lag_s:
            yield f"1 % started over {SECONDS.format(self.lag_p99_s)} late"
        if self.achieved_per_s is not None and self.achieved_per_s < LEAST_RATE * (self.drawn_per_s or 0.0):
            yield f"{PER_SECOND.format(self.achieved_per_s)} of {PER_SECOND.format(self.drawn_per_s)}"

    @property
    def remedy(self) -> str:
        """What to do where the client could not keep up."""
        if self.most_under_way >= self.in_flight:
            return f"all {self.in_flight} in flight were taken: raise --in-flight, or lower --rate"
        return "add --workers, lower --rate, or free the machine of other work"

    def as_data(self) -> dict[str, Any]:
        """JSON-able data; the range as its two ends."""
        told = asdict(self) | {"asked": str(self.asked), "kept_up": self.kept_up, "why": self.why}
        return told | {"remedy": "" if self.kept_up else self.remedy, "most_lag_s": self.most_lag_s}


def check_arrivals(trials: Trials, arm: str, asked: Arrivals, in_flight: int) -> ArrivalsCheck | None:
    """What an arm's records say of its arrivals; None where there are none."""
    records = trials.records(["block", "chunk", "due_s", "start_s", "latency_s", "status"], arm)
    if records.empty:
        return None
    due_s, start_s, latency_s = (numbers(records, name) for name in ("due_s", "start_s", "latency_s"))
    pieces, rates = block_numbers(trials, arm), _rates(records, asked)
    streams = [(due_s[rows], start_s[rows], rates[rows]) for rows in _each(pieces)]
    gaps = [_unit_gaps(start, rate) for _, start, rate in streams]
    dispersion, windows = _dispersion(gaps)
    drawn_dispersion, _ = _dispersion([_unit_gaps(due, rate) for due, _, rate in streams])
    lag_s, answered = start_s - due_s, is_answered(records)
    sent_s = (latency_s - lag_s)[answered & np.isfinite(latency_s)]
    drawn, achieved = (_rate([stream[part] for stream in streams]) for part in (0, 1))
    is_poisson = asked.shape is Shape.POISSON
    return ArrivalsCheck(
        arm=arm,
        asked=asked,
        prompts=len(records),
        in_flight=in_flight,
        drawn_per_s=drawn,
        achieved_per_s=achieved,
        gap_cv=_variation(np.concatenate(gaps)),
        expected_gap_cv=1.0 if is_poisson else math.sqrt(asked.at_once - 1),
        dispersion=dispersion,
        drawn_dispersion=drawn_dispersion,
        expected_dispersion=1.0 if is_poisson else max(0.0, asked.at_once - WINDOW),
        dispersion_range=_poisson_range(windows) if is_poisson and windows >= FEWEST_WINDOWS else None,
        lag_p50_s=float(np.quantile(lag_s, 0.5)),
        lag_p99_s=float(np.quantile(lag_s, 0.99)),
        lag_max_s=float(lag_s.max()),
        sent_p50_s=float(np.quantile(sent_s, 0.5)) if len(sent_s) else None,
        sent_p99_s=float(np.quantile(sent_s, 0.99)) if len(sent_s) else None,
        most_under_way=max(_most_under_way(start_s[rows], (due_s + latency_s)[rows]) for rows in _each(pieces)),
        borders=len(streams) - 1,
        continued=len(streams) - records["block"].nunique(),
    )


def _each(pieces: Any) -> Iterator[Any]:
    """For each block of each session, which records are its."""
    return (pieces == piece for piece in np.unique(pieces))


def _rates(records: pd.DataFrame, asked: Arrivals) -> Floats:
    """The rate that was asked for when each record was due: by its rank in its block, which chunks are in order of."""
    ordered = records.sort_values(["block", "chunk", "due_s"], kind="stable")
    by_block = ordered.groupby("block")["due_s"]
    shares = ((by_block.cumcount() + 0.5) / by_block.transform("size")).reindex(records.index)
    return np.array([asked.rate_at(share) for share in shares])


def _unit_gaps(start_s: Floats, rates: Floats) -> Floats:
    """The gaps between starts, each times its rate: a stream of any rate as one of rate 1 (time rescaling, Cox and
    Lewis, The Statistical Analysis of Series of Events, 1966, section 3.3)."""
    order = np.argsort(start_s, kind="stable")
    return np.diff(start_s[order]) * rates[order][1:]


def _variation(gaps: Floats) -> float | None:
    return float(gaps.std(ddof=1) / gaps.mean()) if len(gaps) > 1 and gaps.mean() > 0 else None


def _dispersion(gaps: list[Floats]) -> tuple[float | None, int]:
    """Variance over mean of the arrivals in windows, and how many windows there are: index of dispersion of counts,
    Cox and Lewis 1966, section 4.3. Windows begin half a gap before the first arrival: regular ones fall inside."""
    counts = []
    for each in gaps:
        at = np.concatenate([[0.0], np.cumsum(each)]) + 0.5
        whole = int(at[-1] // WINDOW)
        counts.append(np.histogram(at, whole, (0.0, whole * WINDOW))[0] if whole else np.zeros(0))
    counted = np.concatenate(counts)
    if len(counted) < FEWEST_WINDOWS:
        return None, len(counted)
    return float(counted.var(ddof=1) / counted.mean()), len(counted)


def _poisson_range(windows: int) -> tuple[float, float]:
    """Where the index lies for 95 % of Poisson streams: (windows - 1) times it follows chi square, Cox and Lewis 1966,
    section 6.3."""
    low, high = (float(chi2.ppf(share, windows - 1)) / (windows - 1) for share in (0.025, 0.975))
    return low, high


def _rate(streams: list[Floats]) -> float | None:
    """Arrivals over the time in which they came, all blocks together."""
    spans_s = sum(float(moments_s.max() - moments_s.min()) for moments_s in streams)
    gaps = sum(len(moments_s) - 1 for moments_s in streams)
    return gaps / spans_s if spans_s > 0 else None


def _most_under_way(start_s: Floats, end_s: Floats) -> int:
    """At one moment; one that starts when another ends follows it."""
    moments_s = np.concatenate([end_s, start_s])
    steps = np.repeat([-1, 1], len(start_s))
    return int(np.cumsum(steps[np.argsort(moments_s, kind="stable")]).max(initial=0))
