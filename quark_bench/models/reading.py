"""Reading: which sentence of some passages answers a question."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from quark_bench.language import content_stems, sentences, words

# Parts of a sentence's score beside its coverage, a share that counts 1. Set by hand, while looking at the quickstart.
PASSAGE = 0.5
TITLE = 0.4
PAIRS = 0.3
FIRST_PASSAGE = 0.15
FIRST_SENTENCE = 0.1
CUE = 0.4
REMEDY = 1.5  # a remedy seldom repeats the symptoms that were asked about


class Source(NamedTuple):
    """A passage as the reader sees it."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the form of answer it asks for, and how much each of its stems tells among the sources.

    `weights` holds every content stem of the question; one that no source has weighs as much as the rarest.
    """

    text: str
    kind: str
    stems: tuple[str, ...]
    weights: Mapping[str, float]
    found: frozenset[str]

    def cover(self, stems: set[str]) -> float:
        """Share that these stems hold of the weight that the sources as a whole hold."""
        # Sums of floats depend on their order, which a set of texts changes from process to process.
        whole = math.fsum(self.weights[stem] for stem in self.found)
        return math.fsum(self.weights[stem] for stem in self.found & stems) / whole if whole else 0.0


class Candidate(NamedTuple):
    """A sentence and how well it seems to answer; scores compare within one question only."""

    text: str
    score: float


def ask(text: str, kind: str, sources: Sequence[Source]) -> Question:
    """Weigh a question's stems by inverse document frequency over the sources' sentences.

    ln(1 + (N - n + 0.5) / (n + 0.5)), as BM25 weighs terms (Robertson & Zaragoza 2009, section 3.2, kept above 0).
    """
    units = [set(content_stems(f"{source.title} {part}")) for source in sources for part in sentences(source.text)]
    counts = Counter(stem for unit in units for stem in unit)
    said = content_stems(text)
    stems = tuple(stem for stem in said if stem not in _ASKING) or tuple(said)
    weights = {stem: math.log1p((len(units) - counts[stem] + 0.5) / (counts[stem] + 0.5)) for stem in stems}
    return Question(text, kind, stems, weights, frozenset(stem for stem in stems if counts[stem]))


def rank(question: Question, sources: Sequence[Source]) -> list[Candidate]:
    """Every sentence of the sources, the likeliest answer first; ties keep the sources' order."""
    cue = _cue_of(question)
    pairs = set(pairwise(question.stems))
    ranked = []
    for number, source in enumerate(sources):
        title = set(content_stems(source.title))
        parts = sentences(source.text)
        stems = [content_stems(part) for part in parts]
        start = PASSAGE * question.cover(title.union(*stems)) + FIRST_PASSAGE / (1 + number)
        for place, (part, own) in enumerate(zip(parts, stems, strict=True)):
            score = start + question.cover(set(own)) + TITLE * question.cover(title - set(own))
            score += PAIRS * len(pairs.intersection(pairwise(own))) / max(1, len(pairs))
            score += FIRST_SENTENCE * (place == 0) + cue(part)
            ranked.append(Candidate(part, score))
    return sorted(ranked, key=lambda candidate: -candidate.score)


_COPULA = re.compile(r"\s(?:is|are|was|were|means?|refers? to|consists? of)\s")

# Words of a question that ask for a kind of answer, which the kind says already, and tell nothing of the topic.
_ASKING = frozenset(
    content_stems(
        """compare define describe differ difference different differs distinguish explain help mean meaning means
        meant number plan show step steps tell term way word"""
    )
)
_KIND_CUES = {
    "comparison": re.compile(r"\b(?:whereas|while|but|than|unlike|both)\b"),
    "howto": re.compile(r"^To \w+"),
    "planning": re.compile(r"\bplan\b|^To \w+", re.IGNORECASE),
    "number": re.compile(r"\d"),
}
_CAUSE = re.compile(r"^(?:If|When)\b|\b(?:cause|reason|because|usually)\b")
_REMEDY = re.compile(r"\b(?:remedy|cure|solution|fix|helps?)\b|^(?:If|When) [^,]*, [a-z]+ (?:it|the|a)\b")
_ASKS_CAUSE = re.compile(r"\b(?:why|wrong|cause|causing|causes|reason)\b")
_ASKS_REMEDY = re.compile(r"\b(?:do|fix|help|solve|stop|repair|rid|remedy|save|prevent)\b")
_YEAR = re.compile(r"\b\d{3,4}\b")
_NAME = re.compile(r"\b[A-Z][a-z]+ (?:[a-z]+ )?[A-Z][a-z]+")
_NOTHING = re.compile(r"(?!)")


def _cue_of(question: Question) -> Callable[[str], float]:
    """What a sentence gains by looking as one does that gives this kind of answer."""
    if question.kind == "definition":
        return lambda sentence: CUE * (defined_from(question, sentence) is not None)
    pattern = _pattern_of(question)
    gain = REMEDY if pattern is _REMEDY else CUE
    return lambda sentence: gain * (pattern.search(sentence) is not None)


def _pattern_of(question: Question) -> re.Pattern[str]:
    asked = question.text.lower()
    if question.kind == "troubleshooting":
        return _REMEDY if _ASKS_REMEDY.search(asked) and not _ASKS_CAUSE.search(asked) else _CAUSE
    if question.kind == "fact" and "when" in words(asked):
        return _YEAR
    if question.kind == "fact" and "who" in words(asked):
        return _NAME
    return _KIND_CUES.get(question.kind, _NOTHING)


def defined_from(question: Question, sentence: str) -> int | None:
    """Where the definition begins in a sentence whose subject is just what the question asks about."""
    copula = _COPULA.search(sentence)
    subject = set(content_stems(sentence[: copula.start()])) if copula else set()
    return copula.end() if copula and subject and subject <= set(question.stems) else None
