import json

import pytest

from quark_bench.errors import MalformedReplyError, ModelServerError
from quark_bench.models.answers import Answer, Tokens


def event(**page):
    return f"data: {json.dumps(page)}\n\n".encode()


def said(text, finish=None):
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": finish}])


def streamed(*pieces):
    answer = Answer()
    for number, piece in enumerate(pieces):
        answer.take(piece, float(number))
    answer.check()
    return answer


def test_the_first_and_last_times_are_those_of_pieces_with_text():
    usage = event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2})
    answer = streamed(said(""), said("a"), b": wait\n\n", said("b"), said(None, "stop"), usage, b"data: [DONE]\n\n")
    assert (answer.text, answer.first_s, answer.last_s, answer.finish) == ("ab", 1.0, 3.0, "stop")
    assert answer.tokens == Tokens(3, 2)


@pytest.mark.parametrize(
    "page",
    [
        {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]},
        {"choices": [{"text": "yes", "finish_reason": "stop"}], "usage": None},
        {"choices": [{"text": "yes"}], "usage": {"prompt_tokens": "3", "completion_tokens": 1}},
    ],
)
def test_a_page_is_an_answer_without_times_and_usage_that_is_no_count_is_none(page):
    answer = Answer()
    answer.take_whole(json.dumps(page).encode())
    assert (answer.text, answer.first_s, answer.tokens) == ("yes", None, None)


@pytest.mark.parametrize(
    ("pieces", "error", "told"),
    [
        ([b"data: {not json\n\n"], MalformedReplyError, "no JSON object"),
        ([b"data: [1, 2]\n\n"], MalformedReplyError, "no JSON object"),
        ([b"data: " + b"[" * 100_000 + b"\n\n"], MalformedReplyError, "no JSON object"),
        ([said("half an ans")], MalformedReplyError, "without a finish reason"),
        ([b"data: [DONE]\n\n"], MalformedReplyError, "no choice"),
        ([event(choices=[]), b"data: [DONE]\n\n"], MalformedReplyError, "no choice"),
        ([said("a"), event(error={"message": "out of memory"})], ModelServerError, "broke its answer off: out of mem"),
        ([b'event: error\ndata: {"message": "gone"}\n\n'], ModelServerError, "broke its answer off: gone"),
    ],
)
def test_what_is_no_answer_says_so(pieces, error, told):
    with pytest.raises(error, match=told):
        streamed(*pieces)


def test_a_finish_reason_ends_a_stream_that_lacks_its_last_line():
    assert streamed(said("a"), said(None, "length")).finish == "length"
