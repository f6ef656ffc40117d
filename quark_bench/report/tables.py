"""Tables for the terminal: rich renderables that fit 80 columns.

What users wrote (names, answers, errors) is only ever put into `Text`, which knows no markup.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from quark_bench.errors import UsageError
from quark_bench.plain import one_line, plain, shortened
from quark_bench.report import arrivals_cells, sentences
from quark_bench.report.blame_table import blame_table, discrimination_told
from quark_bench.report.cells import Cell, Grid, Row, grid, score_rows, speed_rows
from quark_bench.report.failures import kinds_of_failure
from quark_bench.report.findings import Findings, titled
from quark_bench.report.model_cells import model_lines, ration_lines
from quark_bench.report.scoring import scores_told, scoring_told
from quark_bench.report.waterfall import Bar, Lane, lanes
from quark_bench.units import SECONDS

WIDTH = 80
LABEL_WIDTH = 19
MOST_ARM_WIDTH = 24
ARMS_A_TABLE = 4
"""More arms than fit side by side continue in a table below."""
BAR_WIDTH = 36
"""Characters of the longest record's time axis in a text waterfall."""
NAME_WIDTH = 24
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
STATE_STYLES = {
    "ok": "green",
    "complete": "green",
    "met": "green",
    "failed": "red",
    "refused": "red",
    "degraded": "yellow",
    "fallback": "yellow",
    "cached": "cyan",
    "missed": "bold red",
}

LISTED_FAILURES = 3
"""Kinds of failure that the terminal lists; the report has more."""
LONGEST_LINE = 1_000
LONGEST_TEXT = 20_000
"""Characters of a name or sentence, and of a prompt or an answer, that the terminal is given."""
LEGEND = "█ on the critical path, ▒ beside it"


def run_table(findings: Findings) -> Group:
    """The run's last word: arms side by side, comparisons, attribution, SLOs, granularity, equal answers."""
    whole = grid(findings, (*speed_rows(findings), *score_rows(findings)))
    return Group(
        _text(findings.titled(_title(findings.manifest)), "bold"),
        *(_arm_table(part) for part in _split(whole)),
        *_paragraph(
            Text(f"{_mark(number)} {one_line(note)}", style="dim") for number, note in enumerate(whole.notes, 1)
        ),
        *_paragraph(_comparison_lines(findings)),
        *_paragraph(_slo_lines(findings)),
        *_paragraph(_arrival_lines(findings)),
        *_paragraph(_failure_lines(findings)),
        *_blame(findings),
        *_paragraph(_loss_lines(findings)),
        *_paragraph(map(_text, scoring_told(findings))),
        *_paragraph(_breaker_lines(findings)),
        *_paragraph(map(_text, (*model_lines(findings), *ration_lines(findings)))),
        *_paragraph(_condition_lines(findings)),
    )


def run_summary(manifest: Mapping[str, Any]) -> Group:
    """One run in a few lines: what ran, how its trials ended, how long it took."""
    data, pipeline = manifest["dataset"], manifest["pipeline"]
    model = f", model {pipeline['model']}" if pipeline["model"] else ""
    lines = (
        ("run", f"{manifest['run_id']}, {manifest['state']}"),
        ("started", f"{manifest['started']}, took {sentences.duration(manifest)}"),
        ("data set", f"{data['name']}, {sentences.plural(data['prompts'], 'prompt')}"),
        (
            "pipeline",
            titled(manifest, pipeline["name"] + model),
        ),
        ("arms", ", ".join(arm["name"] for arm in manifest["arms"])),
        ("outcome", sentences.outcome(manifest)),
    )
    return Group(*(_labelled(label, one_line(value)) for label, value in lines))


def ls_table(manifests: Sequence[Mapping[str, Any]]) -> Table:
    """A line per run, in the order given."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    table.add_column("run", no_wrap=True)  # to be copied; it begins with the time and names the data set
    for header in ("state", "pipeline"):
        table.add_column(header, overflow="fold")
    for header in ("ok", "took"):
        table.add_column(header, justify="right", no_wrap=True)
    for manifest in manifests:
        ended = manifest["conservation"]
        table.add_row(
            _text(manifest["run_id"]),
            _state(manifest["state"]),
            _text(titled(manifest, manifest["pipeline"]["name"])),
            Text(f"{ended['ok']} of {ended['planned']}"),
            Text(sentences.duration(manifest)),
        )
    return table


def record_view(findings: Findings, prompt_id: str, repeat: int | None = None) -> Group:
    """One prompt: its text and reference, and for every record of it, or those of one repeat, status, answer and a
    waterfall of its spans.

    Raises UsageError, naming the nearest id, where the run has no record of it.
    """
    shown = lanes(findings, prompt_id, repeat)
    if not shown:
        known = sorted(set(findings.trials.records(["prompt_id"])["prompt_id"]))
        close = difflib.get_close_matches(prompt_id, known, 1) or known[:1]
        hint = f"; did you mean {close[0]!r}?" if close else "; it has no records at all"
        raise UsageError(f"run {findings.manifest['run_id']} has no record of prompt {prompt_id!r}{hint}")
    prompt = findings.prompts.get(prompt_id)
    about: list[tuple[str, str]] = [("prompt", one_line(prompt_id))]
    if prompt is not None:
        about.append(("text", prompt.text))
        about.extend(("reference", reference) for reference in prompt.reference)
    longest_s, scores = max(lane.latency_s for lane in shown), scores_told(findings, prompt_id)
    return Group(
        _text(findings.titled(f"Prompt {prompt_id}"), "bold"),
        *(_labelled(label, value) for label, value in about),
        *(part for lane in shown for part in _lane_lines(lane, longest_s, scores.get((lane.arm, lane.repeat), ()))),
        Text(LEGEND, style="dim"),
    )


def _title(manifest: Mapping[str, Any]) -> str:
    data, pipeline = manifest["dataset"], manifest["pipeline"]
    return f"{pipeline['name']} over {data['name']}, {sentences.plural(data['prompts'], 'prompt')}"


def _split(whole: Grid) -> Iterator[Grid]:
    """The grid in parts of at most ARMS_A_TABLE arms."""
    for first in range(0, len(whole.arms), ARMS_A_TABLE):
        part = slice(first, first + ARMS_A_TABLE)
        yield Grid(whole.arms[part], tuple(Row(row.label, row.cells[part]) for row in whole.rows), whole.notes)


def _arm_table(part: Grid) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, show_edge=False)
    room = min(MOST_ARM_WIDTH, (WIDTH - LABEL_WIDTH) // len(part.arms) - 2)
    table.add_column("", overflow="fold", width=LABEL_WIDTH)
    for arm in part.arms:
        table.add_column(_text(arm), justify="right", overflow="fold", width=room)
    for row in part.rows:
        table.add_row(_text(row.label), *(_cell_text(cell, room) for cell in row.cells))
    return table


def _cell_text(cell: Cell, room: int) -> Text:
    text = Text(cell.value + _mark(cell.note), style="bold" if cell.best else "")
    for detail in cell.details:
        # Broken here rather than by rich, which would part a number from its unit.
        fitting = detail if len(detail) <= room else detail.replace(" to ", " to\n")
        text.append(f"\n{fitting}", style="not bold dim")
    return text


def _mark(note: int) -> str:
    """The number of a footnote as a superscript; empty for none."""
    return str(note).translate(SUPERSCRIPTS) if note else ""


def _comparison_lines(findings: Findings) -> Iterator[Text]:
    if learned := sentences.learning(findings.manifest):
        yield _text(learned, "yellow")
    for found in findings.comparisons:
        yield _text(sentences.comparison(found))
    splits = (("throughput", findings.attribution), ("latency", findings.latency_attribution))
    for what, split in splits:
        if split is not None:
            yield _text(sentences.attribution(split, what))
    for found in findings.comparisons:
        yield _text(f"Answers: {sentences.answers(found)}")
        if told := sentences.faults(found):
            yield _text(told)


def _slo_lines(findings: Findings) -> Iterator[Text]:
    for result in findings.slos:
        verdict = sentences.verdict(result)
        line = Text("SLO " if result.given else "Target ").append(_state(verdict))
        yield line.append(f"  {one_line(result.slo.text)}  ({sentences.slo_value(findings, result)})")


def _arrival_lines(findings: Findings) -> Iterator[Text]:
    """How the prompts of an open load came."""
    for check in findings.arrivals:
        yield _text("Arrivals  ").append(_text(arrivals_cells.headline(check), "" if check.kept_up else "bold red"))
        for line in arrivals_cells.lines(check):
            yield _text(f"  {line}", "dim")


def _failure_lines(findings: Findings) -> Iterator[Text]:
    """The most frequent kinds of failure, each with prompts to look at."""
    found = kinds_of_failure(findings, LISTED_FAILURES)
    for each in found.listed:
        struck = f"{sentences.plural(each.trials, 'trial')}, as {', '.join(each.prompts)}"
        yield _text(f"{each.status}: {each.agent}: {each.error} ({struck})")
    if found.unlisted:
        yield _text(f"and {sentences.plural(found.unlisted, 'more kind')} of failure: see the report")


def _blame(findings: Findings) -> Iterator[RenderableType]:
    """At which agents the last arm's wrong answers first went wrong, and whether a doubt foretold them."""
    if findings.blame is not None:
        yield from (blame_table(findings.blame, findings.blame.arms[-1]), Text(""))
    last = (each for each in findings.discriminations if each.arm == findings.arms[-1])
    yield from _paragraph(_text(discrimination_told(each)) for each in last)


def _loss_lines(findings: Findings) -> Iterator[Text]:
    executions = findings.trials.records(["executions"])["executions"]
    again = executions[executions > 1]
    if len(again):
        yield _text(
            f"Lost workers: {sentences.plural(len(again), 'trial')} handed out {int(again.sum() - len(again))} more "
            "times; calls that were under way were made again"
        )


def _breaker_lines(findings: Findings) -> Iterator[Text]:
    """The breakers that opened."""
    for each in findings.breakers:
        if each["opened"]:
            yield _text(f"Breaker  {sentences.breaker(each)}")


def _condition_lines(findings: Findings) -> Iterator[Text]:
    if chosen := sentences.granularity(findings.manifest):
        yield _text(f"Granularity {chosen}")
    for told in sentences.predictions(findings.manifest):
        yield _text(told)
    manifest = findings.manifest
    for told in (sentences.crashes(manifest), sentences.cache(findings), sentences.prices(manifest)):
        if told:
            yield _text(told)
    yield _text(f"Run {findings.manifest['run_id']}: {sentences.outcome(findings.manifest)}")


def _paragraph(lines: Iterable[Text]) -> list[RenderableType]:
    """The lines, closed by an empty one where there are any."""
    kept: list[RenderableType] = list(lines)
    return [*kept, Text("")] if kept else []


def _lane_lines(lane: Lane, longest_s: float, scores: Iterable[tuple[str, str]]) -> Iterator[Text]:
    yield Text("")
    heading = _text(lane.arm, "bold").append(f"  repeat {lane.repeat}  ", style="not bold")
    yield heading.append(_state(lane.status)).append(f"  {SECONDS.format(lane.latency_s)}", style="not bold")
    yield _labelled("answer", lane.answer or "none")
    if lane.error:
        yield _labelled("error", lane.error)
    for name, told in scores:
        yield _labelled("score", f"{name.replace('_', ' ')} {told}")
    for bar in lane.bars:
        yield _bar_line(bar, longest_s)


def _bar_line(bar: Bar, longest_s: float) -> Text:
    """The agent, when it waited (`·`) and ran (`█`, or `▒` off the critical path), and for how long."""
    ready, start, end = (_column(at_s, longest_s) for at_s in (bar.ready_s, bar.start_s, bar.end_s))
    width = max(1, end - start) if bar.attempt else 0
    drawn = " " * ready + "·" * (start - ready) + ("█" if bar.on_chain else "▒") * width
    name = one_line(bar.agent) + (f" (try {bar.attempt})" if bar.attempt > 1 else "")
    line = Text(f"  {_clipped(name):<{NAME_WIDTH}}{drawn:<{BAR_WIDTH + 2}}")
    line.append(SECONDS.format(bar.duration_s) if bar.attempt else "", style="dim")
    return line if bar.status == "ok" else line.append("  ").append(_state(bar.status))


def _column(at_s: float, longest_s: float) -> int:
    return min(BAR_WIDTH, round(BAR_WIDTH * at_s / longest_s)) if longest_s > 0 else 0


def _clipped(name: str) -> str:
    """The name in its column; of a longer one both ends, which tell names apart better than beginnings."""
    room = NAME_WIDTH - 2
    return name if len(name) <= room else f"{name[: room // 2]}~{name[-(room - room // 2 - 1) :]}"


def _labelled(label: str, value: object) -> Text:
    return Text(f"{label:<11}", style="dim").append(plain(shortened(str(value), LONGEST_TEXT)), style="not dim")


def _state(state: str) -> Text:
    """A state in its colour; the word alone says it too."""
    return _text(state, STATE_STYLES.get(state, ""))


def _text(value: object, style: str = "") -> Text:
    return Text(one_line(shortened(str(value), LONGEST_LINE)), style=style)
