"""The model server as a client meets it, on a real socket."""

import http.client
import json
import socket
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil
import pytest

from quark_bench.errors import ExecutionError, UsageError
from quark_bench.testing import Fault, ModelServer, RateLimit, sustained_rps
from quark_bench.testing.__main__ import main
from quark_bench.testing.faults import KINDS

FAULTS = [Fault(kind, pattern=f"<{kind}>", lasts_s=0.05, after_tokens=2) for kind in KINDS if kind != "400 to 599"]
STATUSES = [
    Fault("429", pattern="<429>", retry_after_s=0.25, retry_after_form="ms"),
    Fault("503", pattern="<503>", body=False),
    Fault("500", pattern="<once>", attempts=1),
]
TOKENS = 6
QUICK = {"first_token_s": 0.0, "between_tokens_s": 0.0, "tokens": TOKENS}


@pytest.fixture(scope="module")
def server():
    """In a process of its own; prompts name the fault that they want."""
    with ModelServer(first_token_s=0.01, between_tokens_s=0.001, tokens=TOKENS, faults=[*FAULTS, *STATUSES]) as started:
        yield started


@contextmanager
def connected(server):
    """A connection that is kept, as bytes."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        yield connection


class Answered:
    """An answer with its headers in lower case; what came of it, where the connection broke off."""

    def __init__(self, response):
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.whole = True
        try:
            self.body = response.read()
        except http.client.IncompleteRead as error:
            self.body, self.whole = error.partial, False

    @property
    def page(self):
        return json.loads(self.body)

    @property
    def events(self):
        """The data of its events, `[DONE]` left out."""
        lines = self.body.decode().splitlines()
        return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]

    @property
    def text(self):
        choices = [choice for event in self.events for choice in event["choices"]]
        return "".join(choice["delta"].get("content", "") for choice in choices)


def ask(server, prompt, *, stream=True, path="/chat/completions", headers=None, **more):
    """One request on a connection of its own."""
    address = urlsplit(server.base_url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    chat = {"messages": [{"role": "user", "content": prompt}]}
    body = (chat if path == "/chat/completions" else {"prompt": prompt}) | {"model": "m", "stream": stream} | more
    try:
        connection.request("POST", address.path + path, json.dumps(body), headers or {})
        return Answered(connection.getresponse())
    finally:
        connection.close()


# -- healthy answers


@pytest.mark.parametrize("path", ["/chat/completions", "/completions"])
def test_usage_counts_what_is_streamed_and_both_ways_say_the_same(server, path):
    streamed = ask(server, "tell me more", path=path, stream_options={"include_usage": True})
    plain = ask(server, "tell me more", path=path, stream=False).page
    usage = {"prompt_tokens": 3, "completion_tokens": TOKENS, "total_tokens": 3 + TOKENS}
    assert plain["usage"] == streamed.events[-1]["usage"] == usage
    choices = [event["choices"][0] for event in streamed.events[:-1]]
    parts = [choice["text"] if "text" in choice else choice["delta"].get("content", "") for choice in choices]
    assert len([part for part in parts if part]) == TOKENS
    said = plain["choices"][0]
    assert "".join(parts) == (said["text"] if "text" in said else said["message"]["content"])
    assert choices[-1]["finish_reason"] == said["finish_reason"] == "stop"
    assert streamed.body.endswith(b"data: [DONE]\n\n")


def test_usage_comes_in_a_stream_only_where_it_is_asked_for(server):
    assert not any("usage" in event for event in ask(server, "hello").events)


def test_no_token_comes_before_it_is_due():
    with ModelServer(first_token_s=0.05, between_tokens_s=0.01, tokens=6, apart=False) as server:
        for stream in (True, False):
            began_s = time.monotonic()
            ask(server, "hello", stream=stream)
            assert time.monotonic() - began_s >= 0.1
        assert server.stats()["most_late_s"] >= 0


def test_a_request_sent_before_the_last_was_answered_waits_for_its_turn(server):
    body = json.dumps({"prompt": "hello", "stream": True})
    request = f"POST /v1/completions HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    with connected(server) as connection:
        connection.sendall(request * 3)
        came = b""
        while came.count(b"\r\n0\r\n\r\n") < 3:
            came += connection.recv(65_536)
    first, second, third = came.split(b"HTTP/1.1 200 OK")[1:]
    assert first == second == third


def test_models_are_listed_and_other_pages_are_not_there(server):
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    told = []
    for method, path in (("GET", "/v1/models"), ("GET", "/v2"), ("GET", "/v1/completions")):
        connection.request(method, path)
        told.append(Answered(connection.getresponse()))
    connection.close()
    assert [each.status for each in told] == [200, 404, 405]
    assert told[0].page["data"][0]["id"] == "test-model"


def test_answers_are_given_by_pattern_from_another_process():
    with ModelServer(**QUICK, answer={"capital of France": "Paris — of course.", "": "no idea"}) as server:
        assert ask(server, "the capital of France?").text == "Paris — of course."
        assert ask(server, "the capital of Peru?").text == "no idea"


def test_a_function_answers_in_a_thread_and_what_it_raises_is_an_error_of_the_server():
    with ModelServer(**QUICK, answer=lambda messages: messages[0]["content"].split()[1], apart=False) as server:
        assert ask(server, "say cheese").text == "cheese"
        assert ask(server, "nothing").status == 500
    with pytest.raises(UsageError, match="apart=False"):
        ModelServer(answer=lambda _: "")


def test_a_server_may_tell_no_usage():
    with ModelServer(**QUICK, usage=False, apart=False) as server:
        assert "usage" not in ask(server, "hello", stream=False).page
        assert not any(
            "usage" in event for event in ask(server, "hello", stream_options={"include_usage": True}).events
        )


def test_without_the_key_nothing_is_answered():
    with ModelServer(**QUICK, key="sesame", apart=False) as server:
        stranger = ask(server, "hello", headers={"Authorization": "Bearer open"})
        assert (stranger.status, stranger.page["error"]["code"]) == (401, "invalid_api_key")
        assert ask(server, "hello", headers={"Authorization": "Bearer sesame"}).status == 200


# -- faults


def test_a_status_comes_with_its_headers_and_may_have_no_body(server):
    busy = ask(server, "<429>")
    assert (busy.status, busy.headers["retry-after-ms"], busy.headers["retry-after"]) == (429, "250", "1")
    assert busy.page["error"]["code"] == "rate_limit_exceeded"
    down = ask(server, "<503>")
    assert (down.status, down.body) == (503, b"")


def test_a_retry_succeeds_where_only_the_first_attempt_is_struck(server):
    assert [ask(server, "<once>").status for _ in range(2)] == [500, 200]
    keys = [{"Idempotency-Key": key} for key in ("a", "a", "b")]
    assert [ask(server, "<once> more", headers=each).status for each in keys] == [500, 200, 500]


@pytest.mark.parametrize("kind", ["drop", "drop-in-headers"])
def test_a_connection_is_dropped_before_there_is_an_answer(server, kind):
    body = json.dumps({"prompt": f"<{kind}>", "stream": True})
    with connected(server) as connection:
        connection.sendall(f"POST /v1/completions HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        came = b""
        while more := connection.recv(65_536):
            came += more
    assert b"\r\n\r\n" not in came
    assert came.startswith(b"HTTP/1.1 200 OK" if kind == "drop-in-headers" else b"")


@pytest.mark.parametrize("stream", [True, False])
def test_a_connection_is_dropped_in_the_middle_of_an_answer(server, stream):
    answer = ask(server, "<drop-in-stream>", stream=stream)
    assert not answer.whole
    assert answer.body


def test_a_stalled_answer_is_abandoned_when_the_client_leaves(server):
    before = server.stats()
    body = json.dumps({"prompt": "<stall>", "stream": True})
    with connected(server) as connection:
        connection.sendall(f"POST /v1/completions HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        came = b""
        while came.count(b"data: ") < 2:
            came += connection.recv(65_536)
        assert server.stats()["under_way"] == before["under_way"] + 1
    deadline_s = time.monotonic() + 60
    while server.stats()["abandoned"] == before["abandoned"] and time.monotonic() < deadline_s:
        time.sleep(0.01)
    after = server.stats()
    assert (after["abandoned"], after["under_way"]) == (before["abandoned"] + 1, before["under_way"])


def test_malformed_streams_are_malformed_each_in_its_way(server):
    healthy = ask(server, "<length> no fault").body
    came = {kind: ask(server, f"<{kind}>") for kind in ("bad-json", "no-data", "error-event", "no-done")}
    with pytest.raises(json.JSONDecodeError):
        [json.loads(line[6:]) for line in came["bad-json"].body.decode().splitlines() if line.startswith("data: {")]
    assert [line[:1] for line in came["no-data"].body.splitlines() if line and not line.startswith(b"data: ")] == [b"{"]
    assert came["error-event"].events[-1]["error"]["type"] == "server_error"
    assert not came["no-done"].body.endswith(b"[DONE]\n\n")
    assert healthy.endswith(b"[DONE]\n\n")


def test_allowed_oddities_say_the_same(server):
    plain = ask(server, "<comments>", stream=False).page["choices"][0]["message"]["content"]
    assert ask(server, "<comments>").text == plain
    assert b"\n: keep-alive\n" in ask(server, "<comments>").body
    crlf = ask(server, "<crlf>")
    assert crlf.body.count(b"\n") == crlf.body.count(b"\r\n") > 0
    assert len(crlf.text.split()) == TOKENS
    assert "é" in ask(server, "<split-character>").text
    assert len(ask(server, "<slow-headers>").text.split()) == TOKENS


@pytest.mark.parametrize("stream", [True, False])
def test_answers_lack_what_their_fault_takes_away(server, stream):
    asked = {"stream": stream, "stream_options": {"include_usage": True}}
    html, huge, empty, length, untold = (
        ask(server, f"<{kind}>", **asked) for kind in ("html", "huge", "empty-choices", "length", "no-usage")
    )
    assert (html.status, html.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert len(huge.body) > 1_000_000
    assert b'"choices":[]' in empty.body
    assert b'"finish_reason":"length"' in length.body
    assert b"completion_tokens" not in untold.body
    assert b"completion_tokens" in length.body


# -- limits and counts


def test_beyond_the_rate_limit_requests_are_refused_and_told_when_to_come_back():
    limit = RateLimit(requests_per_s=0.001, tokens_per_minute=6_000, burst_s=2_000)
    with ModelServer(**QUICK, rate_limit=limit, apart=False) as server:
        first, _, third = (ask(server, "hello") for _ in range(3))
    assert (first.status, third.status) == (200, 429)
    names = {
        f"x-ratelimit-{each}-{kind}" for each in ("limit", "remaining", "reset") for kind in ("requests", "tokens")
    }
    assert names <= first.headers.keys()
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert 900 < int(third.headers["retry-after"]) <= 1_000
    assert third.page["error"]["type"] == "requests"


def test_beyond_so_many_at_once_requests_are_refused():
    with ModelServer(**QUICK, faults=["stall: nth=1"], rate_limit=RateLimit(concurrent=1), apart=False) as server:
        body = json.dumps({"prompt": "stays", "stream": True})
        with connected(server) as connection:
            connection.sendall(f"POST /v1/completions HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
            connection.recv(65_536)
            assert ask(server, "one too many").status == 429
        stats = server.stats()
    assert (stats["by_status"], stats["by_fault"]) == ({200: 1, 429: 1}, {"stall": 1})
    assert (stats["requests"], stats["most_under_way"]) == (2, 2)


def test_arrivals_are_kept_by_the_clock_of_the_machine():
    with ModelServer(**QUICK, keep_arrivals=True) as server:
        began_s = time.monotonic()
        for prompt in ("one", "two"):
            ask(server, prompt)
        arrivals_s = server.stats()["arrivals_s"]
    assert began_s <= arrivals_s[0] <= arrivals_s[1] <= time.monotonic()


def test_the_bare_client_counts_every_request(server):
    before = server.stats()["requests"]
    assert sustained_rps(server.base_url, requests=20, connections=4) > 0
    assert server.stats()["requests"] == before + 20
    with ModelServer(**QUICK, faults=["500"], apart=False) as broken, pytest.raises(ExecutionError, match="500"):
        sustained_rps(broken.base_url, requests=1)


# -- from start to end


def test_a_server_and_its_process_are_there_within_its_block_and_no_longer():
    before = children()
    server = ModelServer(**QUICK)
    with server:
        assert len(children() - before) == 1
        port = urlsplit(server.url).port
        for apart in (True, False):
            with pytest.raises(ExecutionError, match="another port"):
                ModelServer(port=port, apart=apart).__enter__()
    assert not children() - before
    with pytest.raises(UsageError, match="within `with"):
        server.base_url  # noqa: B018 - it raises


def children():
    return {process.pid for process in psutil.Process().children()}


def test_the_command_prints_its_url_and_what_it_served(capsys):
    assert main(["--stop-after-s", "0", "--fault", "stall: nth=3"]) == 0
    url, served = capsys.readouterr().out.splitlines()
    assert url.startswith("http://127.0.0.1:")
    assert served == "0 requests"


def test_the_command_explains_itself_and_its_mistakes_within_80_columns(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert main(["--fault", "stal"]) == 2
    assert main(["--key-env", "NOT_SET_ANYWHERE"]) == 2
    out, err = capsys.readouterr()
    assert "did you mean 'stall'" in err
    assert max(map(len, (out + err).splitlines())) <= 80
