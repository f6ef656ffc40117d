"""Registry: the built-in scorers by name, and how each is made of its options."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quark_bench.errors import PipelineError
from quark_bench.model import Model
from quark_bench.score_measures import OVERALL, deciding_scorer
from quark_bench.scoring.agents import CALIBRATION, MEASURES, AgentScorer, Calibration
from quark_bench.scoring.asked import AskedScorer, Overall, with_overall
from quark_bench.scoring.choice import Choice
from quark_bench.scoring.contains import CONTAINS
from quark_bench.scoring.exact import EXACT
from quark_bench.scoring.f1 import F1
from quark_bench.scoring.function import function_scorer
from quark_bench.scoring.json_answer import json_answer
from quark_bench.scoring.judge import Judge
from quark_bench.scoring.number import TOLERANCE, number
from quark_bench.scoring.overlap import ROUGE, bleu, chrf, rouge
from quark_bench.scoring.regex import regex
from quark_bench.scoring.rubric import read_rubric
from quark_bench.scoring.score import PASS, Judging, Scorer
from quark_bench.scoring.similarity import similarity
from quark_bench.scoring.spec import Spec, parse_spec
from quark_bench.scoring.yes_no import YES_NO
from quark_bench.trials import AGENT_DOT

DEFAULT = ("exact", "contains", "number", "f1")
"""Those that judge a data set with references where nobody names any."""

SERVER = ("base_url", "api_key_env", "prices")
"""Options of a judge that go with its model's name."""


@dataclass(frozen=True, slots=True)
class Loaders:
    """How a door finds what scorers need of elsewhere: a model by its spec and the options of SERVER, and a function by
    `FILE.py:NAME` with a hash of its code, both raising UsageError; and an agent's own name by how it was written,
    raising PipelineError."""

    model: Callable[..., Model] | None = None
    function: Callable[[str], tuple[Any, str]] | None = None
    agent: Callable[[str], str] | None = None


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of scorer: the options it has, and what makes one."""

    make: Callable[[Spec, Loaders], Scorer | Judging]
    options: tuple[str, ...] = ()


def _judge(spec: Spec, loaders: Loaders) -> Judge:
    if "model" not in spec.options:
        spec.fail("name a model that judges, as in: --score judge:model=openai:NAME,rubric=FILE")
    assert loaders.model is not None, "whoever takes judges can make models"
    where = {option: value for option in SERVER if (value := spec.one(option)) is not None}
    models = [loaders.model(each, **where) for each in dict.fromkeys(spec.options["model"])]
    return Judge(models, read_rubric(spec.one("rubric")), spec.flag("both_ways"))


def _similarity(spec: Spec, loaders: Loaders) -> Scorer:
    encoder = spec.one("encoder")
    if encoder is None:
        spec.fail("name what turns texts into vectors: --score similarity:encoder=FILE.py:NAME")
    function, code_hash = _function(encoder, loaders)
    if not callable(function):
        spec.fail(f"{encoder} is a {type(function).__name__}, no function; write def NAME(texts)")
    return similarity(function, code_hash[:12])


def _function(named: str, loaders: Loaders) -> tuple[Any, str]:
    assert loaders.function is not None, "whoever takes functions can find them"
    return loaders.function(named)


def _number(spec: Spec, loaders: Loaders) -> Scorer:
    tolerance = spec.number("tolerance")
    return number(TOLERANCE if tolerance is None else tolerance)


_KINDS: Mapping[str, _Kind] = {
    "exact": _Kind(lambda spec, loaders: EXACT),
    "contains": _Kind(lambda spec, loaders: CONTAINS),
    "number": _Kind(_number, ("tolerance",)),
    "f1": _Kind(lambda spec, loaders: F1),
    "choice": _Kind(lambda spec, loaders: Choice()),
    "yes_no": _Kind(lambda spec, loaders: YES_NO),
    "regex": _Kind(lambda spec, loaders: regex(spec.one("pattern")), ("pattern",)),
    **{name: _Kind(lambda spec, loaders: rouge(spec.kind)) for name in ROUGE},
    "bleu": _Kind(lambda spec, loaders: bleu()),
    "chrf": _Kind(lambda spec, loaders: chrf()),
    "json": _Kind(lambda spec, loaders: json_answer(spec.one("schema")), ("schema",)),
    "similarity": _Kind(_similarity, ("encoder",)),
    "judge": _Kind(_judge, ("model", "rubric", "both_ways", *SERVER)),
}
BUILT_IN = tuple(_KINDS)
"""Names of the built-in scorers, beside the bounds and functions."""


def scorers_named(specs: Iterable[str], loaders: Loaders | None = None) -> list[AskedScorer | Overall]:
    """The scorers that are written so, see `spec`, each once; and the overall score where any of them has a weight.

    Raises UsageError: for an unknown scorer or option with the nearest, and for two of one name.
    """
    asked: dict[str, AskedScorer] = {}
    written = [parse_spec(text, BUILT_IN) for text in dict.fromkeys(specs)]
    for spec in sorted(written, key=_is_calibration):  # they judge by the others
        made = _calibration(spec, loaders or Loaders(), asked) if _is_calibration(spec) else _asked(spec, loaders)
        if made.name in asked or made.name == OVERALL:
            spec.fail(f"there is a score {made.name!r} already; give it another name: name=...")
        asked[made.name] = made
    return with_overall(asked.values())


def _asked(spec: Spec, loaders: Loaders | None) -> AskedScorer:
    loaders = loaders or Loaders()
    kind = _KINDS.get(spec.kind)
    spec.allow(kind.options if kind else ())
    weight, threshold, name = spec.number("weight"), spec.number("threshold", most=1), spec.name
    scorer: Scorer | Judging
    if spec.bound is not None:
        scorer = spec.bound
    elif spec.of_agent is not None:
        scorer = _of_agent(spec, loaders)
        name = name and f"{scorer.agent}{AGENT_DOT}{name}"
    elif kind is not None:
        scorer = kind.make(spec, loaders)
    else:
        scorer = function_scorer(spec.kind, *_function(spec.kind, loaders))
    return AskedScorer(scorer, name or scorer.name + ("" if threshold is None else PASS), weight, threshold)


def _is_calibration(spec: Spec) -> bool:
    return spec.of_agent is not None and spec.of_agent.measure == CALIBRATION


def _of_agent(spec: Spec, loaders: Loaders) -> AgentScorer:
    assert spec.of_agent is not None, "that is how it was chosen"
    _, measure, k = spec.of_agent
    if measure not in MEASURES:
        known = (*MEASURES, CALIBRATION)
        near = difflib.get_close_matches(measure, known, 1, cutoff=0)[0]
        spec.fail(f"an agent has no measure {measure!r}; did you mean {near!r}? measures: {', '.join(known)}")
    if k is not None and (k < 1 or not MEASURES[measure].takes_k):
        spec.fail("@ and a number of 1 or more stand after recall, precision, mrr and relevance only")
    return AgentScorer(_agent(spec, loaders), measure, k)


def _agent(spec: Spec, loaders: Loaders) -> str:
    assert spec.of_agent is not None, "that is how it was chosen"
    try:
        return loaders.agent(spec.of_agent.agent) if loaders.agent else spec.of_agent.agent
    except PipelineError as error:
        spec.fail(str(error))


def _calibration(spec: Spec, loaders: Loaders, others: Mapping[str, AskedScorer]) -> AskedScorer:
    if spec.options or spec.of_agent is None or spec.of_agent.k is not None:
        spec.fail("it judges a doubt and no answer: it takes no options and no @")
    by = deciding_scorer(each.name for each in with_overall(others.values()))
    if by is None:
        spec.fail("a doubt is judged by whether the answer was right: name a scorer of answers too, as --score exact")
    scorer = Calibration(_agent(spec, loaders), by)
    return AskedScorer(scorer, scorer.name)
