"""Gate Markdown: a gate's result for the page of a CI job, and as annotations of a workflow on GitHub."""

import re
from collections.abc import Iterator

from quark_bench.gate_result import GateResult
from quark_bench.plain import one_line, shortened
from quark_bench.report import gate_sentences
from quark_bench.report.gate_cells import NOTE, GateRow, gate_rows, label
from quark_bench.rule import DECISIVE, Verdict

SYMBOLS = {Verdict.PASS: "✅", Verdict.REGRESSED: "❌", Verdict.INCONCLUSIVE: "⚠️", Verdict.NOT_JUDGED: "⚪"}
LONGEST_TEXT = 2_000
COLUMNS = ("measure", "baseline", "candidate", "change", "bounds", "verdict")
TITLE = "quark-bench gate"

_STEERING = re.compile(r"[\\*_{}\[\]()#!<>&|@`$~]|(?<=:)/(?=/)|(?<=www)\.", re.IGNORECASE)
"""What is markup, a mention or a link. Written as an entity it is text. Source: CommonMark 0.31, section 2.5."""


def gate_markdown(result: GateResult) -> str:
    """Verdict, measures and sentences in GitHub's Markdown; what users wrote is only text in it."""
    symbol = SYMBOLS[Verdict.REGRESSED if result.slos_missed else result.verdict]
    table = [_line(COLUMNS), _line(["---", *["--:"] * 4, "---"]), *map(_row, gate_rows(result))]
    parts = [
        f"### {symbol} {TITLE}: {escaped(gate_sentences.verdict(result))}",
        *([escaped(result.conditions)] if result.conditions else []),
        escaped(gate_sentences.headline(result)),
        *(["\n".join(table), f"<sub>{NOTE}</sub>"] if result.judged else []),
        "\n".join(f"- {escaped(told)}" for told in gate_sentences.details(result)),
    ]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """The text on one line, as Markdown that shows it and does nothing: no table, code, HTML, link or mention."""
    return _STEERING.sub(lambda found: f"&#{ord(found[0])};", one_line(shortened(text, LONGEST_TEXT)).strip())


def annotations(result: GateResult) -> tuple[str, ...]:
    """Workflow commands, a line each, that GitHub shows at the top of a job: what is to be printed on stdout there.

    Source: GitHub Docs, Workflow commands for GitHub Actions.
    """
    found = tuple(_annotations(result))
    if found:
        return found
    kinds = {Verdict.REGRESSED: "error", Verdict.INCONCLUSIVE: "warning"}
    return (_command(kinds.get(result.verdict, "notice"), TITLE, gate_sentences.headline(result)),)


def _annotations(result: GateResult) -> Iterator[str]:
    for slo in result.slos_missed:
        yield _command("error", f"{TITLE}: objective missed", slo)
    for each in result.judged:
        title = f"{TITLE}: {label(each.change)} {each.verdict.value}"
        if each.verdict is Verdict.REGRESSED:
            yield _command("error", title, gate_sentences.measure(each))
        elif each.verdict is Verdict.INCONCLUSIVE and each.measure in DECISIVE:
            yield _command("warning", title, gate_sentences.measure(each))


def _command(kind: str, title: str, message: str) -> str:
    named = _data(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={named}::{_data(message)}"


def _data(text: str) -> str:
    """The percent sign first, or it would be escaped twice."""
    shown = one_line(shortened(text, LONGEST_TEXT))
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _row(row: GateRow) -> str:
    texts = (row.label, row.baseline, row.candidate, row.change, row.bounds)
    return _line([*map(escaped, texts), f"{SYMBOLS[row.verdict]} {row.verdict.value}"])


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
