"""How often the shipped rule alarms, over simulated gates in the shipped layout.

The time of a call, in logarithms: its prompt's difficulty (sd 0.6, the same in both arms) + its own noise (sd 0.25) +
log 3 in 2 % of the calls + the machine's drift, an Ornstein-Uhlenbeck path of sd `sigma` that forgets in half a pass
over the prompts + the candidate's slowdown. Blocks are those of `make_plan`, one after another in time; latency and
throughput are judged together by `paired_test` and `judge`, as the gate does, and a gate alarms where either has
regressed.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy import signal

from quark_bench.gate import FEWEST_BLOCK_PAIRS, REPEATS
from quark_bench.plan import Arm, blocks_a_repeat, make_plan
from quark_bench.rule import Change, Conditions, Scale, Verdict, alarms, confirm, judge, overall
from quark_bench.significance import minimum_ratio, paired_test

DIFFICULTY, CALL_NOISE = 0.6, 0.25
OUTLIERS, OUTLIER = 0.02, math.log(3)
FORGETS = 0.5
"""Time constant of the drift, in passes of one arm over the prompts."""
SLOWDOWNS = (1.0, 1.03, 1.05, 1.10, 1.15, 1.20)
IN_FLIGHT = 8
ARMS = [Arm(name, in_flight=IN_FLIGHT) for name in ("baseline", "candidate")]
TOGETHER = 50
"""Gates drawn at once: more need much memory."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of `gates` simulated ones that alarmed in one measurement, in both of two, and that were inconclusive."""

    gates: int
    once: float
    confirmed: float
    inconclusive: float


class Layout:
    """The calls of two measurements of a gate: for each arm the moment of every call, by repeat and prompt."""

    def __init__(self, prompts, asked=REPEATS):
        self.prompts = prompts
        self.repeats = max(asked, math.ceil(FEWEST_BLOCK_PAIRS / blocks_a_repeat(ARMS, prompts)))
        plan = make_plan(ARMS, prompts, repeats=2 * self.repeats)
        self.moments = {arm.name: np.zeros((2 * self.repeats, prompts), np.int64) for arm in ARMS}
        self.borders = [0, *sorted({block.stop for block in plan.blocks})]
        self.blocks = np.zeros((2 * self.repeats, prompts), np.int64)
        now = 0
        for block in plan.blocks:
            self.moments[block.arm][block.repeat, block.start : block.stop] = now + np.arange(len(block))
            self.blocks[block.repeat, block.start : block.stop] = block.index // 2
            now += len(block)
        self.calls = now

    def levels(self, part):
        repeat, prompt = np.indices(self.blocks.shape)
        return {
            "prompts": prompt[part].ravel(),
            "blocks": self.blocks[part].ravel(),
            "repeats": repeat[part].ravel(),
        }


def drift(draws, gates, layout, sigma):
    """By gate the machine's log speed at the moment of every call."""
    kept = math.exp(-1 / (layout.prompts * FORGETS))
    steps = draws.normal(0, sigma, (gates, layout.calls))
    steps[:, 1:] *= math.sqrt(1 - kept**2)
    return signal.lfilter([1.0], [1.0, -kept], steps, axis=1)


def times(draws, gates, layout, sigma, slowdown):
    """Log times of the baseline and of the candidate, each by gate, repeat and prompt."""
    machine = drift(draws, gates, layout, sigma)
    difficulty = draws.normal(0, DIFFICULTY, (gates, 1, layout.prompts))
    arms = []
    for moments in layout.moments.values():
        calls = difficulty + draws.normal(0, CALL_NOISE, (gates, *moments.shape)) + machine[:, moments]
        arms.append(calls + OUTLIER * (draws.random(calls.shape) < OUTLIERS))
    return arms[0], arms[1] + math.log(slowdown)


def makespans(times_s, layout):
    """By gate, repeat and block, how long its calls take in `IN_FLIGHT` slots, each of which takes the next."""
    spans = []
    for start, stop in itertools.pairwise(layout.borders):
        free_s = np.zeros((*times_s.shape[:2], IN_FLIGHT))
        for prompt in range(start, stop):
            slot = free_s.argmin(-1)[..., np.newaxis]
            taken_s = np.take_along_axis(free_s, slot, -1) + times_s[:, :, prompt, np.newaxis]
            np.put_along_axis(free_s, slot, taken_s, -1)
        spans.append(free_s.max(-1))
    return np.stack(spans, -1)


def change(measure, longer, levels):
    """As the gate tells a ratio from the logarithms of its pairs."""
    found = paired_test(longer.ravel(), levels)
    worse, low, high = map(math.exp, (found.mean, found.low, found.high))
    mde = minimum_ratio(found.mde)
    return Change(measure, Scale.RATIO, worse, low, high, found.p, mde, found.n, longer.size, widest=found.widest)


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement of many gates: log ratios of latencies and makespans, and the baseline's own log times."""

    longer: np.ndarray
    slower: np.ndarray
    baseline: np.ndarray
    levels: dict[str, np.ndarray]

    def judged(self, gate):
        """The verdicts on the latency and the throughput of a gate."""
        slower = self.slower[gate]
        by_block = {"blocks": np.arange(slower.size), "repeats": np.indices(slower.shape)[0].ravel()}
        half = self.baseline.shape[1] // 2
        noise = self.baseline[gate, -half:].mean() - self.baseline[gate, :half].mean()
        changes = [change("latency", self.longer[gate], self.levels), change("throughput", slower, by_block)]
        return judge(changes, Conditions(math.exp(noise)))


def measured(draws, gates, layout, sigma, slowdown):
    """The first and the confirming measurement of so many gates."""
    baseline, candidate = times(draws, gates, layout, sigma, slowdown)
    longer = candidate - baseline
    slower = np.log(makespans(np.exp(candidate), layout) / makespans(np.exp(baseline), layout))
    parts = slice(0, layout.repeats), slice(layout.repeats, None)
    return [Measured(longer[:, part], slower[:, part], baseline[:, part], layout.levels(part)) for part in parts]


def rates(prompts, sigma, slowdown, gates, asked=REPEATS, seed=0):
    """Simulates `gates` gates of this many prompts and `asked` repeats; equal arguments give equal rates."""
    layout = Layout(prompts, asked)
    draws = np.random.default_rng([seed, prompts, round(1000 * sigma), round(1000 * slowdown)])
    once = confirmed = inconclusive = 0
    for begun in range(0, gates, TOGETHER):
        count = min(TOGETHER, gates - begun)
        first, second = measured(draws, count, layout, sigma, slowdown)
        for gate in range(count):
            found = first.judged(gate)
            inconclusive += overall(found) is Verdict.INCONCLUSIVE
            if alarms(found):
                once += 1
                confirmed += bool(alarms(confirm(found, second.judged(gate))))
    return Rates(gates, once / gates, confirmed / gates, inconclusive / gates)


def row(prompts, asked, sigma, gates):
    """The rates of all slowdowns."""
    return [rates(prompts, sigma, slowdown, gates, asked) for slowdown in SLOWDOWNS]


def markdown(rows):
    """Of rows by (prompts, repeats asked for, sigma), once and confirmed, in per cent."""
    heads = ["no change", *(f"+{100 * slowdown - 100:.0f} %" for slowdown in SLOWDOWNS[1:])]
    lines = [
        f"| prompts | repeats | blocks | drift | alarms | {' | '.join(heads)} | inconclusive, no change |",
        "|--:|--:|--:|--:|---|" + "--:|" * (len(heads) + 1),
    ]
    for (prompts, asked, sigma), found in rows.items():
        layout = Layout(prompts, asked)
        blocks = blocks_a_repeat(ARMS, prompts) * layout.repeats
        place = f"| {prompts} | {layout.repeats} | {blocks} | {100 * sigma:.0f} % |"
        for name in ("once", "confirmed"):
            cells = " | ".join(_percent(getattr(each, name), each.gates) for each in found)
            open_ones = _percent(found[0].inconclusive, found[0].gates) if name == "once" else ""
            lines.append(f"{place} {name} | {cells} | {open_ones} |")
    return "\n".join(lines) + "\n"


def _percent(share, gates):
    """None is written with what it may be at most, by the rule of three."""
    if not share:
        return f"0 % (< {300 / gates:.2f} %)"
    return f"{100 * share:.{2 if share < 0.1 else 1}f} %"
