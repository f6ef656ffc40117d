"""Fingerprint: any value as text, equal in every process and on every machine for equal values, to be hashed.

Pickles will not do: they remember which parts were one and the same object. Nor will `repr`: it may tell an address
in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

PLAIN = frozenset({str, int, float, bool, type(None), bytes})
"""Types whose repr tells all there is, and the same everywhere."""


def canonical_form(value: Any, above: tuple[int, ...] = ()) -> str:
    """The value as text: containers part by part, other objects by class and state.

    The order of a dict's keys and of a set's members does not count; types do: `1`, `1.0`, `True` and `"1"` differ.
    `above` holds the identities of the objects around it, so that one that holds itself comes to an end.
    """
    if type(value) in PLAIN:
        return repr(value)
    if id(value) in above:
        return f"<{len(above) - above.index(id(value))} up>"
    above = (*above, id(value))

    def form(part: object) -> str:
        return canonical_form(part, above)

    kind = type(value).__qualname__
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"<{value.__qualname__}>"
    if isinstance(value, Enum):
        return f"{kind}.{value.name}"
    if isinstance(value, str | int | float | bytes):
        plain = next(each for each in (str, int, float, bytes) if isinstance(value, each))
        return f"{kind}({plain.__repr__(value)})"
    if isinstance(value, Mapping):
        return f"{kind}{{{','.join(sorted(f'{form(key)}:{form(part)}' for key, part in value.items()))}}}"
    if isinstance(value, Set):
        return f"{kind}{{{','.join(sorted(map(form, value)))}}}"
    if isinstance(value, list | tuple):
        return f"{kind}[{','.join(map(form, value))}]"
    if is_dataclass(value):
        held = ((field.name, getattr(value, field.name)) for field in fields(value))
        return f"{kind}({','.join(f'{name}={form(part)}' for name, part in held)})"
    return f"{kind}({form(_state(value))})"


def _state(value: Any) -> object:
    """What rebuilds an object of any other class: the numbers of an array, or what pickle would take apart."""
    if hasattr(value, "dtype") and hasattr(value, "tobytes"):
        return [str(value.dtype), value.shape, value.tolist()]
    try:
        taken = value.__reduce_ex__(4)
    except Exception:  # noqa: BLE001 - what cannot be taken apart is told by its attributes alone
        return dict(getattr(value, "__dict__", {}))
    if isinstance(taken, str):
        return taken
    _, arguments, *rest = taken
    state, items, pairs = (*rest, None, None, None)[:3]
    return [arguments, state, list(items or ()), list(pairs or ())]
