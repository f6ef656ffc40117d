"""Spool: prompts of a file too large for memory, kept in a temporary file and read back as they are asked for."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import overload

from quark_bench.dataset import Digest, Prompt

STRIDE = 64
"""Prompts that are read back together; of each so many, the place in the file is remembered."""

Told = tuple[Prompt, str]
"""A prompt with its `content()`."""


class Spool(Sequence[Prompt]):
    """A sequence of prompts on disk, a line each: the id as JSON, a tab, the content.

    The file has no name and is gone with the process; a slice shares it. Raises OSError where the disk is full.
    """

    def __init__(self, prompts: Iterable[Told]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the prompts
        self._places = array("Q", [0])
        place = count = 0
        for count, (prompt, content) in enumerate(prompts, 1):
            place += self._file.write(f"{json.dumps(prompt.id)}\t{content}\n".encode())
            if count % STRIDE == 0:
                self._places.append(place)
        if count % STRIDE:
            self._places.append(place)
        self._file.flush()
        self._rows = range(count)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Prompt: ...
    @overload
    def __getitem__(self, index: slice) -> Spool: ...
    def __getitem__(self, index: int | slice) -> Prompt | Spool:
        chosen = self._rows[index]
        if isinstance(chosen, int):
            return _prompt(self._lines(chosen // STRIDE)[chosen % STRIDE])
        part = Spool.__new__(Spool)
        part._file, part._places, part._rows = self._file, self._places, chosen
        return part

    def __iter__(self) -> Iterator[Prompt]:
        held, lines = -1, [b""]
        for row in self._rows:
            if row // STRIDE != held:
                held = row // STRIDE
                lines = self._lines(held)
            yield _prompt(lines[row % STRIDE])

    def find(self, prompt_id: str) -> Prompt | None:
        """The prompt of that id, None where there is none: a search through the file's bytes."""
        begin = f"{json.dumps(prompt_id)}\t".encode()
        for stride in range(len(self._places) - 1):
            for number, line in enumerate(self._lines(stride) if begin in self._bytes(stride) else ()):
                if line.startswith(begin) and stride * STRIDE + number in self._rows:
                    return _prompt(line)
        return None

    def _lines(self, stride: int) -> list[bytes]:
        return self._bytes(stride).split(b"\n")

    def _bytes(self, stride: int) -> bytes:
        start, stop = self._places[stride], self._places[stride + 1]
        return os.pread(self._file.fileno(), stop - start, start)


def _prompt(line: bytes) -> Prompt:
    identity, _, content = line.partition(b"\t")
    text, category, reference, contexts, metadata = json.loads(content)
    return Prompt(json.loads(identity), text, category, tuple(reference), tuple(contexts), metadata)


def spooled(read: Callable[[Callable[[str], bool]], Iterator[Told]]) -> tuple[Spool, Digest]:
    """The prompts that `read` gives, on disk, and what is known of them.

    `read` is told which ids to remember, and refuses or renumbers those when they come twice. None at first: a
    million ids are a tenth of a gigabyte, where their hashes are eight megabytes. Only if hashes are equal is the file
    read once more, with an eye on the ids that have them.
    """
    watched: frozenset[int] = frozenset()
    while True:
        spool, digest, hashes = _spooled_once(read, watched)
        again = _repeated(hashes) - watched
        if not again:
            return spool, digest
        watched |= again


def _spooled_once(
    read: Callable[[Callable[[str], bool]], Iterator[Told]], watched: frozenset[int]
) -> tuple[Spool, Digest, array[int]]:
    """The prompts, what is known of them, and the hashes of their ids."""
    digest, hashes = Digest(), array("q")

    def seen(told: Told) -> Told:
        digest.add(*told)
        hashes.append(hash(told[0].id))
        return told

    return Spool(map(seen, read(lambda prompt_id: hash(prompt_id) in watched))), digest, hashes


def _repeated(hashes: array[int]) -> set[int]:
    """The numbers that are there more than once."""
    import numpy as np

    ordered = np.sort(np.frombuffer(hashes, np.int64)) if hashes else np.zeros(0, np.int64)
    return set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
