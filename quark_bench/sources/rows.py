"""Rows: the prompts that a file's rows become, alike for every format."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from quark_bench.dataset import FIELDS, HISTORY, Fields, Prompt
from quark_bench.errors import DataError
from quark_bench.sources.cells import RowError, entries, jsonable
from quark_bench.sources.choices import labelled, right_choice, with_choices
from quark_bench.sources.fields import CHOICES, Take, takes_of
from quark_bench.sources.paths import value_at, without
from quark_bench.sources.shapes import COLUMNS, Shape, shape_of, unfolded
from quark_bench.sources.turns import parted

Row = tuple[int, Mapping[str, Any]]
"""The number of a row, as the file's reader counts from 1, and its cells by column."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """How the rows of one file become prompts: where each field is taken from, and which of that a person told."""

    shape: Shape
    given: Mapping[str, Take]
    takes: Mapping[str, Take]
    paths: frozenset[str]

    @classmethod
    def of(cls, given: Mapping[str, Take], first: Mapping[str, Any]) -> _Columns:
        """By the first row of the file."""
        shape = shape_of(first)
        # Elsewhere a column of that name may be anything; who wants choices put into the text says so.
        named = (*FIELDS, CHOICES) if shape is Shape.INPUT else FIELDS
        own = COLUMNS.get(shape, {})
        takes = {**{field: Take(own.get(field, field)) for field in named}, **given}
        return cls(shape, given, takes, frozenset(path for take in takes.values() for path in take.paths))

    def prompt(self, row: Mapping[str, Any]) -> Prompt:
        """The prompt of one row, unfolded; its id is empty where the row gives none. Raises RowError."""
        self._check(row)
        values = {field: take.value(row) for field, take in self.takes.items()}
        column = {field: take.column for field, take in self.takes.items()}
        history, text = parted(column["text"], values["text"])
        if not text.strip():
            raise RowError(f", field {column['text']!r}: the prompt's text is empty; fill it in or delete the row")
        identity, category, reference, contexts = (
            entries(column[field], values[field]) for field in ("id", "category", "reference", "contexts")
        )
        metadata = {name: jsonable(value) for name, value in without(row, self.paths).items()}
        if history:
            metadata[HISTORY] = history
        if choices := labelled(column.get(CHOICES, CHOICES), values.get(CHOICES)):
            take = self.takes["reference"]
            reference = tuple(right_choice(take.column, each, choices, as_letter=take.as_letter) for each in reference)
            text, metadata[CHOICES] = with_choices(text, choices), choices
        return Prompt("\n\n".join(identity), text, "\n\n".join(category) or None, reference, contexts, metadata)

    def _check(self, row: Mapping[str, Any]) -> None:
        # A reference may be missing: data sets whose cases are judged in different ways give it for some only.
        for field, take in {"text": self.takes["text"], **self.given}.items():
            for path in take.paths if field != "reference" else ():
                if not value_at(row, path)[0]:
                    raise RowError(
                        f": no field {path!r} to take the prompt's {field} from; "
                        f"this row has: {', '.join(row)}; say which with --field {field}=COLUMN"
                    )


def prompts_of(
    file: str, rows: Iterable[Row], fields: Fields, watches: Callable[[str], bool] = lambda prompt_id: True
) -> Iterator[tuple[Prompt, str]]:
    """The prompts of a file's rows, in their order, each with its `content()`.

    `fields` tells where a field is taken from; every other field takes the column of its own name, if there
    is one, and columns that no field takes become metadata. A row without an id gets one from its content,
    and rows of the same content are numbered. Only ids that `watches` names are remembered: others may come twice.
    Raises DataError with file, row and field, UsageError for fields that prompts do not have.
    """
    given = takes_of(fields)
    columns: _Columns | None = None
    used: dict[str, int] = {}
    copies: Counter[str] = Counter()
    unseen = set(given["reference"].paths) if "reference" in given else set()
    known: dict[str, None] = {}
    for number, row in rows:
        try:
            columns = columns or _Columns.of(given, row)
            cells = unfolded(columns.shape, row, given.keys())
            prompt = columns.prompt(cells)
            content = _encodable(prompt)
        except RowError as error:
            raise DataError(f"{file}, row {number}{error}") from None
        if prompt.id in used:
            raise DataError(
                f"{file}, row {number}: id {prompt.id!r} was already used in row {used[prompt.id]}; "
                "make ids unique, or map another column with --field id=COLUMN"
            )
        numbered = False
        if not prompt.id:
            made = hashlib.sha256(content.encode()).hexdigest()[:12]
            prompt = replace(prompt, id=_unused(made, used, copies))
            numbered = prompt.id != made
        if numbered or watches(prompt.id):
            used[prompt.id] = number
        if unseen or not known:
            unseen = {path for path in unseen if not value_at(cells, path)[0]}
            known.update(dict.fromkeys(cells))
        yield prompt, content
    if known and unseen:
        raise DataError(
            f"{file}: no row has a field {min(unseen)!r}; its rows have: {', '.join(known)}; "
            "say which with --field reference=COLUMN"
        )


def _encodable(prompt: Prompt) -> str:
    """The prompt's content, which a file can hold."""
    content = prompt.content()
    try:
        prompt.id.encode()
        content.encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise RowError(
            f": {half!r} is half of a character (a lone surrogate), which no text may hold; write it whole"
        ) from None
    return content


def _unused(wanted: str, used: Mapping[str, int], copies: Counter[str]) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` ..., whichever is free; `copies` counts the latter."""
    free = wanted
    while free in used:
        copies[wanted] += 1
        free = f"{wanted}-{copies[wanted] + 1}"
    return free
