"""The page: one file that opens anywhere, offline, with nothing in it that a user's text could start."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

import pandas as pd
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from quark_bench import units
from quark_bench.compare import Comparison, Ratio
from quark_bench.plain import plain, shortened
from quark_bench.report import figures, gate_cells, gate_sentences, sentences
from quark_bench.report.cells import PERCENTILES, grid, interval, score_rows, speed_rows
from quark_bench.report.dag import dag_svg
from quark_bench.report.failures import kinds_of_failure
from quark_bench.report.findings import Findings
from quark_bench.report.pairs import Pairs, pairs_of
from quark_bench.report.ratios import ratios
from quark_bench.report.timeline import timeline
from quark_bench.report.waterfall import Lane, lanes, typical_trial
from quark_bench.units import COUNT, RATIO, SCORE, SECONDS, SHARE, Unit

MOST_FAILURES = 20
"""Kinds of failure that are listed; the page says how many more there are."""

LONGEST_TEXT = 20_000
"""Characters of any one text that the page takes; of a longer one it says how many there were."""

AGENT_COLUMNS: tuple[tuple[str, str, Unit], ...] = (
    ("calls", "calls", COUNT),
    ("failed", "failed", COUNT),
    ("fallback", "fallback", COUNT),
    ("skipped", "skipped", COUNT),
    ("cached", "cached", COUNT),
    ("p50_s", "median", SECONDS),
    ("p95_s", "95 %", SECONDS),
    ("queue_s", "mean wait", SECONDS),
    ("work_share", "of work", SHARE),
    ("critical_path_share", "of critical path", SHARE),
    ("tokens_in", "tokens in", COUNT),
    ("tokens_out", "tokens out", COUNT),
    ("simulated_share", "simulated", SHARE),
)
"""Column of the agents' table, header, unit."""
BARRED = ("work_share", "critical_path_share")
"""Columns in which a bar leads the eye to the agents worth speeding up."""


def render(findings: Findings) -> str:
    """The findings as one HTML document: no network, no script but ours, everything from outside escaped."""
    script, pairs = _resource("report.js"), pairs_of(findings)
    return _template().render(
        css=Markup(_resource("report.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        manifest=findings.manifest,
        findings=findings,
        say=sentences,
        units=units,
        gate=findings.gate,
        gate_say=gate_sentences,
        gate_cells=gate_cells,
        colours=figures.COLOURS,
        speed=grid(findings, speed_rows(findings)),
        percentiles=grid(findings, PERCENTILES),
        scores=grid(findings, score_rows(findings)),
        score_differences=_score_differences(findings),
        figures=_figures(findings, pairs),
        pairs=pairs,
        dag=Markup(dag_svg(findings.layout)),  # noqa: S704 - names are escaped there
        example=_example(findings),
        timeline=timeline(findings),
        agents=_agent_grids(findings),
        failures=kinds_of_failure(findings, MOST_FAILURES),
        facts=_facts(findings),
        tiles=_tiles(findings),
        prompt_text=lambda prompt_id: _prompt_text(findings, prompt_id),
    )


@dataclass(frozen=True, slots=True)
class AgentCell:
    """A number of the agents' table; `percent` draws a bar behind it, None draws none."""

    text: str
    percent: float | None


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent and its numbers."""

    agent: str
    cells: tuple[AgentCell, ...]


@dataclass(frozen=True, slots=True)
class AgentGrid:
    """The agents of one arm, a row each."""

    headers: tuple[str, ...]
    rows: tuple[AgentRow, ...]


@dataclass(frozen=True, slots=True)
class ScoreDifference:
    """What one scorer gave the second arm beyond the first, as text."""

    scorer: str
    arms: str
    value: str
    bounds: str
    note: str


@dataclass(frozen=True, slots=True)
class Tile:
    """A number at the top of the page; `tone` is `good`, `bad` or empty."""

    label: str
    value: str
    detail: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """The prompt of the waterfall, with its record in each arm."""

    prompt_id: str
    text: str
    reference: tuple[str, ...]
    lanes: tuple[Lane, ...]


def _tiles(findings: Findings) -> list[Tile]:
    """The few numbers that are read first."""
    ended = findings.manifest["conservation"]
    found = findings.main_comparison
    answered = ended["ok"] + ended["degraded"]
    tiles = _comparison_tiles(found) if found else _arm_tiles(findings, findings.arms[-1])
    tone = "bad" if answered < ended["planned"] else "good"
    tiles.append(Tile("answered", f"{COUNT.format(answered)} of {COUNT.format(ended['planned'])}", "trials", tone))
    if findings.slos:
        met = sum(result.met is True for result in findings.slos)
        missed = any(result.given and result.met is False for result in findings.slos)
        tone = "bad" if missed else "good" if met == len(findings.slos) else ""
        wanted = "objectives met" if any(result.given for result in findings.slos) else "default targets met"
        tiles.append(Tile(wanted, f"{met} of {len(findings.slos)}", "service levels", tone))
    return tiles


def _comparison_tiles(found: Comparison) -> list[Tile]:
    differ = found.answers_differ_count
    return [
        _ratio_tile("throughput gain", found.throughput, "block"),
        _ratio_tile("latency gain", found.latency, "prompt"),
        Tile("answers that differ", COUNT.format(differ), f"{found.b} vs {found.a}", "bad" if differ else "good"),
    ]


def _ratio_tile(label: str, ratio: Ratio, counted: str) -> Tile:
    bounds = interval(RATIO, ratio.low, ratio.high)
    tone = ""
    if ratio.low is not None and ratio.high is not None:
        tone = "good" if ratio.low > 1 else "bad" if ratio.high < 1 else ""
    stated = f"{bounds}, {sentences.plural(ratio.n, counted)}" if bounds else ratio.note
    return Tile(label, RATIO.format(ratio.value), stated, tone)


def _arm_tiles(findings: Findings, arm: str) -> list[Tile]:
    shown = (("median latency", "p50_latency_s"), ("95 % latency", "p95_latency_s"), ("throughput", "throughput_per_s"))
    measures = ((label, findings.measure(arm, name)) for label, name in shown)
    return [
        Tile(f"{label}, {arm}", each.unit.format(each.value), interval(each.unit, each.low, each.high) or each.note)
        for label, each in measures
        if each is not None
    ]


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_bounded
    )
    return environment.from_string(_resource("report.html.j2"))


def _bounded(value: object) -> object:
    """What stands in the template's braces: text from outside is cut and its control characters are shown."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return plain(shortened(value, LONGEST_TEXT))
    return value


def _resource(name: str) -> str:
    return files("quark_bench.report").joinpath(name).read_text("utf-8")


def _figures(findings: Findings, pairs: Pairs | None) -> dict[str, Markup]:
    """The figures that there is something to draw for; matplotlib has escaped their texts."""
    drawn = {
        "forest": figures.forest_figure(findings, ratios(findings)),
        "pairs": figures.pairs_figure(findings, pairs),
        "attribution": figures.attribution_figure(findings),
        "latency": figures.latency_figure(findings),
        "waterfall": figures.waterfall_figure(findings),
        "load": figures.load_figure(findings),
        "order": figures.order_figure(findings),
    }
    return {name: Markup(svg) for name, svg in drawn.items() if svg is not None}  # noqa: S704 - our own drawing


def _example(findings: Findings) -> Example | None:
    chosen = typical_trial(findings)
    if chosen is None:
        return None
    prompt_id, repeat = chosen
    prompt = findings.prompts.get(prompt_id)
    reference = prompt.reference if prompt else ()
    return Example(prompt_id, _prompt_text(findings, prompt_id), reference, lanes(findings, prompt_id, repeat))


def _prompt_text(findings: Findings, prompt_id: str) -> str:
    prompt = findings.prompts.get(prompt_id)
    return prompt.text if prompt else ""


def _agent_grids(findings: Findings) -> dict[str, AgentGrid]:
    """The agents' table of each arm; columns that say nothing in any arm are left out."""
    tables = {arm: findings.agents[arm] for arm in findings.arms if arm in findings.agents}
    shown = [column for column in AGENT_COLUMNS if any(_says_something(t, column[0]) for t in tables.values())]
    headers = tuple(header for _, header, _ in shown)
    return {arm: AgentGrid(headers, tuple(_agent_rows(table, shown))) for arm, table in tables.items()}


def _agent_rows(table: pd.DataFrame, shown: Sequence[tuple[str, str, Unit]]) -> Iterator[AgentRow]:
    for agent, row in table.iterrows():
        yield AgentRow(
            str(agent), tuple(_agent_cell(float(row[name]), unit, name in BARRED) for name, _, unit in shown)
        )


def _says_something(table: pd.DataFrame, name: str) -> bool:
    return name in table and bool(table[name].fillna(0).astype(bool).any())


def _agent_cell(value: float, unit: Unit, barred: bool) -> AgentCell:
    return AgentCell(unit.format(value), round(min(1.0, value) * 100, 1) if barred and not math.isnan(value) else None)


def _score_differences(findings: Findings) -> list[ScoreDifference]:
    return [
        ScoreDifference(
            scorer=name.replace("_", " "),
            arms=f"{found.b} - {found.a}",
            value=SCORE.format(each.value),
            bounds=SCORE.format_interval(each.low, each.high),
            note=each.note,
        )
        for found in findings.comparisons
        for name, each in found.scores.items()
    ]


def _facts(findings: Findings) -> list[tuple[str, str]]:
    """What the run was made of and where, label by label."""
    manifest = findings.manifest
    data, pipeline, cluster = manifest["dataset"], manifest["pipeline"], manifest["cluster"]
    own = {
        "data set": data["path"],
        "pipeline": pipeline["name"],
        "model": pipeline["model"],
        "arms": ", ".join(
            f"{arm['name']} ({arm['strategy']}, {arm['in_flight']} in flight)" for arm in manifest["arms"]
        ),
        "repeats": manifest["repeats"],
        "warm-up": sentences.plural(manifest["warmup"], "trial"),
        "granularity": sentences.granularity(manifest),
        "makespan": "; ".join(sentences.predictions(manifest)),
        "ran on": cluster.get("on"),
        "workers": cluster.get("workers"),
        "threads": cluster.get("threads"),
        "crashes": sentences.crashes(manifest),
        "cache": sentences.cache(findings),
    }
    known = ((label, str(value)) for label, value in (own | dict(manifest["provenance"])).items())
    return [(label, value) for label, value in known if value not in ("", "None")]
