"""Lessons: what an answer teaches about the passages it was made from, and what that changes for similar prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quark_bench.agents.grounding import HALF, claimed, grounding, stems_of
from quark_bench.conversations import MOST_WORDS, Lesson
from quark_bench.language import content_stems

SIMILAR = 0.5
"""Prompts that share less than half of their stems are about something else."""


def subject(prompt: str) -> frozenset[str]:
    """The content stems by which a prompt is known as similar to another: the first MOST_WORDS."""
    return frozenset(list(dict.fromkeys(content_stems(prompt)))[:MOST_WORDS])


def lesson_of(prompt: str, answer: str, passages: Sequence[Mapping[str, Any]]) -> Lesson | None:
    """What an answer teaches: a passage that holds half of its content words or more bore it out, one that holds none
    was idle, and of the others nothing is known.

    None for an answer that claims nothing, as `yes`, and for a doubtful one, most of whose words no passage holds: it
    may be made up, and so would be what it says of its passages.
    """
    known = {str(passage["id"]): stems_of(passage) for passage in passages}
    if not claimed(answer) or grounding(answer, frozenset().union(*known.values())) < HALF:
        return None
    shares = {id_: grounding(answer, stems) for id_, stems in known.items()}
    bore = frozenset(id_ for id_, share in shares.items() if share >= HALF)
    return Lesson(subject(prompt), bore, frozenset(id_ for id_, share in shares.items() if share == 0))


def similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared stems over all stems (Jaccard 1901); 0 for prompts without any."""
    return len(one & other) / len(one | other) if one or other else 0.0


def factors(asked: frozenset[str], lessons: Iterable[Lesson]) -> dict[str, float]:
    """By how much lessons of similar prompts raise or lower a passage's score for the prompt of these stems, by its id.

    1/2 + (b + 1) / (b + i + 2): 1/2 plus the chance that the passage bears out the next answer after it bore out `b`
    and was idle for `i`, by Laplace's rule of succession (1774), every lesson counting by the similarity of its
    prompt. It is 1 where nothing is known, 7/6 or 5/6 after one lesson of the same prompt, and stays between 1/2 and
    3/2 after any number: lessons decide between passages that the words leave close together, the words between others.
    """
    bore: defaultdict[str, float] = defaultdict(float)
    idle: defaultdict[str, float] = defaultdict(float)
    for lesson in lessons:
        alike = similarity(asked, lesson.stems)
        if alike >= SIMILAR:
            for counts, passages in ((bore, lesson.bore), (idle, lesson.idle)):
                for passage in passages:
                    counts[passage] += alike
    return {id_: 0.5 + (bore[id_] + 1) / (bore[id_] + idle[id_] + 2) for id_ in [*bore, *idle]}
