"""HTTP/1.1 requests out of bytes, pure: however the bytes were split on their way, the requests are the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

LARGEST_HEAD = 65_536
"""Bytes of a request's line and headers; more is no request."""


class BadRequestError(Exception):
    """What came is no request that this server understands; `status` is what it is answered with."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """A request's first line and headers, their names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    length: int
    chunked: bool
    closes: bool
    """Whether the connection ends with the answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its whole body."""

    head: Head
    body: bytes


def read_request(buffer: bytearray) -> tuple[Request, int] | None:
    """The first request of the buffer and how many bytes it takes; None while it has not come whole.

    Raises BadRequestError for what will never be a request.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > LARGEST_HEAD:
            raise BadRequestError(f"headers of more than {LARGEST_HEAD:,} bytes", 431)
        return None
    head = read_head(bytes(buffer[:end]))
    start = end + 4
    if head.chunked:
        return _read_chunked(head, buffer, start)
    stop = start + head.length
    if len(buffer) < stop:
        return None
    return Request(head, bytes(buffer[start:stop])), stop


@lru_cache(maxsize=1_024)
def read_head(head: bytes) -> Head:
    """The head of a request, without the empty line that ends it. Clients repeat theirs, hence the cache."""
    first, *lines = head.decode("latin-1").lstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequestError(f"no line of an HTTP/1.1 request: {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise BadRequestError(f"no header: {line[:80]!r}")
        headers[name.lower()] = value.strip()
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise BadRequestError(f"content-length is {length[:80]!r}")
    closes = headers.get("connection", "").lower() == "close" or words[2] == "HTTP/1.0"
    chunked = headers.get("transfer-encoding", "").lower() == "chunked"
    return Head(words[0], words[1].partition("?")[0], headers, int(length), chunked, closes)


def _read_chunked(head: Head, buffer: bytearray, start: int) -> tuple[Request, int] | None:
    """RFC 9112, section 7.1: sizes in hexadecimal, extensions and trailers ignored."""
    chunks = []
    while True:
        line_end = buffer.find(b"\r\n", start)
        if line_end < 0:
            return None
        digits = bytes(buffer[start:line_end]).partition(b";")[0].strip()
        try:
            size = int(digits, 16)
        except ValueError:
            raise BadRequestError(f"no size of a chunk: {digits[:80]!r}") from None
        start = line_end + 2
        if size == 0:
            break
        if len(buffer) < start + size + 2:
            return None
        chunks.append(bytes(buffer[start : start + size]))
        start += size + 2
    while True:
        line_end = buffer.find(b"\r\n", start)
        if line_end < 0:
            return None
        if line_end == start:
            return Request(head, b"".join(chunks)), start + 2
        start = line_end + 2
