"""Results of gates, made by hand and at random."""

from dataclasses import replace

from hypothesis import strategies as st

from quark_bench.gate_result import NULL, PIPELINE, REVISION, RUN, AgentChange, GateResult, NullRates
from quark_bench.rule import Change, Judged, Scale, Verdict

OVERLOOKED = "a change twice the margin could have been overlooked"
TOO_FEW = "n too small: 5 prompts needed, 3 there"
PROMPTS = tuple(f"q-{number:03d}" for number in range(1, 8))


def ratio(measure, worse, low=None, high=None, **more):
    """A change of a ratio over 64 prompts and 5 repeats, of latencies by default."""
    given = {"mde": 0.008, "baseline": 0.307, "candidate": 0.375, "n": 64, "pairs": 320, "p": 0.001} | more
    return Change(measure, Scale.RATIO, worse, low, high, **given)


def difference(measure, worse, low=None, high=None, **more):
    """A change of a share or score over 64 prompts and 5 repeats."""
    given = {"mde": 0.02, "n": 64, "pairs": 320, "p": 0.004} | more
    return Change(measure, Scale.DIFFERENCE, worse, low, high, **given)


SLOWER = Judged(
    ratio("latency", 1.22, 1.21, 1.23, prompts=PROMPTS),
    Verdict.REGRESSED,
    "regressed in both of two measurements",
    ratio("latency", 1.21, 1.20, 1.22),
)
AS_FAST = Judged(ratio("latency", 0.998, 0.99, 1.01, candidate=0.306), Verdict.PASS, "no change beyond the margin")
UNSURE = Judged(ratio("latency", 1.02, 0.9, 1.16, mde=0.13, widest="blocks"), Verdict.INCONCLUSIVE, OVERLOOKED)
LESS_THROUGHPUT = Judged(
    ratio("throughput", 1.1, 1.08, 1.12, baseline=30.1, candidate=27.4, n=50, pairs=50, mde=0.03),
    Verdict.REGRESSED,
    "beyond the margin, and its bound excludes no change",
)
MORE_FAILURES = Judged(
    difference("failures", 0.03, 0.005, 0.055, baseline=0.02, candidate=0.05, prompts=PROMPTS[:2]),
    Verdict.REGRESSED,
    "beyond the margin, and its bound excludes no change",
)
LOST_SCORE = Judged(
    difference("f1", 0.05, 0.006, 0.094, baseline=0.88, candidate=0.83, widest="prompts"),
    Verdict.INCONCLUSIVE,
    OVERLOOKED,
)
EQUAL = Judged(
    difference("failures", 0.0, p=None, mde=None, equal=True, note="all values equal", baseline=0.0, candidate=0.0),
    Verdict.PASS,
    "equal in every pair",
)
TOO_SMALL = Judged(
    ratio("cost", None, mde=None, p=None, note=TOO_FEW, n=3, pairs=15, baseline=None, candidate=None),
    Verdict.NOT_JUDGED,
    TOO_FEW,
)
AGENTS = (
    AgentChange(ratio("planning", 0.5, 0.49, 0.51), 0.3, slower=False, faster=True),
    AgentChange(ratio("memory", 1.5, 1.49, 1.51), 0.02, slower=True, faster=False),
    AgentChange(ratio("metrics", 1.0, 0.99, 1.01), 0.1, slower=False, faster=False),
)


def gated(verdict, *judged, **more):
    """A gate against main with this outcome."""
    layout = {"prompts": 64, "repeats": 5, "blocks": 50, "in_flight": 8, "measurements": 1, "noise": 1.003}
    named = {"kind": REVISION, "against": "main (3fe2b81)", "agents": ()}
    return GateResult(verdict=verdict, judged=judged, **(layout | named | more))


REGRESSED = gated(
    Verdict.REGRESSED,
    SLOWER,
    LESS_THROUGHPUT,
    MORE_FAILURES,
    LOST_SCORE,
    TOO_SMALL,
    agents=AGENTS,
    measurements=2,
    findings=("agent planning is new",),
)
PASSED = gated(Verdict.PASS, AS_FAST, EQUAL, TOO_SMALL)
OPEN = gated(Verdict.INCONCLUSIVE, UNSURE, EQUAL, LOST_SCORE)
NO_CHANGE = replace(PASSED, kind=NULL, against="", null=NullRates(2_000, 0))
MADE = (REGRESSED, PASSED, OPEN, NO_CHANGE, replace(REGRESSED, slos_missed=("p95_latency_s<2",)))


def hostile(text):
    """A result in which everything that users name is this text."""
    worst = replace(SLOWER, change=replace(SLOWER.change, prompts=(text,)))
    scored = replace(LOST_SCORE, change=replace(LOST_SCORE.change, measure=text, prompts=(text,)))
    lost = replace(MORE_FAILURES, change=replace(MORE_FAILURES.change, prompts=(text,) * 9))
    agents = tuple(replace(each, change=replace(each.change, measure=text)) for each in AGENTS)
    more = {"against": text, "agents": agents, "findings": (text,), "slos_missed": (text,)}
    return replace(REGRESSED, judged=(worst, scored, lost), **more)


texts = st.text(max_size=12)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
positive = st.none() | st.floats(min_value=0, max_value=1e308)
counts = st.integers(0, 100_000)
changes = st.builds(
    Change,
    measure=st.sampled_from(["latency", "throughput", "failures", "cost", "f1"]) | st.text(min_size=1, max_size=12),
    scale=st.just(Scale.RATIO),
    worse=positive,
    low=positive,
    high=positive,
    p=st.none() | st.floats(0, 1),
    mde=positive,
    n=counts,
    pairs=counts,
    equal=st.booleans(),
    widest=st.sampled_from(["", "prompts", "blocks", "repeats", "clusters"]) | texts,
    note=texts,
    baseline=numbers,
    candidate=numbers,
    prompts=st.lists(texts, max_size=7).map(tuple),
)
signed = st.none() | st.floats(-2, 2)
changes |= st.builds(
    lambda change, worse, low, high: replace(change, scale=Scale.DIFFERENCE, worse=worse, low=low, high=high),
    changes,
    signed,
    signed,
    signed,
)
results = st.builds(
    GateResult,
    verdict=st.sampled_from([Verdict.PASS, Verdict.REGRESSED, Verdict.INCONCLUSIVE]),
    kind=st.sampled_from([REVISION, PIPELINE, RUN, NULL]),
    against=texts,
    judged=st.lists(st.builds(Judged, changes, st.sampled_from(Verdict), texts, st.none() | changes), max_size=6).map(
        tuple
    ),
    agents=st.lists(
        st.builds(AgentChange, changes, st.none() | st.floats(0, 1), st.booleans(), st.booleans()), max_size=3
    ).map(tuple),
    noise=st.none() | st.floats(min_value=1e-9, max_value=1e9),
    measurements=st.integers(1, 2),
    prompts=counts,
    repeats=counts,
    blocks=counts,
    in_flight=counts,
    findings=st.lists(texts, max_size=3).map(tuple),
    slos_missed=st.lists(texts, max_size=2).map(tuple),
    null=st.none() | st.integers(1, 5_000).flatmap(lambda n: st.builds(NullRates, st.just(n), st.integers(0, n))),
)
