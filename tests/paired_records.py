"""Records of a baseline and a candidate, made by hand."""

import numpy as np
import pandas as pd

BASELINE, CANDIDATE = "baseline", "candidate"


def records(prompts=20, repeats=5, blocks=3, *, slower=1.0, noise=0.02, seed=0, **columns):
    """Both arms, prompts one after another: each has its own latency, which scatters by `noise`, and the candidate's
    is `slower` times as long. `columns` are values for every record, or functions of its row."""
    random = np.random.default_rng(seed)
    own_s = np.exp(random.normal(0, 0.5, prompts))
    rows, start_s, block = [], 0.0, 0
    for turn in range(repeats * blocks):
        repeat, cut = divmod(turn, blocks)
        for arm in (BASELINE, CANDIDATE) if turn % 2 == 0 else (CANDIDATE, BASELINE):
            for n in range(prompts * cut // blocks, prompts * (cut + 1) // blocks):
                took_s = own_s[n] * np.exp(random.normal(0, noise)) * (slower if arm == CANDIDATE else 1)
                place = {"session": 0, "arm": arm, "repeat": repeat, "block": block, "prompt_id": f"p{n}"}
                rows.append(place | {"status": "ok", "answer": "a", "start_s": start_s, "latency_s": took_s, "n": n})
                start_s += took_s
            block += 1
    table = pd.DataFrame(rows)
    given = {"cost_usd": 0.0, "score_exact": 1.0} | columns
    for name, value in given.items():
        table[name] = [value(row) for row in rows] if callable(value) else value
    return table.drop(columns="n")


def of(table, arm, **where):
    """A mask of the rows of an arm that have these values, or one of them."""
    mask = table["arm"] == arm
    for name, values in where.items():
        mask &= table[name].isin(values if isinstance(values, list) else [values])
    return mask


def named(*numbers):
    return [f"p{n}" for n in numbers]
