"""YAML: all prompts in one value, which is held in memory while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quark_bench.errors import DataError
from quark_bench.sources.documents import TESTS, document_rows
from quark_bench.sources.files import decoded_lines
from quark_bench.sources.rows import Row

MOST_NODES = 3_000_000
"""Of a file once its aliases are written out: a few lines can stand for more than any memory holds."""

DEEPEST = 200
"""Values within values: the composer calls itself for each, in C without a limit."""


def yaml_rows(path: Path) -> Iterator[Row]:
    """The rows of a YAML file, numbered by the line on which each begins. Only plain values are made of it.

    Raises DataError for what is no YAML, asks for objects of a program, or is endless by its aliases.
    """
    import yaml

    text = "".join(decoded_lines(path))
    loader = _safe_loader()(text)
    try:
        _check_depth(text)
        node = loader.get_single_node()
        if node is None:
            return
        if _nodes(node, {}) > MOST_NODES:
            raise DataError(f"{path}: more than {MOST_NODES:,} values once its aliases are written out; shorten it")
        document = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}" if mark else ""
        raise DataError(f"{path}{place}: not YAML: {error.problem}; mend it there") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: YAML that cannot be read: {' '.join(str(error).split())}; shorten or flatten it"
        ) from None
    finally:
        loader.dispose()
    yield from document_rows(path, document, _lines(node))


def _safe_loader() -> Any:
    """The loader of plain values; in C where PyYAML was built so, which is ten times as fast."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _check_depth(text: str) -> None:
    """Raise RecursionError for values nested so deep that making them would end the process rather than fail."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=_safe_loader()):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise RecursionError(f"values nested more than {DEEPEST} deep")


def _lines(node: Any) -> list[int] | None:
    """The line of each row; None where the document is none that has rows."""
    if node.id == "mapping":
        node = next((value for key, value in node.value if key.value == TESTS), None)
    return [row.start_mark.line + 1 for row in node.value] if node is not None and node.id == "sequence" else None


def _nodes(node: Any, counted: dict[int, int]) -> int:
    """How many values a node holds, aliases written out. Raises ValueError for one that holds itself."""
    if node.id == "scalar":
        return 1
    if id(node) in counted:
        if not counted[id(node)]:
            raise ValueError("a value that holds itself")
        return counted[id(node)]
    counted[id(node)] = 0
    inner = [each for pair in node.value for each in pair] if node.id == "mapping" else node.value
    counted[id(node)] = 1 + sum(_nodes(each, counted) for each in inner)
    return counted[id(node)]
