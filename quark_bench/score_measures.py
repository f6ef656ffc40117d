"""Score measures: what the scores of an arm amount to, and, where prompts were repeated, how steady they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import comb

from quark_bench import stats
from quark_bench.dataset import Dataset, Prompt
from quark_bench.errors import UsageError
from quark_bench.significance import components
from quark_bench.stats import Floats, Groups, Interval
from quark_bench.trials import SCORE_PREFIX, agent_of, is_answered, numbers
from quark_bench.units import SCORE, SHARE, Direction, Unit

OVERALL, EXACT, BOUNDS = "overall", "exact", ("latency", "cost")
"""Names of scorers: all others' mean, the one that asks for a wording, and those that do not read the answer."""
PASSES = (2, 5, 10)
"""Of how many trials it is told whether any passes, and whether all do, beside all that there are."""
NO_PASSES = "it is not pass or fail; give it a threshold"
NO_CLUSTERS = "its prompts come in clusters, and the prompt file is not at hand unchanged"
_SPREADS = ("_within_sd", "_between_sd")
_ENDING = re.compile(r"_(answered|scored|majority|within_sd|between_sd|pass_(at|all)_\d+)$")


def score_names(scorers: Iterable[str], repeats: int) -> Iterator[str]:
    """The names of the measures of these scores, known before anything has run."""
    for scorer in scorers:
        yield from (f"{SCORE_PREFIX}{scorer}{ending}" for ending in _endings(repeats))


def _endings(repeats: int) -> Iterator[str]:
    yield from ("", "_answered", "_scored")
    for k in numbers_of_trials(repeats):
        yield from (f"_pass_at_{k}", f"_pass_all_{k}")
    if repeats > 1:
        yield from ("_majority", *_SPREADS)


def numbers_of_trials(repeats: int) -> tuple[int, ...]:
    """The k of pass@k and pass^k that a run of so many repeats has; of one repeat both are the score itself."""
    return tuple(sorted({k for k in (*PASSES, repeats) if 1 < k <= repeats}))


def about_score(name: str) -> tuple[Unit, Direction]:
    """The unit of a score's measure, and which way it improves."""
    if name.endswith("_scored"):
        return SHARE, Direction.HIGHER
    directions = {"_within_sd": Direction.LOWER, "_between_sd": Direction.NEITHER}
    return SCORE, next((each for end, each in directions.items() if name.endswith(end)), Direction.HIGHER)


@dataclass(frozen=True, slots=True)
class Repeated:
    """How trials go together: each prompt was run `repeats` times; by its id, `clusters` tells what it shares with
    others, a document or a conversation, and None that prompts are independent."""

    repeats: int
    clusters: Mapping[str, str] | None = None


def clusters_in(prompts: Iterable[Prompt], field: str) -> dict[str, str]:
    """By prompt id, its value in that field of the metadata, or its category; nothing for a prompt without one."""
    values = ((each.id, each.category if field == "category" else each.metadata.get(field)) for each in prompts)
    return {prompt_id: str(value) for prompt_id, value in values if value is not None}


def clusters_of(dataset: Dataset, field: str | None) -> dict[str, str] | None:
    """The same of a data set; None where no field is named. Raises UsageError where no prompt has it."""
    if field is None:
        return None
    found = clusters_in(dataset, field)
    if not found:
        raise UsageError(f"--clusters {field}: no prompt has it; name a column of the prompt file, or category")
    return found


def measure_score(scored: pd.DataFrame, scorer: str, how: Repeated) -> dict[str, Interval]:
    """All measures of one scorer, from records with the columns `status, prompt_id` and its own.

    Intervals are clustered by `how.clusters`, or else by prompt. A failure counts as zero in the score and as not
    passed; `_answered` leaves failures out. What could not be judged is left out everywhere, and `_scored` tells the
    share of the answered records that has a score.
    """
    name = SCORE_PREFIX + scorer
    answered, given = is_answered(scored), numbers(scored, name)
    prompts = pd.factorize(scored["prompt_id"])[0].astype(np.int64)
    groups = _groups(scored["prompt_id"], prompts, how)
    as_zero = score_or_zero(scored, scorer)
    found = {
        "": _mean(as_zero, np.isfinite(as_zero), groups),
        "_answered": _mean(given, np.isfinite(given) & answered, groups),
        "_scored": _mean(np.isfinite(given).astype(np.float64), answered, groups),
    }
    if how.repeats > 1:
        found |= _repeated(as_zero, prompts, groups, how.repeats)
    if how.clusters is not None and not how.clusters:
        found = {ending: Interval(each.value, None, None, each.n, NO_CLUSTERS) for ending, each in found.items()}
    return {f"{name}{ending}": interval for ending, interval in found.items()}


def _groups(prompt_ids: pd.Series[str], prompts: Groups, how: Repeated) -> Groups | None:
    """What records are not independent by; None where there is nothing. A prompt in no cluster is one by itself."""
    clusters = how.clusters
    if clusters is None:
        return prompts if how.repeats > 1 else None
    named = prompt_ids.astype(str).map(lambda name: clusters.get(name, f"\0{name}"))
    return pd.factorize(named)[0].astype(np.int64)


def score_or_zero(records: pd.DataFrame, scorer: str) -> Floats:
    """The scores by that scorer, 0 for a failed record. NaN for one that could not be judged, or is not to be by it.

    What an agent's output scored stands whatever became of the record: its scorer has seen whether the agent failed.
    """
    given = numbers(records, SCORE_PREFIX + scorer)
    if agent_of(scorer) is not None:
        return given
    return np.where(is_answered(records) | np.isnan(given), given, 0.0)


def _mean(values: Floats, counted: NDArray[np.bool_], groups: Groups | None) -> Interval:
    return stats.mean_interval(values[counted], groups=None if groups is None else groups[counted])


def _repeated(values: Floats, prompts: Groups, groups: Groups | None, repeats: int) -> dict[str, Interval]:
    """What repeats of a prompt tell; prompts are counted once each."""
    known = np.isfinite(values)
    values, prompts = values[known], prompts[known]
    codes, first, index = np.unique(prompts, return_index=True, return_inverse=True)
    clusters = None if groups is None else groups[known][first]
    trials = np.bincount(index, minlength=len(codes)).astype(np.int64)
    passed = np.bincount(index, values == 1, minlength=len(codes)).astype(np.float64)
    found: dict[str, Interval] = {}
    ks = numbers_of_trials(repeats)
    if set(np.unique(values)) <= {0.0, 1.0}:
        for k in ks:
            enough = trials >= k
            few = int((~enough).sum())
            note = f"without {few} prompts of fewer than {k} scored trials" if few else ""
            for ending, rate in ((f"_pass_at_{k}", pass_at), (f"_pass_all_{k}", pass_all)):
                found[ending] = _mean(rate(trials, passed, k), enough, clusters).noted(note)
        found["_majority"] = _mean(np.sign(2 * passed - trials) / 2 + 0.5, trials > 0, clusters)
    else:
        endings = (*(f"{ending}_{k}" for k in ks for ending in ("_pass_at", "_pass_all")), "_majority")
        found = dict.fromkeys(endings, Interval(None, None, None, 0, NO_PASSES))
    spread = components(values, prompts) if len(values) else None
    between, within = spread or (None, None)
    note = "" if spread else "no prompt has two scored trials"
    found |= {ending: Interval(sd, None, None, 0, note) for ending, sd in zip(_SPREADS, (within, between), strict=True)}
    return found


def pass_at(trials: Groups, passed: Floats, k: int) -> Floats:
    """Of each prompt the chance that any of k trials passes, when `passed` of `trials` did: 1 - C(n - c, k) / C(n, k),
    unbiased, the mean over all ways to draw k of the n. Source: Chen et al. 2021, arXiv 2107.03374, section 2.1."""
    return 1 - pass_all(trials, np.asarray(trials - passed), k)


def pass_all(trials: Groups, passed: Floats, k: int) -> Floats:
    """Of each prompt the chance that all of k trials pass (pass^k): C(c, k) / C(n, k). NaN for fewer than k trials.
    Source: Yao et al. 2024, arXiv 2406.12045, section 3."""
    ways = np.where(trials >= k, comb(trials, k), np.nan)
    chance: Floats = comb(passed, k) / ways
    return chance


def deciding_scorer(names: Iterable[str]) -> str | None:
    """Of a run's scorers the one by which an answer counts as right or wrong where nobody names another; None without
    any. That is the overall score; else the first that judges what the answer says, and exact only where it is alone:
    no agent is asked for a wording.
    """
    judging = [name for name in names if agent_of(name) is None and name not in BOUNDS]
    return min(judging, key=lambda name: (name != OVERALL, name == EXACT), default=None)


def plain_scores(names: Iterable[str]) -> list[str]:
    """Of names of measures, those that are a score with failures as zero, and not what else is told of one."""
    given = dict.fromkeys(names)
    scores = [name for name in given if name.startswith(SCORE_PREFIX)]
    return [name for name in scores if _ENDING.sub("", name) not in given or not _ENDING.search(name)]
