"""Plain: text from elsewhere that is about to be shown, so that it can neither steer a terminal nor flood a page."""

from __future__ import annotations

import re
import unicodedata

STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode that are not letters but orders: control, format, half surrogates, separators of lines."""
JOINERS = "\u200c\u200d"
"""Format characters that Persian, Hindi and emoji are written with."""

_SUSPECT = re.compile(r"[^\x20-\x7e]")


def plain(text: object) -> str:
    """The text with everything that could steer a terminal written as an escape, but for newlines and tabs."""
    return _SUSPECT.sub(lambda found: found[0] if found[0] in "\n\t" else _escaped(found[0]), str(text))


def one_line(text: object) -> str:
    """The same on one line: newlines and tabs are escapes too. For names, which could feign a line of ours."""
    return _SUSPECT.sub(lambda found: _escaped(found[0]), str(text))


def shortened(text: str, limit: int) -> str:
    """The text, or its beginning and how many characters it had."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text):,} characters)"


def _escaped(character: str) -> str:
    if unicodedata.category(character) in STEERING and character not in JOINERS:
        return character.encode("unicode_escape").decode()
    return character
