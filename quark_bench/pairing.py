"""Pairing: records of several arms side by side, by prompt and repeat, and by block.

Columns of arm number n end in `_n`, counted from 0 in the order of the arms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quark_bench.score_measures import score_or_zero
from quark_bench.stats import Floats, Groups
from quark_bench.trials import SCORE_PREFIX

PAIRED = ("arm", "prompt_id", "repeat", "session", "block", "status", "answer", "start_s", "latency_s")
"""Columns of a record that pairing needs, beside its scores."""


def pair_up(records: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """One row per prompt and repeat of any of the arms; NaN where it is missing in one."""
    if records.empty:
        records = records.reindex(columns=[*dict.fromkeys((*PAIRED, *records))])
    others = [name for name in records if str(name) not in PAIRED]
    sides = [
        records.loc[records["arm"] == arm, [*PAIRED, *others]]
        .drop(columns="arm")
        .assign(found=True)
        .set_index(["prompt_id", "repeat"])
        .add_suffix(f"_{number}")
        for number, arm in enumerate(arms)
    ]
    return pd.concat(sides, axis=1, sort=False).reset_index()


def in_both(pairs: pd.DataFrame) -> pd.DataFrame:
    """The rows that two arms have, however they ended."""
    return pairs[pairs["found_0"].notna() & pairs["found_1"].notna()]


def answered(pairs: pd.DataFrame, number: int) -> NDArray[np.bool_]:
    """The rows that arm `number` answered."""
    return pairs[f"status_{number}"].isin(("ok", "degraded")).to_numpy(bool)


def comparable_times(pairs: pd.DataFrame, arms: int) -> pd.DataFrame:
    """The rows whose latencies may be compared: answered in all arms, in one session."""
    good = np.ones(len(pairs), np.bool_)
    for number in range(arms):
        good &= answered(pairs, number)
        good &= (pairs[f"session_{number}"] == pairs["session_0"]).to_numpy(bool)
        good &= pairs[f"latency_s_{number}"].to_numpy(np.float64, na_value=np.nan) > 0
    return pairs[good]


def levels_of(pairs: pd.DataFrame, blocks_of: int = 0) -> dict[str, Groups]:
    """Which rows share a prompt, a block of arm `blocks_of`, a repeat: the levels at which noise may be shared."""
    return {
        "prompts": codes(pairs["prompt_id"]),
        "blocks": codes(pairs[f"block_{blocks_of}"]),
        "repeats": codes(pairs["repeat"]),
    }


def codes(column: pd.Series | pd.Index) -> Groups:
    """Equal values get equal numbers, 0 and up."""
    return pd.factorize(column)[0].astype(np.int64)


def shared_blocks(records: pd.DataFrame, arms: Sequence[str]) -> pd.DataFrame:
    """One row per block position that all arms have, whole and in one session; `makespan_s_0`, `_1` ... by arm.

    All arms of a repeat are cut alike, so their n-th blocks hold the same prompts and lie side by side in time. The
    index is repeat and position.
    """
    if records.empty:
        records = records.reindex(columns=PAIRED)
    sides = [_blocks(records[records["arm"] == arm]).add_suffix(f"_{number}") for number, arm in enumerate(arms)]
    shared = pd.concat(sides, axis=1, join="inner")
    for number in range(1, len(arms)):
        alike = (shared[f"session_{number}"] == shared["session_0"]) & (shared[f"size_{number}"] == shared["size_0"])
        shared = shared[alike]
    return shared


def _blocks(of_arm: pd.DataFrame) -> pd.DataFrame:
    """Session, size and makespan of an arm's blocks, by repeat and position in it; not those cut by a resume."""
    ended = of_arm.assign(end_s=of_arm["start_s"] + of_arm["latency_s"])
    by_block = ended.groupby(["repeat", "block"])
    blocks = pd.DataFrame(
        {
            "session": by_block["session"].first(),
            "sessions": by_block["session"].nunique(),
            "size": by_block.size(),
            "makespan_s": by_block["end_s"].max() - by_block["start_s"].min(),
        }
    )
    position = blocks.groupby(level="repeat").cumcount()
    blocks = blocks.droplevel("block").set_index(position.to_numpy(), append=True)
    return blocks[blocks["sessions"] == 1]


def scores_of(pairs: pd.DataFrame, name: str, number: int) -> Floats:
    """The scores `name` of arm `number`, 0 where it failed, NaN where it was not scored or is missing."""
    here = pairs[f"found_{number}"].notna().to_numpy(bool)
    column = SCORE_PREFIX + name
    side = pd.DataFrame({"status": pairs[f"status_{number}"], column: pairs[f"{column}_{number}"]})
    return np.where(here, score_or_zero(side, name), np.nan)
