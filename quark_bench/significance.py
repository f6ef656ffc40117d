"""Significance: whether a change is one, how small a one would have been seen, and what seeing a smaller one takes.

Numbers in, numbers out; nothing here draws at random. Tests are one-sided: a change above 0 is for the worse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats as distributions

from quark_bench.stats import ALL_EQUAL, Floats, Groups, Level, group_means, levels_of_error, mean_interval

ALPHA = 0.01
"""Share of false alarms that a test is made for."""
POWER = 0.80
"""Share of true changes, as large as the smallest detectable one, that are found."""
LENIENCE = {"repeats": 5.0}
"""By level, how many times ALPHA its own test allows: there are few repeats, and a 99 % bound of five is 3.7 standard
errors away. Simulated, the rule gave 0 to 1 % false alarms so and still found +10 % in 80 of 100."""
FEWEST = 5
"""Prompts, and blocks where there are any, that a bound needs: with four, a 99 % bound is 4.5 standard errors away."""


@dataclass(frozen=True, slots=True)
class Tested:
    """A mean difference and what can be said of it.

    `low` is the lower bound that a test at ALPHA stands on, `high` lies as far above. `p` is the one-sided p-value,
    `mde` the smallest detectable difference, `widest` the level (prompts, blocks, repeats) whose error was the largest.
    None where there is no valid one, and `note` says why. `n` counts prompts, or whatever the first level is.
    """

    mean: float | None
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None
    mde: float | None = None
    widest: str = ""
    note: str = ""

    @property
    def all_equal(self) -> bool:
        """No pair differed: there is no interval, and no change either."""
        return self.note == ALL_EQUAL and self.mean == 0


def paired_test(differences: Any, groups: Mapping[str, Groups], clusters: Groups | None = None) -> Tested:
    """Whether the mean of paired differences is above 0, by the largest error of all levels in `groups`.

    For each level t = mean / SE with SE = s / sqrt(k) over the k means by group; the p-value is the largest of the
    levels', those of LENIENCE counted down by their factor, so that p <= ALPHA is: every level's own bound is above 0.
    The mean takes each group of the first level once. `clusters` numbers, for each pair, what its prompt shares with
    others (a document, a conversation): a level of its own, Miller 2024, arXiv 2411.00640, section 2.2.
    Where all pairs have one and the same difference there is no error to go by: the p-value is the sign test's then.
    Source: rule R8 of a simulation of gates on drifting machines; paired t, Student 1908.
    """
    given = np.asarray(differences, np.float64)
    if len(given) == 0:
        return Tested(None, 0, note="no pairs")
    first = next(iter(groups.values()))
    means = group_means(given, first)
    mean, n = float(means.mean()), len(means)
    counts = {name: len(np.unique(codes)) for name, codes in groups.items()}
    small = [name for name, count in counts.items() if name not in LENIENCE and count < FEWEST]
    if small:
        return Tested(mean, n, note=f"n too small: {FEWEST} {small[0]} needed, {counts[small[0]]} there")
    levels = [*levels_of_error(given, groups), *_clustered(means, first, clusters)]
    largest = max(levels, key=lambda level: level.se)
    if largest.se <= 1e-12 * max(1.0, abs(mean)):
        return Tested(mean, n, p=_sign_test(means), note=ALL_EQUAL)
    reach = max(_reach(level) for level in levels)
    return Tested(
        mean,
        n,
        low=mean - reach,
        high=mean + reach,
        p=max(_p_value(mean, level) for level in levels),
        mde=reach + float(distributions.norm.ppf(POWER)) * largest.se,
        widest=largest.name,
    )


def _clustered(means: Floats, prompts: Groups, clusters: Groups | None) -> list[Level]:
    """The error of the mean over prompts where prompts of a cluster vary together; none with fewer than 2 clusters."""
    if clusters is None:
        return []
    of_prompt = clusters[np.unique(prompts, return_index=True)[1]]
    found = mean_interval(means, groups=of_prompt)
    return [] if found.se is None else [Level("clusters", found.se, found.n - 1)]


def _reach(level: Level) -> float:
    """How far below the mean the level's own bound lies."""
    alpha = ALPHA * LENIENCE.get(level.name, 1.0)
    return float(distributions.t.ppf(1 - alpha, level.df)) * level.se


def _p_value(mean: float, level: Level) -> float:
    if level.se == 0:
        return 0.0 if mean > 0 else 1.0
    return float(distributions.t.sf(mean / level.se, level.df)) / LENIENCE.get(level.name, 1.0)


def _sign_test(means: Floats) -> float:
    """P of so many or more above 0 among those that are not 0, were both signs as likely. Source: Arbuthnot 1710."""
    above, below = int((means > 0).sum()), int((means < 0).sum())
    return float(distributions.binom.sf(above - 1, above + below, 0.5)) if above + below else 1.0


def mcnemar(worse: int, better: int) -> float:
    """One-sided mid-p of McNemar's test: `worse` pairs turned from good to bad, `better` the other way.

    P(X > worse) + P(X = worse) / 2, X binomial (worse + better, 1/2). Source: Fagerland, Lydersen and Laake 2013,
    BMC Medical Research Methodology 13:91; its type I error stays near the nominal one, the exact test's far below.
    """
    pairs = worse + better
    if pairs == 0:
        return 1.0
    return float(distributions.binom.sf(worse, pairs, 0.5) + distributions.binom.pmf(worse, pairs, 0.5) / 2)


def false_discovery(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted so that comparing each with q keeps the expected share of false alarms among all alarms
    at q. Source: Benjamini and Hochberg 1995, JRSS B 57, 289."""
    if not p_values:
        return []
    return [float(p) for p in distributions.false_discovery_control(np.asarray(p_values))]


def upper_bound_of_none(n: int) -> float:
    """Of a share that was 0 in n, the upper bound of its one-sided 95 % interval, about. Source: the rule of three,
    Hanley and Lippman-Hand 1983, JAMA 249, 1743."""
    return min(1.0, 3 / n)


def times_as_many(mde: float, wanted: float) -> float:
    """How many times as many observations it takes for `wanted` to become the smallest detectable difference: errors
    shrink with the square root of their number. Both on the same scale, logarithms for ratios."""
    return (mde / wanted) ** 2


def components(differences: Floats, prompts: Groups) -> tuple[float, float] | None:
    """The standard deviations between prompts and within one, from pair to pair, in the unit of `differences`.

    Method of moments: within^2 is the mean square within prompts, between^2 what the one between them is larger, over
    the pairs of a prompt, 0 where it is smaller. None without two prompts of which one has two pairs. Source: Searle,
    Casella and McCulloch, Variance Components, 1992, section 3.6, which has the formula for unequal numbers.
    """
    codes = np.unique(prompts, return_inverse=True)[1]
    pairs = np.bincount(codes)
    total, k = len(codes), len(pairs)
    if k < 2 or total == k:
        return None
    means = group_means(differences, prompts)
    within = float(np.square(differences - means[codes]).sum()) / (total - k)
    between = float(pairs @ np.square(means - differences.mean())) / (k - 1)
    a_prompt = (total - float(pairs @ pairs) / total) / (k - 1)
    return math.sqrt(max(0.0, between - within) / a_prompt), math.sqrt(within)


def prompts_needed(effect: float, between_sd: float, within_sd: float, repeats: int) -> int:
    """How many prompts, each repeated so often, make `effect` the smallest detectable change of a ratio: 0.05 is 5 %.

    The smallest n with (t + z)^2 (between^2 + within^2 / repeats) / n <= log(1 + effect)^2, t of n - 1 degrees of
    freedom at 1 - ALPHA and z at POWER; the standard deviations are those of log ratios. Source: Miller 2024, arXiv
    2411.00640, section 5, here one-sided and with t, as `paired_test` has it. Noise that blocks share is not in it.
    """
    variance = between_sd**2 + within_sd**2 / repeats
    power = float(distributions.norm.ppf(POWER))
    in_units = variance / math.log1p(effect) ** 2
    n = max(FEWEST, math.floor((float(distributions.norm.ppf(1 - ALPHA)) + power) ** 2 * in_units))
    while (float(distributions.t.ppf(1 - ALPHA, n - 1)) + power) ** 2 * in_units > n:
        n += 1
    return n


def minimum_ratio(mde: float | None) -> float | None:
    """A smallest detectable difference of logarithms as a share: 0.05 is 5 %."""
    return None if mde is None else math.expm1(min(709.0, mde))
