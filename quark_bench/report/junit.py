"""JUnit: the XML that CI servers show as tests; of a gate's result a test case per measure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from quark_bench.gate_result import GateResult
from quark_bench.plain import one_line, shortened
from quark_bench.report import gate_sentences
from quark_bench.report.gate_cells import label
from quark_bench.rule import DECISIVE, Judged, Verdict

SUITE = "quark-bench gate"
LONGEST_TEXT = 4_000
_NOT_XML = re.compile("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped, but for tabs and newlines, which are escapes already. Source: W3C,
Extensible Markup Language 1.0, production 2."""


@dataclass(frozen=True, slots=True)
class Case:
    """A test case; `outcome` is `passed`, `failure` or `skipped`, and `kind` says of a failure which one it is."""

    name: str
    outcome: str
    told: str = ""
    kind: str = ""
    took_s: float | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """Test cases of one kind, with facts by name and lines that are told of all of them together."""

    name: str
    cases: Sequence[Case]
    properties: Sequence[tuple[str, str]]
    told: Sequence[str] = ()


def junit_xml(result: GateResult) -> str:
    """One test suite as XML: a measure that regressed is a failure, one that was not judged is skipped.

    What is inconclusive is a failure where that made the whole gate inconclusive, else it is skipped.
    """
    told = (gate_sentences.headline(result), *gate_sentences.details(result))
    return suites_xml([Suite(SUITE, list(_cases(result)), list(_properties(result)), told)])


def suites_xml(suites: Sequence[Suite]) -> str:
    """Test suites as XML."""
    root = ElementTree.Element("testsuites", _counts([case for suite in suites for case in suite.cases]))
    for suite in suites:
        element = ElementTree.SubElement(root, "testsuite", {"name": _clean(suite.name), **_counts(suite.cases)})
        properties = ElementTree.SubElement(element, "properties")
        for name, value in suite.properties:
            ElementTree.SubElement(properties, "property", {"name": name, "value": _clean(value)})
        for case in suite.cases:
            _add(element, _clean(suite.name), case)
        if suite.told:
            ElementTree.SubElement(element, "system-out").text = "\n".join(map(_clean, suite.told))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def _counts(cases: Sequence[Case]) -> dict[str, str]:
    counts = {"tests": len(cases), "errors": 0}
    for name, outcome in (("failures", "failure"), ("skipped", "skipped")):
        counts[name] = sum(case.outcome == outcome for case in cases)
    return {name: str(count) for name, count in counts.items()}


def _cases(result: GateResult) -> Iterator[Case]:
    cases = [_case(each, result.verdict) for each in result.judged]
    yield from cases
    for slo in result.slos_missed:
        yield Case(f"objective {slo}", "failure", f"objective missed: {slo}", "missed")
    if result.verdict in (Verdict.REGRESSED, Verdict.INCONCLUSIVE) and not any(case.kind for case in cases):
        # No measure stands for the verdict, and a green suite must not stand beside it.
        yield Case("gate", "failure", gate_sentences.headline(result), result.verdict.value)


def _case(judged: Judged, whole: Verdict) -> Case:
    name, told, verdict = label(judged.change), gate_sentences.measure(judged), judged.verdict
    decided = whole is Verdict.INCONCLUSIVE and judged.measure in DECISIVE
    if verdict is Verdict.REGRESSED or (verdict is Verdict.INCONCLUSIVE and decided):
        return Case(name, "failure", told, verdict.value)
    if verdict is Verdict.PASS:
        return Case(name, "passed", told)
    return Case(name, "skipped", told)


def _properties(result: GateResult) -> Iterator[tuple[str, str]]:
    yield "verdict", result.verdict.value
    yield "baseline", f"{result.kind} {result.against}"
    for name in ("prompts", "repeats", "blocks", "in_flight", "measurements"):
        yield name, str(getattr(result, name))
    if result.conditions:
        yield "conditions", result.conditions
    if result.noise is not None:
        yield "noise", f"{result.noise:.4g}"


def _add(suite: ElementTree.Element, name: str, case: Case) -> None:
    took = {} if case.took_s is None else {"time": f"{case.took_s:.6f}"}
    element = ElementTree.SubElement(suite, "testcase", {"classname": name, "name": _clean(case.name), **took})
    told = _clean(case.told)
    if case.outcome == "passed":
        if told:
            ElementTree.SubElement(element, "system-out").text = told
        return
    kind = {"type": case.kind} if case.kind else {}
    ElementTree.SubElement(element, case.outcome, {"message": told, **kind}).text = told


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", one_line(shortened(text, LONGEST_TEXT)))
