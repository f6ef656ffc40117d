"""Language: text into words, stems and sentences; small, English, and the same for every agent and model here."""

from __future__ import annotations

import re
from functools import lru_cache

TOKENS_PER_WORD = 1.3
"""Rule of thumb for English under byte-pair encoders: three words make about four tokens."""

_WORD = re.compile(r"\d+(?:\.\d+)+|[^\W_]+")

FUNCTION_WORDS = frozenset(
    _WORD.findall(
        """
        a about after again all also am an and any are as at be because been before being both but by can
        could d did do does doing each either else ever exactly for from had has have having he her here hers
        him his how i if in into is it its itself just ll m may me might mine more most must my no nor not of
        off on once only or other our out over own please really s same shall she should so some such t than
        that the their them then there these they this those to too under up us ve very was we were what when
        where whether which while who whom whose why will with would yes you your yours
        """
    )
)
"""Words that say how a sentence is built rather than what it is about."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[^\sa-z])|\n+")
_VOWEL = re.compile(r"[aeiouy]")
_ENDINGS = ("ing", "est", "ed", "er", "or", "ly")


def words(text: str) -> list[str]:
    """The words and numbers of a text in lower case; decimals stay whole, hyphens part words."""
    return _WORD.findall(text.lower())


def content_stems(text: str) -> list[str]:
    """Stems of the words that carry the meaning, in order, with repeats."""
    return [stem(word) for word in words(text) if word not in FUNCTION_WORDS]


def sentences(text: str) -> list[str]:
    """The sentences of a text, trimmed; a line break ends one too."""
    return [part for part in (piece.strip() for piece in _SENTENCE_END.split(text)) if part]


def estimated_tokens(text: str) -> int:
    """About how many tokens a text takes: an estimate by words, no tokeniser's count."""
    return round(len(text.split()) * TOKENS_PER_WORD)


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """A word without its commonest English endings, so that `plans`, `planned` and `planning` meet.

    Far coarser than Porter's stemmer: it only has to map a question's word and a passage's alike.
    """
    if len(word) < 4 or not word.isalpha():
        return word
    if word.endswith("ies"):
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in _ENDINGS:
        rest = word.removesuffix(ending)
        if rest != word and len(rest) > 2 and _VOWEL.search(rest):
            word = rest[:-1] if rest[-1] == rest[-2] and rest[-1] not in "lsz" else rest
            break
    return word.removesuffix("e") if len(word) > 3 else word
