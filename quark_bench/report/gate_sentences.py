"""Gate sentences: what a gate found, in words that the terminal, the page, CI and JUnit share.

Names in them are as users wrote them: whoever shows a sentence makes it harmless for the place where it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quark_bench.gate_result import NULL, PIPELINE, RUN, AgentChange, GateResult, NullRates
from quark_bench.plain import shortened
from quark_bench.report.gate_cells import bounds, changed, label, levels, percent, smallest, times
from quark_bench.report.sentences import plural
from quark_bench.rule import DECISIVE, Change, Judged, Scale, Verdict
from quark_bench.significance import upper_bound_of_none
from quark_bench.stats import wilson
from quark_bench.units import COUNT

VISIBLE_PROMPTS = 5
"""Prompts, or objectives, named in a sentence."""
VISIBLE_MEASURES = 3
"""Measures told in the headline before it says how many more there are."""
VISIBLE_FINDINGS = 20
LONGEST_NAME = 200
"""Characters of a name in a sentence."""
TREND = "a trend only: another session, maybe another machine"
REMEDIES = {
    "prompts": "between prompts: more prompts narrow it",
    "blocks": "between blocks: more repeats or a quieter machine narrow it",
    "repeats": "between repeats: more repeats narrow it",
    "clusters": "between clusters of prompts: more clusters narrow it",
}
"""By the level whose error was the largest, where most of the error lies and what to do about it."""


def headline(result: GateResult) -> str:
    """The verdict and what it stands on, in one line."""
    missed = f"objective missed ({_listed(result.slos_missed)}); " if result.slos_missed else ""
    return f"{missed}{verdict(result)}: {_ground(result)}"


def verdict(result: GateResult) -> str:
    """`regressed against main (3fe2b81)`, `no false alarm, the same code against itself`."""
    against = shortened(result.against, LONGEST_NAME)
    word = result.verdict.value
    if result.kind == NULL:
        named = {Verdict.PASS: "no false alarm", Verdict.REGRESSED: "false alarm"}
        return f"{named.get(result.verdict, word)}, the same code against itself"
    if result.kind == RUN:
        return f"{word} against stored run {against} ({TREND})"
    return f"{word} against {'pipeline ' if result.kind == PIPELINE else ''}{against}"


def measure(judged: Judged) -> str:
    """One measure in one sentence: change, verdict, why, smallest detectable change, n, worst prompts."""
    change = judged.change
    parts = [_equal(change)] if change.equal else [_why(judged), _seen(change), counted(change)]
    told = "" if change.equal or change.worse is None else f"{with_levels(change)}; "
    named = prompts(change) if judged.verdict is Verdict.REGRESSED or change.scale is Scale.DIFFERENCE else ""
    return f"{label(change)} {judged.verdict.value}: {told}{'; '.join(filter(None, [*parts, named]))}"


def with_bounds(change: Change) -> str:
    """`1.22x [1.21x to 1.23x]`."""
    return changed(change) + (f" [{told}]" if (told := bounds(change)) else "")


def with_levels(change: Change) -> str:
    """`0.880 -> 0.830, -0.050 [-0.094 to -0.006]`."""
    return ", ".join(filter(None, (levels(change), with_bounds(change))))


def counted(change: Change) -> str:
    """`n = 64 prompts in 320 pairs`, `n = 50 blocks`."""
    pairs = f" in {plural(change.pairs, 'pair')}" if change.pairs != change.n else ""
    return f"n = {plural(change.n, _noun(change))}{pairs}"


def prompts(change: Change) -> str:
    """The prompts that turned most for the worse, the worst first; empty for none. A change keeps but the first."""
    return f"worst prompts: {_listed(change.prompts[:VISIBLE_PROMPTS])}" if change.prompts else ""


def agent(found: AgentChange) -> str:
    """`memory 1.50x slower [1.49x to 1.51x], 2.0 % of the critical path`."""
    change, name = found.change, shortened(found.change.measure, LONGEST_NAME)
    share = "" if found.critical_share is None else f", {percent(found.critical_share)} of the critical path"
    if change.worse is None or not change.worse:
        return f"{name} not compared ({change.note}){share}"
    slower = change.worse >= 1
    turned = [each if slower or not each else 1 / each for each in (change.low, change.high) if each is not None]
    told = f" [{' to '.join(map(times, sorted(turned)))}]" if len(turned) == 2 else ""
    factor = change.worse if slower else 1 / change.worse
    return f"{name} {times(factor)} {'slower' if slower else 'faster'}{told}{share}"


def changed_agents(result: GateResult) -> tuple[str, ...]:
    """A sentence for each agent that became slower or faster, those with most of the critical path first."""
    those = [each for each in result.agents if each.slower or each.faster]
    ordered = sorted(those, key=lambda each: (not each.slower, -(each.critical_share or 0.0)))
    return tuple(map(agent, ordered))


def noise(result: GateResult) -> str:
    """What the machine alone did meanwhile; empty where it is unknown."""
    if result.noise is None:
        return ""
    near_one = 0.1 < result.noise < 10
    side = "candidate" if result.kind == RUN else "baseline"
    return (
        f"the {side} against itself: {f'{result.noise:.3f}x' if near_one else times(result.noise)} between its halves"
    )


def null_rates(rates: NullRates) -> str:
    """`0 of 2,000 relabellings alarmed (at most 0.15 %)`, by the upper bound of a one-sided 95 % interval; and what
    is left of it where an alarm is confirmed."""
    counts = f"{COUNT.format(rates.alarms)} of {plural(rates.tries, 'relabelling')} alarmed"
    most = _most_alarms(rates)
    if most is None:
        return counts
    once = f"{percent(rates.once)}, at most" if rates.alarms else "at most"
    return f"{counts} ({once} {percent(most)}); twice in a row, as an alarm takes, at most {percent(most**2)} would"


def layout(result: GateResult) -> str:
    """`64 prompts x 5 repeats in 50 blocks, 8 in flight, measured twice`."""
    twice = ", measured again to confirm an alarm" if result.measurements > 1 else ""
    size = f"{plural(result.prompts, 'prompt')} x {plural(result.repeats, 'repeat')}"
    return f"{size} in {plural(result.blocks, 'block')}, {COUNT.format(result.in_flight)} in flight{twice}"


def details(result: GateResult) -> tuple[str, ...]:
    """Everything that the headline and the table do not tell, a sentence each."""
    return tuple(_details(result))


def _details(result: GateResult) -> Iterator[str]:
    for slo in result.slos_missed:
        yield f"objective missed: {shortened(slo, LONGEST_NAME)}"
    plain = [each for each in result.judged if _needs_no_words(each)]
    yield from (measure(each) for each in result.judged if each not in plain)
    yield from _equal_ones([each.change for each in plain if each.change.equal])
    detectable = [(label(each.change), smallest(each.change)) for each in plain if not each.change.equal]
    if known := [f"{name} {told}" for name, told in detectable if told]:
        yield f"smallest detectable: {', '.join(known)}"
    yield from changed_agents(result)
    yield from result.findings[:VISIBLE_FINDINGS]
    if (more := len(result.findings) - VISIBLE_FINDINGS) > 0:
        yield f"and {plural(more, 'more finding')}"
    if result.null is not None:
        yield from _null_details(result, result.null)
    if told := noise(result):
        yield told
    yield layout(result)


def _null_details(result: GateResult, rates: NullRates) -> Iterator[str]:
    latency = next((each.change for each in result.judged if each.measure == "latency"), None)
    if latency is not None and (floor := smallest(latency)):
        yield f"noise floor: a change of latency below {floor} cannot be told from none here"
    yield null_rates(rates)


def _needs_no_words(judged: Judged) -> bool:
    """Whether the table alone tells the measure: it passed at once, and no prompt of it is worth a look."""
    told = judged.change.scale is Scale.DIFFERENCE and judged.change.prompts
    return judged.verdict is Verdict.PASS and judged.again is None and not told


def _ground(result: GateResult) -> str:
    """What the verdict stands on."""
    if result.verdict is Verdict.REGRESSED:
        return _several([each for each in result.judged if each.verdict is Verdict.REGRESSED], result)
    if result.verdict is Verdict.INCONCLUSIVE:
        open_ones = [each for each in result.judged if each.verdict is Verdict.INCONCLUSIVE]
        return _several([each for each in open_ones if each.measure in DECISIVE], result)
    first = next((each for each in result.judged if each.measure == "latency"), None) or next(iter(result.judged), None)
    if first is None:
        return "nothing was judged"
    return "; ".join([_short(first), *_rest([each for each in result.judged if each is not first])])


def _several(judged: Sequence[Judged], result: GateResult) -> str:
    """The measures that decided; where none did, what the gate found else."""
    if not judged:
        return shortened(next(iter(result.findings), "see its measures"), LONGEST_NAME)
    more = len(judged) - VISIBLE_MEASURES
    rest = [f"and {plural(more, 'more measure')}"] if more > 0 else []
    return "; ".join([*map(_short, judged[:VISIBLE_MEASURES]), *rest])


def _rest(judged: Sequence[Judged]) -> Iterator[str]:
    """`3 more pass, 1 not judged`."""
    counts = {each: sum(one.verdict is each for one in judged) for each in Verdict}
    if told := [f"{COUNT.format(count)} {each.value}" for each, count in counts.items() if count]:
        yield f"of {plural(len(judged), 'more measure')} {', '.join(told)}"


def _short(judged: Judged) -> str:
    """A measure in the headline."""
    change, name = judged.change, label(judged.change)
    if judged.verdict is Verdict.NOT_JUDGED or change.worse is None:
        return f"{name} not judged ({judged.why})"
    if change.equal:
        return f"{name} {_equal(change)}"
    shown = with_bounds(change) if change.scale is Scale.RATIO else with_levels(change)
    why = judged.why if judged.verdict is Verdict.INCONCLUSIVE else ""
    return ", ".join(filter(None, (f"{name} {shown}", why, _seen(change))))


def _why(judged: Judged) -> str:
    """The rule's reason, what a second measurement found, and of an inconclusive one what would help."""
    again = f", the second one {with_bounds(judged.again)}" if judged.again is not None else ""
    remedy = REMEDIES.get(judged.change.widest, "") if judged.verdict is Verdict.INCONCLUSIVE else ""
    return f"{judged.why}{again}" + (f"; most of the error is {remedy}" if remedy else "")


def _seen(change: Change) -> str:
    return f"smallest detectable {told}" if (told := smallest(change)) else ""


def _equal(change: Change) -> str:
    """`equal in all 320 pairs (of 64 prompts), upper bound 4.7 %`: so many may differ still, by the rule of three."""
    of = f" (of {plural(change.n, _noun(change))})" if change.pairs != change.n else ""
    bound = f", upper bound {percent(upper_bound_of_none(change.n))}" if change.n else ""
    return f"equal in all {plural(change.pairs, 'pair')}{of}{bound}"


def _equal_ones(changes: Sequence[Change]) -> Iterator[str]:
    """`failures, f1: equal in all 320 pairs ...`: those of which the same is said, together."""
    together: dict[str, list[str]] = {}
    for change in changes:
        together.setdefault(_equal(change), []).append(label(change))
    yield from (f"{', '.join(names)}: {told}" for told, names in together.items())


def _noun(change: Change) -> str:
    return "block" if change.measure == "throughput" else "prompt"


def _most_alarms(rates: NullRates) -> float | None:
    """Upper bound of the share of alarms, one-sided at 95 %."""
    if rates.tries <= 0:
        return None
    return upper_bound_of_none(rates.tries) if rates.alarms == 0 else wilson(rates.alarms, rates.tries, level=0.9).high


def _listed(names: Sequence[str]) -> str:
    more = len(names) - VISIBLE_PROMPTS
    rest = f" and {COUNT.format(more)} more" if more > 0 else ""
    return ", ".join(shortened(name, LONGEST_NAME) for name in names[:VISIBLE_PROMPTS]) + rest
