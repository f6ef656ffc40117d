"""Events out of the bytes of a server-sent stream, pure: however the bytes were split on their way, they are the same.

As the HTML standard has it, section 9.2.6 "Interpreting an event stream", but for `id` and `retry`, which nobody asks
for here.
"""

from __future__ import annotations

from typing import NamedTuple

from quark_bench.errors import MalformedReplyError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_LINE = 16_000_000
"""Bytes. A line that never ends would be looked through again with every piece of it."""


class Event(NamedTuple):
    """One event: its lines of data, joined by line breaks. `name` is `message` where the stream gives none."""

    name: str
    data: str


class EventReader:
    """Reads one stream."""

    __slots__ = ("_after_return", "_data", "_name", "_rest", "_started")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._name = b""
        self._started = False
        self._after_return = False

    def feed(self, piece: bytes) -> list[Event]:
        """The events that end in this piece. Raises MalformedReplyError for a line that is longer than is taken."""
        if b"\r" in piece or self._after_return:
            piece = self._plain_breaks(piece)
        text = self._rest + piece
        if not self._started:
            if len(text) < len(BYTE_ORDER_MARK) and BYTE_ORDER_MARK.startswith(text):
                self._rest = text
                return []
            self._started = True
            text = text.removeprefix(BYTE_ORDER_MARK)
        *lines, self._rest = text.split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise MalformedReplyError(
                f"a line of the stream has more than {LONGEST_LINE / 1e6:g} MB; no answer is so long"
            )
        return [event for line in lines if (event := self._read(line)) is not None]

    def _plain_breaks(self, piece: bytes) -> bytes:
        """Lines may end in LF, CR or CR LF; a CR ends one at once, though an LF may follow in the next piece."""
        if not piece:
            return piece
        if self._after_return and piece.startswith(b"\n"):
            piece = piece[1:]
        self._after_return = piece.endswith(b"\r")
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _read(self, line: bytes) -> Event | None:
        """The event that this line ends, if it ends one."""
        if not line:
            name, data, self._name, self._data = self._name, self._data, b"", []
            if not data:
                return None
            joined = data[0] if len(data) == 1 else b"\n".join(data)
            return Event(name.decode("utf-8", "replace") or "message", joined.decode("utf-8", "replace"))
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._name = value.removeprefix(b" ")
        return None
