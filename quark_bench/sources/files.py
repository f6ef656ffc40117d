"""Files: a prompt file's bytes and lines, unpacked where its name ends in `.gz`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

from quark_bench.errors import DataError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
PIECE = 1 << 16
"""Bytes that are unpacked at a time where they are only counted."""


def ending(path: Path) -> str:
    """The ending that tells a file's format, in lower case: of `prompts.JSONL.gz` it is `.jsonl`."""
    return (path.with_suffix("") if is_packed(path) else path).suffix.lower()


def is_packed(path: Path) -> bool:
    """Whether the file is compressed as a whole."""
    return path.suffix.lower() == ".gz"


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    """The file's bytes, unpacked. Raises DataError for a packed file that is damaged."""
    if not is_packed(path):
        with path.open("rb") as file:
            yield file
        return
    import gzip
    import zlib

    try:
        with path.open("rb") as packed, gzip.open(packed) as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be unpacked: {error}; write it again with gzip") from None


def unpacked_bytes(path: Path, most: int) -> int:
    """Bytes of the file, unpacked, counted no further than beyond `most`. Raises DataError for a damaged one."""
    if not is_packed(path):
        return path.stat().st_size
    count = 0
    # By unpacking: the length that the file itself tells may be anything.
    with _opened(path) as file:
        while count <= most and (piece := file.read(PIECE)):
            count += len(piece)
    return count


def decoded_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file with their ends, a byte order mark left out.

    Raises DataError, naming line and byte, where the file is not UTF-8.
    """
    # Split as bytes: text would also break at U+2028 and its like, which JSON allows inside a string.
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                yield line.removeprefix(BYTE_ORDER_MARK if number == 1 else b"").decode()
            except UnicodeDecodeError as error:
                byte = error.object[error.start]
                raise DataError(
                    f"{path}, row {number}: byte {error.start + 1} of the line (0x{byte:02x}) is not UTF-8; "
                    "save the file as UTF-8"
                ) from None
