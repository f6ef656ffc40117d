"""The page: one file that opens anywhere, offline, with nothing in it that a user's text could start."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup

from quark_bench import units
from quark_bench.arrivals import load_of
from quark_bench.plain import shortened
from quark_bench.report import (
    arrivals_cells,
    blame_table,
    categories,
    environment,
    figures,
    gate_cells,
    gate_sentences,
    model_cells,
    sentences,
    what_if_table,
)
from quark_bench.report.agent_cells import agent_grids, agent_weights
from quark_bench.report.categories import Categories
from quark_bench.report.cells import PERCENTILES, grid, more_rows, score_rows, speed_rows
from quark_bench.report.dag import dag_svg
from quark_bench.report.failures import kinds_of_failure
from quark_bench.report.findings import Findings
from quark_bench.report.page import policy, resource, stylesheet, template
from quark_bench.report.pairs import Pairs, pairs_of
from quark_bench.report.parity import differing
from quark_bench.report.ratios import ratios
from quark_bench.report.scoring import scoring_told
from quark_bench.report.tiles import tiles
from quark_bench.report.timeline import timeline
from quark_bench.report.waterfall import Lane, lanes, typical_trial
from quark_bench.units import SCORE
from quark_bench.what_if import FASTER

MOST_FAILURES = 20
"""Kinds of failure that are listed; the page says how many more there are."""

LONGEST_TEXT = 20_000
"""Characters of any one text that the page takes; of a longer one it says how many there were."""

CONTENTS = "<nav></nav>"
"""Stands in the template where the contents go once it is known what there is."""
LONGEST_NAME = 300
"""Characters of a text that is only named in passing."""


def render(findings: Findings) -> str:
    """The findings as one HTML document: no network, no script but ours, everything from outside escaped."""
    script, pairs, by_category = resource("report.js"), pairs_of(findings), categories.categories(findings)
    page = template("report.html.j2", LONGEST_TEXT).render(
        css=stylesheet(),
        script=Markup(script),  # noqa: S704 - our own file
        policy=policy(script),
        manifest=findings.manifest,
        findings=findings,
        say=sentences,
        units=units,
        gate=findings.gate,
        gate_say=gate_sentences,
        gate_cells=gate_cells,
        categories=categories,
        environment=environment,
        arrivals_cells=arrivals_cells,
        what_if_table=what_if_table,
        models=model_cells,
        faster=FASTER,
        colours=figures.COLOURS,
        speed=grid(findings, speed_rows(findings)),
        more=grid(findings, more_rows(findings)),
        percentiles=grid(findings, PERCENTILES),
        scores=grid(findings, score_rows(findings)),
        blame=blame_table,
        differing=differing(findings),
        score_differences=_score_differences(findings),
        scoring=list(scoring_told(findings)),
        figures=_figures(findings, pairs, by_category),
        pairs=pairs,
        by_category=by_category,
        dag=Markup(dag_svg(findings.layout, agent_weights(findings, findings.arms[-1]))),  # noqa: S704 - names are escaped there
        example=_example(findings),
        timeline=timeline(findings),
        agents=agent_grids(findings),
        failures=kinds_of_failure(findings, MOST_FAILURES),
        facts=_facts(findings),
        tiles=tiles(findings),
        prompt_text=lambda prompt_id: brief(_prompt_text(findings, prompt_id)),
        brief=brief,
    )
    return page.replace(CONTENTS, f'<nav aria-label="Contents"><ul>{_contents(page)}</ul></nav>', 1)


def _contents(page: str) -> str:
    """Links to the sections that the page has; texts from outside are escaped, so none looks like one."""
    found = re.findall(r'<section id="([a-z]+)">\n<h2>([^<]+)</h2>', page)
    return "".join(f'<li><a href="#{place}">{title}</a></li>' for place, title in found)


@dataclass(frozen=True, slots=True)
class ScoreDifference:
    """What one scorer gave the second arm beyond the first, as text."""

    scorer: str
    arms: str
    value: str
    bounds: str
    note: str


@dataclass(frozen=True, slots=True)
class Example:
    """The prompt of the waterfall, with its record in each arm."""

    prompt_id: str
    text: str
    reference: tuple[str, ...]
    lanes: tuple[Lane, ...]


def brief(text: str) -> str:
    """The beginning of a text that is named, not shown."""
    return shortened(text, LONGEST_NAME)


def _figures(findings: Findings, pairs: Pairs | None, by_category: Categories | None) -> dict[str, Markup]:
    """The figures that there is something to draw for; matplotlib has escaped their texts."""
    drawn = {name: figure(findings) for name, figure in figures.FIGURES.items()} | {
        "forest": figures.forest_figure(findings, ratios(findings)),
        "pairs": figures.pairs_figure(findings, pairs),
        "categories": figures.categories_figure(findings, by_category),
        "ceilings": figures.ceilings_figure(findings),
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
        "arms": ", ".join(f"{arm['name']} ({arm['strategy']}, {load_of(arm)})" for arm in manifest["arms"]),
        "repeats": manifest["repeats"],
        "warm-up": sentences.plural(manifest["warmup"], "trial"),
        "granularity": sentences.granularity(manifest),
        "makespan": "; ".join(sentences.predictions(manifest)),
        "ran on": cluster.get("on"),
        "workers": cluster.get("workers"),
        "threads": cluster.get("threads"),
        "crashes": sentences.crashes(manifest),
        "cache": sentences.cache(findings),
        "cost": sentences.prices(manifest).removeprefix("Cost: "),
    }
    known = ((label, str(value)) for label, value in (own | dict(manifest["provenance"])).items())
    return [(label, value) for label, value in known if value not in ("", "None")]
