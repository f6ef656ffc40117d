"""The laws of fingerprints, on which idempotency keys rest: equal values, equal hash, wherever it is taken."""

import pickle
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.fingerprint import canonical_form

texts = st.text("ab'\",:\\{é\ud83d")
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.binary()
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(texts | st.integers(), inner) | st.frozensets(plain)
    ),
    max_leaves=20,
)


@dataclass
class Passage:
    text: str
    rank: int


class Colour(Enum):
    RED = 1


class Held:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("first", "second")

    def __init__(self, first):
        self.first = first


def typed(value):
    """The value with the types of its parts, so that 1, 1.0 and True are told apart as fingerprints do."""
    if isinstance(value, dict):
        return dict, frozenset((typed(key), typed(part)) for key, part in value.items())
    if isinstance(value, frozenset):
        return frozenset, frozenset(map(typed, value))
    if isinstance(value, list | tuple):
        return type(value), tuple(map(typed, value))
    return type(value), repr(value)


@given(values, values)
def test_fingerprints_are_equal_where_values_of_equal_types_are(one, other):
    assert (canonical_form(one) == canonical_form(other)) == (typed(one) == typed(other))


@given(values)
def test_a_value_that_has_travelled_has_its_fingerprint_still(value):
    assert canonical_form(pickle.loads(pickle.dumps(value))) == canonical_form(value)


@given(st.dictionaries(texts, st.integers(), min_size=2))
def test_the_order_of_keys_does_not_count(value):
    assert canonical_form(dict(reversed(value.items()))) == canonical_form(value)


KINDS = [
    Passage("text", 1),
    Colour.RED,
    Held(text="text", inner=Held(rank={1, 2})),
    Slotted([1]),
    datetime(2026, 1, 2, tzinfo=UTC),
    Decimal("1.5"),
    Path("a/b"),
    np.arange(6).reshape(2, 3),
    np.float32(1.5),
    ValueError("no such order", 3),
    {Passage: [len, canonical_form]},
]


@pytest.mark.parametrize("value", KINDS, ids=lambda value: type(value).__name__)
def test_objects_are_told_by_class_and_state_and_never_by_address(value):
    travelled = cloudpickle.loads(cloudpickle.dumps(value))
    assert canonical_form(travelled) == canonical_form(value)
    assert "0x" not in canonical_form(value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Passage("text", 1), Passage("text", 2)),
        (Passage("text", 1), {"text": "text", "rank": 1}),
        (Held(text="a"), Held(text="b")),
        (Slotted(1), Slotted(2)),
        (Decimal("1.5"), Decimal("1.50")),
        (np.arange(3), np.arange(3.0)),
        (np.zeros((0, 3)), np.zeros((0, 2))),
        (ValueError("a"), ValueError("b")),
        (datetime(2026, 1, 2), datetime(2026, 1, 3)),
        ([[]], [[], []]),
        (["a,'b'"], ["a", "b"]),
    ],
)
def test_objects_that_differ_in_any_part_have_different_fingerprints(one, other):
    assert canonical_form(one) != canonical_form(other)


def test_parts_that_are_one_and_the_same_object_count_like_equal_ones():
    part = ["same"]
    assert canonical_form([part, part]) == canonical_form([["same"], ["same"]])


def test_a_value_that_holds_itself_has_a_canonical_form():
    round_and_round = []
    round_and_round.append(round_and_round)
    assert canonical_form(round_and_round) == canonical_form(pickle.loads(pickle.dumps(round_and_round)))


def test_what_cannot_be_taken_apart_is_told_by_its_class():
    assert canonical_form(threading.Lock()) == canonical_form(threading.Lock())


SCRIPT = """
from quark_bench.fingerprint import canonical_form
print(canonical_form({"b": {"x", "y", "z", 1}, "a": [1.5, None, b"q", {"k": frozenset("abc")}]}))
"""


def test_a_fingerprint_is_the_same_in_every_process():
    """Each process salts its hashes of text anew, and so orders its sets otherwise."""
    told = {subprocess.check_output([sys.executable, "-c", SCRIPT], text=True) for _ in range(3)}
    assert len(told) == 1
