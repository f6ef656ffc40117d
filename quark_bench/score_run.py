"""Score run: the stored records of a run are scored, part by part; what models were paid for is kept as it comes."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from quark_bench import store
from quark_bench.comparable import scored_by
from quark_bench.dataset import Dataset, Prompt, PromptsById
from quark_bench.errors import UsageError
from quark_bench.manifest import Manifest
from quark_bench.parts import StoredTable, list_tables
from quark_bench.progress import waiting
from quark_bench.record import RecordStatus, SpanStatus
from quark_bench.scoring import Answered, AskedScorer, Overall, ScoreRow, asks_models, judged_agents, score_records

ANSWERED = ("arm", "repeat", "prompt_id", "answer", "latency_s", "cost_usd", "status")
"""Columns of a record that are looked at to score it."""
OUTPUTS = ("arm", "repeat", "prompt_id", "agent", "status", "output")
"""Columns of a span that are looked at to score its agent."""
_NONE_KEPT: Mapping[str, str | None] = MappingProxyType({})
KEPT_TOGETHER = 100
"""Records whose scores are written at once where models judge: what was paid is not to be lost."""
COMPUTED_TOGETHER = 5_000
"""The same where scorers compute: 25,000 scores take 15 MB until they are written."""
UNDER_WAY = "scoring_under_way"
"""What a manifest calls the scorers that have not yet judged all records."""

Scorers = Sequence[AskedScorer | Overall]
TrialKey = tuple[str, int, str]
"""Arm, repeat and prompt id."""


def score_parts(
    path: Path,
    scorers: Scorers,
    prompts_of: Callable[[pd.DataFrame], Mapping[str, Prompt]],
    scored: Collection[TrialKey],
    kept: Callable[[ScoreRow], bool] = lambda row: True,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[int]:
    """Score the records that are not yet, and tell again and again how many are.

    `prompts_of` gives the prompts of a part's records; of the scores, those are written that are to be `kept`.
    """
    together, done = KEPT_TOGETHER if asks_models(scorers) else COMPUTED_TOGETHER, 0
    tables, agents = list_tables(path), judged_agents(scorers)
    for part, spans in zip(tables.records.parts(), tables.spans.parts(), strict=True):
        records = part.read(["block", "chunk", *ANSWERED])
        outputs = outputs_of(spans, agents) if agents else {}
        waiting = [each for each in _answered(records, outputs) if each[:3] not in scored]
        with contextlib.closing(score_records(waiting, prompts_of(records), scorers, clock)) as rows:
            before = done + len(records) - len(waiting)
            for trials, written in _by_trials(rows, together):
                if written:
                    store.write_scores(path, [row for row in written if kept(row)])
                yield before + trials
        done += len(records)
        yield done


def score_again(path: Path, scorers: Scorers, dataset: Dataset, told: Callable[[int, int], object]) -> None:
    """Score what these scorers have not judged in this version, and say so in the manifest, without measures.

    Scores of another version are replaced. Where it is interrupted, the same call goes on with what is missing. `told`
    is called with how many records are scored, and of how many.
    """
    manifest, prompts = store.read_manifest(path), PromptsById(dataset)
    planned = manifest["conservation"]["planned"]
    with waiting("scoring") as watcher:

        def tell(done: int) -> None:
            told(done, planned)
            if watcher is not None:
                watcher.scored(done, planned)

        store.write_manifest(path, _rescore(path, manifest, scorers, prompts, tell))


def _rescore(
    path: Path, manifest: Manifest, scorers: Scorers, prompts: Mapping[str, Prompt], told: Callable[[int], object]
) -> Manifest:
    before, now = scored_by(manifest), {each.name: each.version for each in scorers}
    unfinished = set(manifest.get(UNDER_WAY, ()))
    waiting = {name for name, version in now.items() if name in unfinished or before.get(name) != version}
    if not waiting:
        return manifest
    _require_outputs(path, scorers)
    if waiting == unfinished and all(before.get(name) == now[name] for name in waiting):
        scored = store.scored_trials(path, waiting)
    else:
        scored = set()
        manifest = manifest | {UNDER_WAY: sorted(unfinished | waiting)}
        store.write_manifest(path, manifest)  # before its scores go, and under the old versions: killed here, it
        store.forget_scores(path, waiting)  # begins anew
        names = list(dict.fromkeys([*manifest["scorers"], *now]))
        manifest = manifest | {"scorers": names, "score_versions": before | now}
        store.write_manifest(path, manifest)
    overall = any(isinstance(each, Overall) and each.name in waiting for each in scorers)
    asked = [each for each in scorers if overall or each.name in waiting]
    for done in score_parts(path, asked, lambda records: prompts, scored, lambda row: row.scorer in waiting):
        told(done)
    return manifest | {UNDER_WAY: sorted(unfinished - waiting)}


def outputs_of(spans: StoredTable, agents: Sequence[str]) -> dict[TrialKey, dict[str, str | None]]:
    """By trial, what was kept of these agents' outputs: None for one that failed, nothing for one that was skipped, or
    whose output nobody had asked for when it was called."""
    outputs: dict[TrialKey, dict[str, str | None]] = {}
    found = spans.read(OUTPUTS, pc.field("agent").isin(pa.array(agents, pa.string())))
    for arm, repeat, prompt_id, agent, status, output in zip(*(found[name].tolist() for name in OUTPUTS), strict=True):
        own = outputs.setdefault((arm, repeat, prompt_id), {})  # of several attempts the last counts
        if status == SpanStatus.FAILED or isinstance(output, str):
            own[agent] = output
        else:
            own.pop(agent, None)
    return outputs


def _require_outputs(path: Path, scorers: Scorers) -> None:
    """Raise UsageError for an agent whose outputs were not kept: nobody had asked for a score of it."""
    for agent in judged_agents(scorers):
        kept = (pc.field("agent") == agent) & pc.field("output").is_valid()
        if not any(len(part.arrow(["agent"], kept)) for part in list_tables(path).spans.parts()):
            raise UsageError(
                f"no output of {agent} was kept in {path.name}, as no score of that agent was asked for when it was "
                f"run; run it again with --score {agent}.MEASURE"
            )


def _answered(records: pd.DataFrame, outputs: Mapping[TrialKey, Mapping[str, str | None]]) -> Iterator[Answered]:
    """A failed trial has no answer, even where one of its agents gave some: nobody pays to have it judged."""
    columns = (records[name].tolist() for name in ANSWERED)
    for arm, repeat, prompt_id, answer, latency_s, cost_usd, status in zip(*columns, strict=True):
        given = answer if isinstance(answer, str) and status != RecordStatus.FAILED else None
        own = outputs.get((arm, repeat, prompt_id), _NONE_KEPT)
        yield Answered(arm, repeat, prompt_id, given, latency_s, cost_usd if cost_usd > 0 else 0.0, own)


def _by_trials(rows: Iterable[ScoreRow], trials: int) -> Iterator[tuple[int, list[ScoreRow]]]:
    """After each trial how many there were, and, after so many and at the end, the rows since the last time: a trial
    with one score counts as scored, so all of its scores are written at once."""
    count, together = 0, list[ScoreRow]()
    for count, (_, scores) in enumerate(itertools.groupby(rows, key=lambda row: row[:3]), 1):
        together.extend(scores)
        if count % trials:
            yield count, []
        else:
            yield count, together
            together = []
    yield count, together
