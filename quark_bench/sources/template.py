"""Template: a prompt's text put together from the columns of its row.

`{name}` and `{name.inner}` stand for values, `{{` and `}}` for braces, and there is nothing else: no attribute, call,
format or loop. A file of prompts may come from anybody; what only looks up keys cannot be made to run anything, which
has not always been true of templates in a sandbox.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from string import Formatter

from quark_bench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Template:
    """Pieces of text, each with the path of the value that follows it; None where none does."""

    pieces: tuple[tuple[str, str | None], ...]

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(path for _, path in self.pieces if path is not None)

    def fill(self, value: Callable[[str], str]) -> str:
        """The text; `value` gives what stands at a path. Empty where all values are blank."""
        values = {path: value(path) for path in self.paths}
        if not any(each.strip() for each in values.values()):
            return ""
        return "".join(literal + ("" if path is None else values[path]) for literal, path in self.pieces)


def is_template(text: str) -> bool:
    """Whether a text is meant as a template rather than as a column's name."""
    return "{" in text


def parse_template(text: str) -> Template:
    """Raises UsageError for a template that names no column, is not closed, or asks for more than a value."""
    try:
        parsed = list(Formatter().parse(text))
    except ValueError as error:
        raise UsageError(
            f"template {text!r}: {error}; write {{column}} for a value, {{{{ and }}}} for braces"
        ) from None
    for _, path, form, conversion in parsed:
        if path == "" or form or conversion:
            raise UsageError(
                f"template {text!r}: a column's name alone stands between braces, as in {{question}} or {{meta.topic}}"
            )
    template = Template(tuple((literal, path) for literal, path, _, _ in parsed))
    if not template.paths:
        raise UsageError(f"template {text!r}: no column in it; name one, as in 'Question: {{question}}'")
    return template
