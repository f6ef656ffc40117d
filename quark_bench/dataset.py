"""Prompt and Dataset: what is asked, in which order, under which ids."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, overload, runtime_checkable

from quark_bench.display import Displayed
from quark_bench.errors import DataError, UsageError

_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=str)
"""Made once: `json.dumps` makes one a call, which takes longer than the encoding."""

FIELDS = ("id", "text", "category", "reference", "contexts")
"""The fields of a prompt that a column of a file can be mapped to; all other columns become metadata."""
HISTORY = "history"
"""Where a prompt's metadata holds the messages before it, as chat models take them."""

Fields = Mapping[str, str | Mapping[str, Any]]
"""Where fields are taken from, by field: a column, the path to it (`meta.topic`), a template of several (`{question}`),
or a table with one of `column`, `template` and `constant`; `values` beside a column say what each of them stands for.
"""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One case of a data set.

    `reference` holds every acceptable answer; `contexts` the ids or texts of the passages that answer the
    prompt; a lone text is taken for one of them. Agents see neither: `blind()` is what they are given. Of a prompt
    of several turns `text` is the last, and `history` what was said before it.
    """

    id: str
    text: str
    category: str | None = None
    reference: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("reference", "contexts"):
            if isinstance(given := getattr(self, name), str):  # its characters would be taken for references
                object.__setattr__(self, name, (given,))

    @property
    def history(self) -> tuple[Mapping[str, str], ...]:
        """The earlier messages, oldest first: `{"role": "user", "content": "..."}`; metadata holds them."""
        told = self.metadata.get(HISTORY)
        messages = told if isinstance(told, list | tuple) and all(map(_is_message, told)) else ()
        return tuple(messages)

    def blind(self) -> Prompt:
        """The same prompt without what would give the answer away."""
        return Prompt(self.id, self.text, self.category, metadata=self.metadata)

    def content(self) -> str:
        """Canonical JSON of everything but the id; equal prompts have equal content."""
        return _CANONICAL.encode([self.text, self.category, self.reference, self.contexts, dict(self.metadata)])


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(value.get(name), str) for name in ("role", "content"))


class Reader(Protocol):
    """Reads a file into a Dataset; filled in by the package's door, because things do not import sources."""

    def __call__(
        self, path: str | Path, *, fields: Fields | None = None, fields_file: str | Path | None = None
    ) -> Dataset: ...


class FrameReader(Protocol):
    """The same for a pandas DataFrame."""

    def __call__(self, frame: Any, name: str, *, fields: Fields | None = None) -> Dataset: ...


@runtime_checkable
class FindsById(Protocol):
    """Prompts that are not held in memory, and know a faster way to one of them than through all."""

    def find(self, prompt_id: str) -> Prompt | None:
        """The prompt of that id, None where there is none."""
        ...


MOST_CATEGORIES = 100
"""Categories that are remembered: more are no kinds of prompts but names of them."""


class Digest:
    """What is known of prompts once each was seen: a sha256 over ids and contents in their order, and what any of them
    can be judged by: `gold` fields, `columns` of the metadata, and the first MOST_CATEGORIES `categories`."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.gold: set[str] = set()
        self.columns: set[str] = set()
        self.categories: set[str] = set()

    def add(self, prompt: Prompt, content: str) -> None:
        """See the next prompt; `content` is `prompt.content()`."""
        self._hash.update(f"{prompt.id}\0{content}\n".encode())
        self.columns.update(prompt.metadata)
        if prompt.reference:
            self.gold.add("reference")
        if prompt.contexts:
            self.gold.add("contexts")
        if prompt.category is not None and len(self.categories) < MOST_CATEGORIES:
            self.categories.add(prompt.category)

    @property
    def content_hash(self) -> str:
        return self._hash.hexdigest()


class Dataset(Displayed):
    """Ordered prompts with unique ids and a content hash.

    `origin` is the file they were read from, `fields` how its columns were mapped; both are kept so that a run
    can be looked at, or begun again, later. Raises DataError for no prompts at all or an id that occurs twice.
    """

    reader: ClassVar[Reader]
    frame_reader: ClassVar[FrameReader]

    def __init__(
        self,
        prompts: Iterable[Prompt],
        name: str = "dataset",
        *,
        origin: Path | None = None,
        fields: Fields | None = None,
    ) -> None:
        self._hold(tuple(prompts), name, origin, fields)
        seen: dict[str, int] = {}
        for row, prompt in enumerate(self.prompts, 1):
            if prompt.id in seen:
                raise DataError(
                    f"{name}, row {row}: id {prompt.id!r} was already used in row {seen[prompt.id]}; "
                    "make ids unique, or map another column with --field id=COLUMN"
                )
            seen[prompt.id] = row

    @classmethod
    def of_unique(
        cls,
        prompts: Sequence[Prompt],
        name: str,
        *,
        origin: Path | None = None,
        fields: Fields | None = None,
        digest: Digest | None = None,
    ) -> Dataset:
        """The same of prompts whose ids are known to be unique; they are kept as they are, in memory or not."""
        dataset = cls.__new__(cls)
        dataset._hold(prompts, name, origin, fields)
        if digest is not None:
            dataset.digest = digest
        return dataset

    def _hold(self, prompts: Sequence[Prompt], name: str, origin: Path | None, fields: Fields | None) -> None:
        self.prompts = prompts
        self.name = name
        self.origin = origin
        self.fields = dict(fields or {})
        if not self.prompts:
            raise DataError(f"{name}: no prompts; give a file with at least one row")

    @classmethod
    def read(cls, path: str | Path, *, fields: Fields | None = None, fields_file: str | Path | None = None) -> Dataset:
        """Read JSONL, JSON, CSV, TSV, Parquet or YAML, told apart by the file's ending, which `.gz` may follow.

        `fields` maps a prompt's field to a column (`{"text": "question"}`), or to more: see `Fields`. What it leaves
        out is told by `fields_file`, a TOML file; None means the one that lies beside the prompts under their name,
        if any. Columns that no field takes become metadata. Raises DataError with file and row.
        """
        return cls.reader(path, fields=fields, fields_file=fields_file)

    @classmethod
    def from_pandas(cls, frame: Any, name: str = "dataset", *, fields: Fields | None = None) -> Dataset:
        """A data set of a DataFrame's rows, which are taken like those of a file. Raises DataError with the row."""
        return cls.frame_reader(frame, name, fields=fields)

    @classmethod
    def of(cls, texts: Iterable[str], name: str = "dataset") -> Dataset:
        """A data set of bare texts, ids by position (`p-1`, `p-2`, ...). Raises UsageError for a DataFrame."""
        if hasattr(texts, "columns"):  # its texts would be the names of its columns
            raise UsageError("Dataset.of takes texts; read a DataFrame by Dataset.from_pandas(frame)")
        return cls((Prompt(f"p-{n}", text) for n, text in enumerate(texts, 1)), name)

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    @overload
    def __getitem__(self, index: int) -> Prompt: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Prompt | Dataset:
        chosen = self.prompts[index]
        return chosen if isinstance(chosen, Prompt) else self._like(chosen)

    def _like(self, prompts: Sequence[Prompt]) -> Dataset:
        return Dataset.of_unique(prompts, self.name, origin=self.origin, fields=self.fields)

    def of_these(self, prompts: Iterable[Prompt]) -> Dataset:
        """Some of this data set's prompts, under its name and from its file."""
        return self._like(tuple(prompts))

    def find(self, prompt_id: str) -> Prompt | None:
        """The prompt of that id; None where there is none."""
        return self.prompts.find(prompt_id) if isinstance(self.prompts, FindsById) else self._by_id.get(prompt_id)

    @cached_property
    def _by_id(self) -> Mapping[str, Prompt]:
        return {prompt.id: prompt for prompt in self.prompts}

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {len(self)} prompts, {self.content_hash[:12]})"

    @cached_property
    def digest(self) -> Digest:
        """What is known of all prompts together."""
        seen = Digest()
        for prompt in self.prompts:
            seen.add(prompt, prompt.content())
        return seen

    @property
    def content_hash(self) -> str:
        """sha256 over ids and contents in their order: what a resumed or compared run must share."""
        return self.digest.content_hash

    @property
    def has_references(self) -> bool:
        """Whether any prompt can be scored."""
        return "reference" in self.digest.gold

    def limit(self, n: int) -> Dataset:
        """The first `n` prompts. Raises UsageError for n < 1."""
        if n < 1:
            raise UsageError(f"--limit {n} leaves no prompts; give a number of 1 or more")
        return self[:n]

    def subset(self, n: int, seed: int) -> Dataset:
        """`n` prompts drawn without replacement by `seed`, in their original order."""
        if n < 1:
            raise UsageError(f"a subset of {n} prompts is empty; give a number of 1 or more")
        chosen = sorted(random.Random(seed).sample(range(len(self)), min(n, len(self))))
        return self.of_these(self.prompts[index] for index in chosen)

    def shard(self, part: int, parts: int) -> Dataset:
        """Part `part`, from 1, of `parts`: every `parts`-th prompt, beginning with that one.

        Shards are disjoint, all together the data set, and differ by one prompt in size at most; a file gives the same
        on every machine. By striding, because shares of a hash are of unequal size, and because a file that is sorted
        by topic or length gives each shard of all. Raises UsageError for a part that there is not or that is empty.
        """
        if not 1 <= part <= parts:
            raise UsageError(f"--shard {part}/{parts}: there are shards 1/{parts} to {parts}/{parts}; name one of them")
        if part > len(self):
            raise UsageError(f"--shard {part}/{parts} of {len(self)} prompts is empty; make {len(self)} shards at most")
        return self[part - 1 :: parts]

    def only(self, prompt_ids: Iterable[str]) -> Dataset:
        """The prompts of these ids, as those that failed in an earlier run: `data.only(run.failed())`.

        Ids of others are passed over. Raises UsageError where none is left.
        """
        wanted = frozenset(prompt_ids)
        chosen = [prompt for prompt in self.prompts if prompt.id in wanted]
        if not chosen:
            raise UsageError(f"{self.name}: none of its prompts has one of the {len(wanted)} ids that were asked for")
        return self.of_these(chosen)

    def where(self, category: str) -> Dataset:
        """The prompts of one category. Raises UsageError when there is none, naming those that exist."""
        chosen = [prompt for prompt in self.prompts if prompt.category == category]
        if not chosen:
            known = sorted({prompt.category for prompt in self.prompts if prompt.category})
            hint = f"categories here: {', '.join(known)}" if known else "no prompt here has a category"
            raise UsageError(f"{self.name}: no prompt is of category {category!r}; {hint}")
        return self.of_these(chosen)


class PromptsById(Mapping[str, Prompt]):
    """A data set's prompts by their ids; none is held for it."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __getitem__(self, prompt_id: str) -> Prompt:
        prompt = self._dataset.find(prompt_id)
        if prompt is None:
            raise KeyError(prompt_id)
        return prompt

    def __iter__(self) -> Iterator[str]:
        return (prompt.id for prompt in self._dataset)

    def __len__(self) -> int:
        return len(self._dataset)
