"""Recall: the prompts that a run was made of, found again and told by their hash."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from quark_bench.dataset import Dataset
from quark_bench.errors import DataError
from quark_bench.sources import read_bounded, read_dataset

LARGEST_DATASET = 256_000_000
"""Bytes of the file that a manifest names; it may name any."""


def recall(
    about: Mapping[str, Any], ids: Callable[[], Set[str]], held: Dataset | None = None, copy: str | Path | None = None
) -> Dataset:
    """The data set that a manifest is `about`, from a copy of its file, as it is `held`, or from the file itself.

    `ids` are those of the prompts that the run has records of: it may have been made of these only. Raises DataError
    where it is not at hand, or is not what it was.
    """
    dataset = held
    if copy is not None:
        dataset = read_dataset(copy, fields=about["fields"])
    elif held is None:
        if about["path"] is None:
            raise DataError("the run's prompts came from Python, not from a file; name a file of them with --prompts")
        dataset = read_bounded(about["path"], about["fields"], LARGEST_DATASET)
    assert dataset is not None, "one of the three is there"
    same = next((each for each in _candidates(dataset, about, ids) if each.content_hash == about["hash"]), None)
    if same is None:
        raise DataError(
            f"{copy or about['path'] or dataset.name}: not the prompts that the run was made of, their hash differs; "
            "restore the file, name a copy of it with --prompts, or run the prompts as they are now"
        )
    return same


def _candidates(dataset: Dataset, about: Mapping[str, Any], ids: Callable[[], Set[str]]) -> Iterator[Dataset]:
    """The data set, and the parts of it that the run may have been made of."""
    yield dataset
    yield dataset[: about["prompts"]]
    wanted = ids()
    yield dataset.of_these(prompt for prompt in dataset if prompt.id in wanted)
