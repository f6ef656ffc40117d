"""JSON page: plain data as JSON that a person can read in a terminal."""

from __future__ import annotations

from typing import Any

from quark_bench.cli.agents_shown import filled
from quark_bench.cli.run import WIDTH, as_text

DIGITS = 4
"""Significant ones of a number."""
INDENT = 2
"""Spaces, as the design document has them."""


def rounded(data: Any) -> Any:
    """The same plain data with DIGITS significant digits."""
    if isinstance(data, float):
        return float(f"{data:.{DIGITS}g}")
    if isinstance(data, dict):
        return {name: rounded(value) for name, value in data.items()}
    return [rounded(value) for value in data] if isinstance(data, list) else data


def as_page(data: Any, indent: int = 0, used: int = 0) -> str:
    """JSON for a person: what holds plain values only fills its lines, the rest has a line a part.

    `used` counts the characters that stand before it on its first line.
    """
    if not isinstance(data, dict | list) or not data:
        return as_text(data, indent=None)
    opening, closing = "{}" if isinstance(data, dict) else "[]"
    labels = [f"{as_text(name, indent=None)}: " for name in data] if isinstance(data, dict) else [""] * len(data)
    parts = list(zip(labels, data.values() if isinstance(data, dict) else data, strict=True))
    inner = " " * (indent + INDENT)
    if any(isinstance(value, dict | list) and value for _, value in parts):
        rows = [label + as_page(value, len(inner), len(inner) + len(label)) for label, value in parts]
        return f"{opening}\n{inner}" + f",\n{inner}".join(rows) + f"\n{' ' * indent}{closing}"
    items = [label + as_text(value, indent=None) for label, value in parts]
    items = [f"{item}," for item in items[:-1]] + items[-1:]
    whole = opening + " ".join(items) + closing
    if used + len(whole) < WIDTH:
        return whole
    lines = filled(items, WIDTH - len(inner), " ").split("\n")
    return f"{opening}\n{inner}" + f"\n{inner}".join(lines) + f"\n{' ' * indent}{closing}"
