"""Answering: the likeliest sentences put into the form that a kind of question asks for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from quark_bench.language import content_stems, stem, words
from quark_bench.models.reading import Candidate, Question, defined_from

UNKNOWN = "I do not know."
"""What is answered from passages that hold nothing."""

CONSIDERED = 3
"""Sentences in which a number is looked for."""

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_NUMBER = re.compile(r"^\d+(?:\.\d+)?$")
_COUNTED = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBER_WORDS = {name: str(number) for number, name in enumerate(_COUNTED, 2)}
_NEGATION = frozenset({"not", "no", "never", "cannot", "without", "nor", "neither", "nothing", "none"})
_CLAUSE = re.compile(r"[;,:]\s+|\s+(?=(?:but|whereas|while|although|so|because)\b)")
_SUBORDINATE = re.compile(r"^(?:To|If|When|Once|After|Before|For|Because|Although|Since)\b[^,;:]*,\s+")
_LEAD_IN = re.compile(r"^[^,;:]{1,80}?\s(?:is|was) (?:to|that)\s+")
_COLON = re.compile(r"^(?:\S+ ){1,10}?\S+: (?=(?:\S+ ){4})")


def answer(question: Question, ranked: Sequence[Candidate]) -> str:
    """The answer, by the question's kind; UNKNOWN where nothing ranked shares a word with the question."""
    if not ranked or not question.found:
        return UNKNOWN
    return _FORMS.get(question.kind, _sentence)(question, ranked)


def _sentence(question: Question, ranked: Sequence[Candidate]) -> str:
    return _bare(ranked[0].text)


def _definition(question: Question, ranked: Sequence[Candidate]) -> str:
    """What is said of the word asked about, without the word."""
    text = ranked[0].text
    return _bare(text[defined_from(question, text) or 0 :])


def _deed(question: Question, ranked: Sequence[Candidate]) -> str:
    """What to do, or what is the matter, without the circumstances that the question gave."""
    text = ranked[0].text
    for lead in (_SUBORDINATE, _LEAD_IN, _COLON):
        text = lead.sub("", text)
    return _bare(text)


def _number(question: Question, ranked: Sequence[Candidate]) -> str:
    """The number nearest to the question's words: one before a word asked for if possible, none of the question's."""
    scored = [
        (candidate.score + nearness, -order, number)
        for order, candidate in enumerate(ranked[:CONSIDERED])
        for number, nearness in _numbers(question, candidate.text)
    ]
    return max(scored)[2] if scored else _sentence(question, ranked)


def _numbers(question: Question, text: str) -> list[tuple[str, float]]:
    tokens = words(_THOUSANDS.sub("", text))
    given = set(words(_THOUSANDS.sub("", question.text)))
    weights = [question.weights.get(stem(token), 0.0) for token in tokens]
    whole = sum(weights) or 1.0
    found = []
    for at, token in enumerate(tokens):
        number = _NUMBER_WORDS.get(token, token)
        if _NUMBER.match(number):
            near = sum(weight / (1 + abs(at - other)) for other, weight in enumerate(weights)) / whole
            found.append((number, near + any(weights[at + 1 : at + 3]) - 2 * (number in given)))
    return found


def _yes_or_no(question: Question, ranked: Sequence[Candidate]) -> str:
    """What the clause that covers most of the question says: its negation against the question's."""
    text = ranked[0].text
    first = words(text)[:1]
    if first in (["yes"], ["no"]):
        return first[0]
    clauses = [part for part in _CLAUSE.split(text) if part]
    best = max(clauses, key=lambda clause: question.cover(set(content_stems(clause))))
    denied = bool(_NEGATION.intersection(words(best))) != bool(_NEGATION.intersection(words(question.text)))
    return "no" if denied != _turned_round(question.text, best) else "yes"


def _turned_round(question: str, clause: str) -> bool:
    """Whether both compare with `than` and what one puts before it the other puts after."""
    if " than " not in question or " than " not in clause:
        return False
    (asked_left, asked_right), (told_left, told_right) = (
        [set(content_stems(side)) for side in text.split(" than ", 1)] for text in (question, clause)
    )
    straight = len(asked_left & told_left) + len(asked_right & told_right)
    return len(asked_left & told_right) + len(asked_right & told_left) > straight


def _bare(text: str) -> str:
    return text.strip().rstrip(".").strip() or UNKNOWN


_FORMS: Mapping[str, Callable[[Question, Sequence[Candidate]], str]] = {
    "definition": _definition,
    "howto": _deed,
    "planning": _deed,
    "troubleshooting": _deed,
    "number": _number,
    "yesno": _yes_or_no,
}
