"""Yes, no or maybe: the answer says the reference's."""

from __future__ import annotations

import re

from quark_bench.scoring.score import ReferenceScorer, Score
from quark_bench.scoring.words import words

SAYS = {"yes": "yes", "true": "yes", "no": "no", "false": "no", "maybe": "maybe"}
"""What each word says."""

_STATED = re.compile(r"\banswer\b(?:\s+is)?\W*(yes|no|maybe|true|false)\b", re.IGNORECASE)


def judge_yes_no(answer: str, reference: str) -> Score | None:
    """1 where the answer says what the reference does, else 0, also where it says none of them; None for a reference
    that is none of yes, no, maybe, true and false.

    An answer says the word that it begins with, or else the last one after `answer is`, or else the only one in it.
    """
    wanted = SAYS.get(" ".join(words(reference)))
    if wanted is None:
        return None
    said = verdict_of(answer)
    if said is None:
        return Score(0.0, "says neither yes, no nor maybe")
    return Score(float(said == wanted), f"says {said}")


def verdict_of(answer: str) -> str | None:
    """What an answer says: yes, no or maybe; None where it says none of them, or several."""
    found = words(answer)
    if found and found[0] in SAYS:
        return SAYS[found[0]]
    if stated := _STATED.findall(answer):
        return SAYS[stated[-1].lower()]
    said = {SAYS[word] for word in found if word in SAYS}
    return said.pop() if len(said) == 1 else None


YES_NO = ReferenceScorer("yes_no", "1", judge_yes_no)
