import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.errors import MalformedReplyError
from quark_bench.models import events
from quark_bench.models.events import Event, EventReader

lines = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data",
        b"data: \xc3\xa9\xf0\x9f\x99\x82",
        b": a comment",
        b"event: error",
        b"",
        b"",
        b"id: 1",
    ]
)
breaks = st.sampled_from([b"\n", b"\r\n", b"\r"])
streams = st.lists(st.tuples(lines, breaks), max_size=12).map(lambda parts: b"".join(map(b"".join, parts)))


def pieces(stream, cuts):
    borders = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:stop] for start, stop in itertools.pairwise(borders)]


def read(*parts):
    reader = EventReader()
    return [event for part in parts for event in reader.feed(part)]


@given(streams | st.binary(max_size=60), st.booleans(), st.lists(st.integers(0, 500), max_size=8))
def test_however_the_bytes_are_split_the_events_are_the_same(stream, marked, cuts):
    stream = b"\xef\xbb\xbf" * marked + stream
    assert read(*pieces(stream, cuts)) == read(stream) == read(*(stream[at : at + 1] for at in range(len(stream))))


@given(streams)
def test_the_three_line_ends_say_the_same(stream):
    plain = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    assert read(plain) == read(plain.replace(b"\n", b"\r\n")) == read(plain.replace(b"\n", b"\r"))


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (b"data: one\ndata: two\n\n", [Event("message", "one\ntwo")]),
        (b"\xef\xbb\xbfdata: x\n\n", [Event("message", "x")]),
        (b": only a comment\n\nevent: ping\n\ndata:  y\n\n", [Event("message", " y")]),
        (b"event: error\ndata: z\n\ndata: [DONE]\n\n", [Event("error", "z"), Event("message", "[DONE]")]),
        (b"data: \xff\n\n", [Event("message", "\ufffd")]),
        (b"data: without its end\n", []),
    ],
)
def test_events_are_read_as_the_standard_says(stream, told):
    assert read(stream) == told


def test_a_line_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(events, "LONGEST_LINE", 100)
    with pytest.raises(MalformedReplyError, match="a line of the stream has more than"):
        read(b"data: ", *[b"x" * 40] * 3)
