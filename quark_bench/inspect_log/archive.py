"""Archive: the zip that a log is, its members packed by deflate or, as Inspect writes them, by zstd."""

from __future__ import annotations

import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from quark_bench.errors import DataError, describe

ZSTD = 93
"""The method that Python's zipfile names from 3.14 on. Source: PKWARE, APPNOTE.TXT 6.3.10, 4.4.5."""
LOCAL_HEADER = 30
"""Bytes before a member's name; the lengths of its name and of what follows that are the last four of them."""
LARGEST_MEMBER = 1_000_000_000
"""Bytes, unpacked; Inspect cuts larger ones in pieces itself."""
CASE = re.compile(r"samples/.+_epoch_\d+(?:/sample)?\.json")
"""A member with one trial; very large ones have a folder each, with their events in pieces beside it."""


class InspectLog:
    """A log, finished or not, used as a context manager. Raises DataError for what is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; name a log of Inspect, which ends in .eval") from None
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path}: no .eval log: {describe(error, 300)}; of a .json log make one with: inspect log convert"
            ) from None
        # A member that was written twice counts as it was written last.
        self._members = {member.filename: member for member in self._zip.infolist()}
        self.is_finished = "header.json" in self._members

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    @property
    def header(self) -> Mapping[str, Any]:
        """What the log tells of all trials; of an unfinished one, what it told at its start."""
        start = "_journal/start.json"
        if not self.is_finished and start not in self._members:
            raise DataError(f"{self.path}: a zip, but no log of Inspect: it has no header.json; name another file")
        told = self._read("header.json" if self.is_finished else start)
        about = told.get("eval")
        if not isinstance(about, dict) or not {"eval_id", "created"} <= about.keys():
            raise DataError(f"{self.path}: its header does not tell of an eval; name a log that Inspect wrote")
        return told

    @property
    def began_s(self) -> float:
        """When it began, in seconds since 1970."""
        header = self.header
        moment = (header.get("stats") or {}).get("started_at") or header["eval"]["created"]
        try:
            return datetime.fromisoformat(moment).timestamp()
        except (TypeError, ValueError):
            raise DataError(f"{self.path}: {moment!r} is no moment in ISO 8601; the log is damaged") from None

    @property
    def cases(self) -> int:
        """How many trials it holds."""
        return sum(1 for name in self._members if CASE.fullmatch(name))

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Each trial as it stands in the log."""
        for name in self._members:
            if CASE.fullmatch(name):
                yield self._read(name)

    def _read(self, name: str) -> Mapping[str, Any]:
        try:
            told = json.loads(self._unpacked(self._members[name]))
        except (OSError, ValueError, RecursionError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise DataError(
                f"{self.path}, {name}: cannot be read: {describe(error, 300)}; the log is damaged"
            ) from None
        if not isinstance(told, dict):
            raise DataError(f"{self.path}, {name}: no JSON object; the log is damaged")
        return told

    def _unpacked(self, member: zipfile.ZipInfo) -> bytes:
        if member.file_size > LARGEST_MEMBER:
            raise ValueError(f"it has {member.file_size:,} bytes, and no trial needs more than {LARGEST_MEMBER:,}")
        if member.compress_type != ZSTD:
            return self._zip.read(member)
        with self.path.open("rb") as file:
            file.seek(member.header_offset)
            lengths = struct.unpack("<HH", file.read(LOCAL_HEADER)[-4:])
            file.seek(sum(lengths), 1)
            packed = file.read(member.compress_size)
        with pa.CompressedInputStream(pa.BufferReader(packed), "zstd") as stream:
            data: bytes = stream.read(member.file_size + 1)
        if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
            raise ValueError("it does not have the length and checksum that are told of it")
        return data
