"""Redact: takes secrets out of text before it is kept or shown.

Known secrets are the values of this process's environment variables whose names look secret; others are told by their
form: credentials in URLs and headers, and keys of well-known providers.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

MARK = "[redacted]"
"""What stands in a secret's place."""
SHORTEST = 8
"""Characters: shorter values of the environment are words like `true`, which would be blotted out everywhere."""
LONGEST_FORM = 4_096
"""Characters of the longest secret that is told by its form, with some to spare: a signed token has about 2,000."""

_SECRET_NAME = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)

# Each alternative begins with plain characters, which lets `re` skip a text without them at the speed of a search;
# that nothing but a word's border stands before them is checked afterwards.
_KEYS = "|".join(
    (
        r"sk-(?<![\w-]sk-)(?:[A-Za-z0-9]{20,}|(?=[\w-]*\d)[\w-]{16,})",
        r"AKIA(?<![A-Za-z0-9]AKIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        r"ASIA(?<![A-Za-z0-9]ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        r"AIza(?<![A-Za-z0-9]AIza)[\w-]{35}",
        r"gh[pousr]_(?<![A-Za-z0-9]gh._)[A-Za-z0-9]{20,}",
        r"github_pat_\w{20,}",
        r"hf_(?<![A-Za-z0-9]hf_)[A-Za-z0-9]{20,}",
        r"xox[abprs]-[\w-]{10,}",
        r"eyJ(?<![\w-]eyJ)[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,}",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.*?-----END [A-Z ]*PRIVATE KEY-----|.*)",
    )
)
"""Forms that nothing but a key has."""

# What stands before a secret and is kept is in a group.
_CREDENTIALS = "|".join(
    (
        r"(://)[^\s/?#:@\"<>]*:[^\s/?#\"<>]*(?=@)",
        r"((?i:[?&;#](?:[\w.-]*?(?:token|secret|passw(?:or)?d|signature|credential)|(?:[\w.-]*[_.-])?(?:api|auth)?key"
        r"|sig)=))[^\s&#\"'<>]+",
        r"((?i:authorization|api[-_]key)[\"']?\s*[:=]\s*[\"']?)(?:[A-Za-z]+\s+)?[^\s\"',;}]+",
        r"\b((?i:bearer|basic)\s+)(?:(?=\S*[\d=+/._~-])|(?=\S*[a-z][A-Z]))[\w.~+/=-]{6,}",
    )
)


@dataclass(frozen=True, slots=True)
class _Patterns:
    values: tuple[str, ...]
    unmistakable: re.Pattern[str]
    anything: re.Pattern[str]


@cache
def _patterns() -> _Patterns:
    """Made once a process: the environment is looked at when the first text is redacted."""
    values = tuple(sorted(_secret_values(os.environ), key=lambda value: (-len(value), value)))
    certain = "|".join((*map(re.escape, values), _KEYS))
    return _Patterns(values, re.compile(certain, re.DOTALL), re.compile(f"{certain}|{_CREDENTIALS}", re.DOTALL))


refresh = _patterns.cache_clear
"""Look at the environment again, where it changed after the first text was redacted."""

_named: set[str] = set()


def name_secret(variable: str) -> None:
    """From now on, take the value of that environment variable for a secret, whatever its name looks like."""
    if variable not in _named:
        _named.add(variable)
        refresh()


def _secret_values(environment: Mapping[str, str]) -> set[str]:
    """The values whose names look secret, also as they stand in URLs, in JSON and in Python's quotes."""
    bare = {value.strip() for name, value in environment.items() if name in _named or _SECRET_NAME.search(name)}
    forms = (form for value in bare if len(value) >= SHORTEST for form in _forms(value))
    return {form for form in forms if form not in MARK}


def _forms(value: str) -> Iterable[str]:
    return value, quote(value, safe=""), json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]


def redact(text: str) -> str:
    """The text with every secret that is known or has the form of one replaced by MARK."""
    return _replaced(_patterns().anything, text)


def redact_answer(text: str) -> str:
    """The text without known secrets and unmistakable keys: whatever else it says, an answer stays as it is."""
    return _replaced(_patterns().unmistakable, text)


def redact_known(texts: Sequence[str | None]) -> Sequence[str | None]:
    """The texts of another process, where only this one may know their secrets: costs next to nothing without any."""
    known = _patterns().values
    if not known:
        return texts
    return [redact_answer(text) if text and any(value in text for value in known) else text for text in texts]


def redact_start(text: str, limit: int) -> str:
    """At most `limit` characters of the redacted text, of which no more is looked at than that takes."""
    longest = max(LONGEST_FORM, *map(len, _patterns().values), 0)
    if len(text) <= limit + 2 * longest:
        return redact(text)[:limit]
    # A secret that is cut in two is not recognised: the last stretch, where it may lie, is dropped.
    return redact(text[: limit + 2 * longest])[:-longest][:limit]


def redact_data(data: Any) -> Any:
    """Plain data (as JSON holds it) with all its texts redacted, keys of objects among them."""
    if isinstance(data, str):
        return redact(data)
    if isinstance(data, Mapping):
        return {redact_data(name): redact_data(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [redact_data(value) for value in data]
    return data


def _replaced(pattern: re.Pattern[str], text: str) -> str:
    """Repeated until nothing is found: what is left of one secret may complete another."""
    while True:
        without = pattern.sub(_mark, text)
        if without == text:
            return without
        text = without


def _mark(found: re.Match[str]) -> str:
    return next((kept for kept in found.groups() if kept), "") + MARK
