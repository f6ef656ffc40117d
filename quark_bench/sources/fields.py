"""Fields: where in a row each field of a prompt is taken from, as a person wrote it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quark_bench.dataset import FIELDS, Fields
from quark_bench.errors import DataError, UsageError
from quark_bench.sources.cells import RowError, entries, jsonable
from quark_bench.sources.paths import value_at
from quark_bench.sources.template import Template, is_template, parse_template

CHOICES = "choices"
"""Beside a prompt's own fields: the answers to choose from, which become part of its text."""
MAPPED = (*FIELDS, CHOICES)
KEYS = ("column", "template", "constant", "values", "as")
LETTER = "letter"


@dataclass(frozen=True, slots=True)
class Take:
    """Where a field's value comes from: a column or the path to it, a template of several, or a constant.

    `values` replaces what was found by what it stands for, by its text. `as_letter` makes a reference the letter of
    the right choice instead of its text.
    """

    column: str
    template: Template | None = None
    constant: Any = None
    values: Mapping[str, Any] | None = None
    as_letter: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """All that it reads of a row."""
        if self.constant is not None:
            return ()
        return (self.column,) if self.template is None else self.template.paths

    def value(self, row: Mapping[str, Any]) -> Any:
        """What the row holds for the field; None where it has no such column. Raises RowError."""
        if self.constant is not None:
            return self.constant
        if self.template is not None:
            return self.template.fill(lambda path: "\n\n".join(entries(path, value_at(row, path)[1])))
        value = value_at(row, self.column)[1]
        return value if self.values is None else [self._stands_for(text) for text in entries(self.column, value)]

    def _stands_for(self, text: str) -> Any:
        assert self.values is not None
        if text not in self.values:
            known = ", ".join(self.values)
            raise RowError(
                f", field {self.column!r}: {text!r} is none of its values ({known}); write what it stands for"
            )
        return self.values[text]


def takes_of(fields: Fields) -> dict[str, Take]:
    """How each of these fields is taken. Raises UsageError for a field that no prompt has, or one that is not told."""
    check_fields(fields)
    return {field: _take(field, given) for field, given in fields.items()}


def _take(field: str, given: str | Mapping[str, Any]) -> Take:
    table = _as_table(field, given)
    ways = [way for way in ("column", "template", "constant") if table.get(way) is not None]
    if len(ways) != 1 or not table.keys() <= set(KEYS):
        raise UsageError(
            f"{field} = {given!r}: give one of column, template or constant, and for a column, if you like, "
            "values (what each stands for) or as = 'letter'"
        )
    column, template = table.get("column", field), table.get("template")
    if not isinstance(column, str) or not isinstance(template, str | None):
        raise UsageError(f"{field} = {given!r}: a column or a template is a text")
    if table.get("as") not in (None, LETTER) or ("as" in table and field != "reference"):
        raise UsageError(f"{field} = {given!r}: as = 'letter' is all there is, and for the reference only")
    if template is not None and field != "text":
        raise UsageError(f"{field} = {given!r}: only the prompt's text is made by a template; name a column")
    values = table.get("values")
    if isinstance(values, list):
        values = {str(place): value for place, value in enumerate(values)}
    if not isinstance(values, Mapping | None):
        raise UsageError(f"{field} = {given!r}: values is a list, or a table of what each value stands for")
    made = None if template is None else parse_template(template)
    return Take(column, made, table.get("constant"), values, "as" in table)


def _as_table(field: str, given: Any) -> Mapping[str, Any]:
    if isinstance(given, Mapping):
        return given
    if not isinstance(given, str):
        raise UsageError(f"{field} = {given!r}: name a column, as a text")
    return {"template" if is_template(given) else "column": given}


def check_fields(fields: Fields, written: str = "--field {}={}") -> None:
    """Raise UsageError for a field that no prompt has; `written` is how a person would have written it."""
    for field, column in fields.items():
        if field not in MAPPED:
            turned = (column, field) if column in MAPPED else ("text", field)
            raise UsageError(
                f"{written.format(field, column)}: {field!r} is no field of a prompt ({', '.join(MAPPED)}); "
                f"write the prompt's field, then the file's column: {written.format(*turned)}"
            )


def fields_beside(path: Path) -> dict[str, Any]:
    """The fields told by the TOML file that lies beside a prompt file under its name; none where there is none.

    Raises DataError for one that tells something else.
    """
    stem = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    beside = stem.with_suffix(".toml")
    try:
        return read_fields(beside) if beside.is_file() else {}
    except DataError as error:
        raise DataError(f"{error} (it lies beside {path.name}; if it is not about its fields, rename it)") from None


def read_fields(path: str | Path) -> dict[str, Any]:
    """The fields that a TOML file tells, as in `text = "question"`. Raises DataError naming the file."""
    import tomllib

    try:
        fields = jsonable(tomllib.loads(Path(path).read_text("utf-8")))
        check_fields(fields, '{} = "{}"')
        takes_of(fields)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; name a TOML file of fields") from None
    except tomllib.TOMLDecodeError as error:
        raise DataError(f'{path}: not TOML: {error}; write a field a line, as in text = "question"') from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8; save the file as UTF-8") from None
    except UsageError as error:
        raise DataError(f"{path}: {error}") from None
    return dict(fields)
