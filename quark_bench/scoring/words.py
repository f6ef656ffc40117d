"""Words: a text reduced to what makes answers the same."""

from __future__ import annotations

import functools
import re
import unicodedata

ARTICLES = frozenset({"a", "an", "the"})

_MARK = re.compile(r"(?P<in_number>(?<![^\W\d])(?<!\.)\.(?=\d)|(?<!\w)-(?=\.?\d))|[^\w\s]|_")


@functools.lru_cache(maxsize=64)
def words(text: str) -> tuple[str, ...]:
    """The words of a text without case, punctuation and articles, as SQuAD's evaluation normalises answers
    (`normalize_answer` of evaluate-v1.1.py, Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250).

    Different from there: punctuation is Unicode's, not ASCII's; a number keeps its point and its sign, so that
    3.5 is not 35; a text that is all articles keeps them, so that the choice "A" is not nothing. The last few are
    remembered: all scorers ask for the same answer.
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("\N{MINUS SIGN}", "-")
    found = _MARK.sub(_without_punctuation, plain).split()
    return tuple(word for word in found if word not in ARTICLES) or tuple(found)


def _without_punctuation(mark: re.Match[str]) -> str:
    # Vowel signs of Hindi or Thai are neither letters nor punctuation to a regular expression: they stay.
    is_punctuation = unicodedata.category(mark[0])[0] in "PS"
    return "" if is_punctuation and mark["in_number"] is None else mark[0]
