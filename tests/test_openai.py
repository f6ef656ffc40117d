"""The model behind a server, against the test server and against raw ones that it cannot be."""

import asyncio
import contextlib
import gc
import os
import pickle
import socket
import threading
import time
import warnings

import pytest

from quark_bench import openai_model
from quark_bench.agent import Call
from quark_bench.errors import (
    MalformedReplyError,
    ModelConnectionError,
    ModelError,
    ModelRateLimitedError,
    ModelRefusedError,
    ModelServerError,
    ModelTimeoutError,
    UsageError,
)
from quark_bench.language import estimated_tokens
from quark_bench.models import connection, connections, make_model
from quark_bench.models.prices import Price
from quark_bench.redact import MARK
from quark_bench.testing import Fault, ModelServer
from quark_bench.testing.faults import KINDS

TOKENS = 5
KEY = "Zq8-unlikely-Value-78"
FAULTS = [Fault(kind, pattern=f"<{kind}>", after_tokens=2, lasts_s=0.05) for kind in KINDS if kind != "400 to 599"]
STATUSES = [
    Fault("429", pattern="<429>", retry_after_s=0.25, retry_after_form="ms"),
    Fault("503", pattern="<503>", body=False),
    Fault("400", pattern="<400>"),
]


@pytest.fixture(scope="module")
def server():
    """In a thread; prompts name the fault that they want."""
    quick = {"first_token_s": 0.0, "between_tokens_s": 0.0, "tokens": TOKENS}
    with ModelServer(**quick, faults=[*FAULTS, *STATUSES], apart=False) as started:
        yield started


def call(deadline_s=20.0):
    return Call("asker", "p-1", 0, 1, 0, deadline_s, None, "", None, blocking=False)


def question(text):
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def ask(model, *texts, deadline_s=20.0):
    """The replies, one after another in one loop."""

    async def asked():
        return [await model.reply(question(text), call(deadline_s)) for text in texts]

    return asyncio.run(asked())


def model_of(server, **options):
    return openai_model("test-model", base_url=server.base_url, **options)


# -- answers


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_streamed_and_whole_answers_say_the_same_and_only_the_first_has_times(server, api):
    streamed, whole = (ask(model_of(server, api=api, stream=stream), "tell me")[0] for stream in (True, False))
    assert streamed.text == whole.text
    assert len(whole.text.split()) == TOKENS
    for reply in (streamed, whole):
        assert (reply.tokens_in, reply.tokens_out, reply.estimated, reply.finish_reason) == (4, TOKENS, False, "stop")
    assert streamed.first_token_s > 0
    assert streamed.inter_token_s >= 0
    assert (whole.first_token_s, whole.inter_token_s) == (None, None)


@pytest.mark.parametrize("kind", ["crlf", "comments", "split-character", "no-done", "slow-headers"])
def test_what_the_protocol_allows_is_an_answer(server, kind):
    plain, odd = ask(model_of(server), "tell me", f"<{kind}>")
    assert len(odd.text.split()) == len(plain.text.split())
    assert odd.finish_reason == "stop"


def test_an_answer_may_be_cut_or_huge(server):
    cut, huge = ask(model_of(server), "<length>", "<huge>")
    assert (cut.finish_reason, len(cut.text.split())) == ("length", 2)
    assert len(huge.text) > 900_000


def test_tokens_that_no_server_told_are_estimated_and_cost_as_much(server):
    reply = ask(model_of(server, prices=Price(1e6, 2e6)), "<no-usage>")[0]
    assert reply.estimated
    assert reply.tokens_out == estimated_tokens(reply.text)
    assert reply.cost_usd == reply.tokens_in + 2 * reply.tokens_out


def test_max_tokens_and_extra_fields_are_sent(server):
    assert ask(model_of(server, max_tokens=3), "tell me")[0].finish_reason == "length"
    assert ask(model_of(server, extra={"max_completion_tokens": 2}), "tell me")[0].tokens_out == 2


def test_the_three_ways_to_ask_give_the_same_text(server):
    model = model_of(server)
    awaited = ask(model, "tell me")[0]
    copied = pickle.loads(pickle.dumps(model))
    assert copied.told == model.told
    assert model.reply_blocking(question("tell me"), call()).text == awaited.text
    assert ask(copied, "tell me")[0].text == awaited.text


# -- faults

ENDS = {
    "429": ModelRateLimitedError,
    "503": ModelServerError,
    "400": ModelRefusedError,
    "drop": ModelConnectionError,
    "drop-in-headers": ModelConnectionError,
    "drop-in-stream": ModelConnectionError,
    "stall": ModelTimeoutError,
    "bad-json": MalformedReplyError,
    "error-event": ModelServerError,
    "html": MalformedReplyError,
    "empty-choices": MalformedReplyError,
}
ALLOWED = {"slow-headers", "no-data", "no-done", "crlf", "comments", "split-character", "huge", "length", "no-usage"}


def test_every_fault_of_the_server_has_its_end_here():
    assert ENDS.keys() | ALLOWED == KINDS.keys() - {"400 to 599"} | {fault.kind for fault in STATUSES}


@pytest.mark.parametrize("kind", ENDS)
def test_a_fault_ends_in_its_error_and_the_next_question_is_answered(server, kind, monkeypatch):
    monkeypatch.setattr(connection, "BETWEEN_S", 0.3)
    model = model_of(server)

    async def asked():
        with pytest.raises(ModelError) as caught:
            await model.reply(question(f"<{kind}>"), call())
        return caught.value, await model.reply(question("and now"), call())

    error, after = asyncio.run(asked())
    assert type(error) is ENDS[kind]
    assert after.finish_reason == "stop"
    assert error.retry_after_s == (0.25 if kind == "429" else None)


def test_no_time_left_is_a_timeout_also_before_anything_came(server):
    with raw_server(lambda connection: time.sleep(1)) as url, pytest.raises(ModelTimeoutError, match="no time is left"):
        ask(openai_model("m", base_url=url), "hello", deadline_s=0.2)


def test_a_place_where_nobody_listens_is_told_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for url, told in {
        f"http://127.0.0.1:{port}/v1": "nothing listens at .* start the server there",
        "http://no-such-host.invalid/v1": "there is no host 'no-such-host.invalid'",
    }.items():
        with pytest.raises(ModelConnectionError, match=told):
            openai_model("m", base_url=url).make_ready()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
SAID = b'data: {"choices": [{"delta": {"content": "yes"}, "finish_reason": "stop"}]}\n\n'


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", ModelConnectionError),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", MalformedReplyError),
        (b"HTTP/1.1 200 OK\r\n" + b"x-long: " + b"y" * 100_000, MalformedReplyError),
        (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", MalformedReplyError),
        (HEAD + b"content-length: 5000\r\n\r\n" + SAID, ModelConnectionError),
        (
            b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://other/v1\r\ncontent-length: 0\r\n\r\n",
            ModelRefusedError,
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ModelRefusedError),
    ],
)
def test_what_is_no_answer_of_http_ends_in_an_error(sent, error):
    with raw_server(lambda connection: connection.sendall(sent)) as url, pytest.raises(error):
        ask(openai_model("m", base_url=url), "hello")


def test_an_answer_may_end_with_its_connection_and_come_after_a_notice():
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    with raw_server(lambda connection: connection.sendall(early + HEAD + b"\r\n" + SAID)) as url:
        assert [reply.text for reply in ask(openai_model("m", base_url=url), "one", "two")] == ["yes", "yes"]


def test_a_server_that_knows_no_stream_options_is_asked_without_them_from_then_on():
    seen = []

    def answer(connection):
        seen.append(connection.asked)
        if b"stream_options" in connection.asked:
            body = b'{"error": {"message": "unknown field: stream_options"}}'
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        else:
            connection.sendall(HEAD + b"\r\n" + SAID)

    with raw_server(answer) as url:
        replies = ask(openai_model("m", base_url=url), "one", "two")
    assert [reply.estimated for reply in replies] == [True, True]
    assert [b"stream_options" in asked for asked in seen] == [True, False, False]


class Asked:
    """A connection of a raw server, with the request that came over it."""

    def __init__(self, connection):
        self._connection = connection
        self.asked = b""
        while not (self.asked.endswith(b"}") or (self.asked.startswith(b"GET") and self.asked.endswith(b"\r\n\r\n"))):
            piece = connection.recv(65_536)
            if not piece:
                break
            self.asked += piece

    def sendall(self, data):
        self._connection.sendall(data)


@contextlib.contextmanager
def raw_server(answer):
    """Answers each connection's request with bytes, then closes it."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, contextlib.suppress(OSError):
                    answer(Asked(connection))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)


# -- connections


def test_connections_are_kept_and_closed_with_their_loop(server):
    model = model_of(server)
    before = server.stats()

    async def asked():
        for _ in range(3):
            await asyncio.gather(*(model.reply(question("hello"), call()) for _ in range(4)))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(asked())
        gc.collect()
    after = server.stats()
    assert after["connections"] - before["connections"] <= 4 + 2, "the two are those that asked for the counts"
    assert_soon(lambda: server.stats()["open_connections"] <= before["open_connections"])


def test_a_question_that_is_given_up_closes_its_connection(server):
    model = model_of(server)

    async def given_up():
        asked = asyncio.create_task(model.reply(question("<stall>"), call()))
        await asyncio.sleep(0.2)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        return await model.reply(question("and now"), call())

    before = server.stats()["abandoned"]
    assert asyncio.run(given_up()).text
    assert_soon(lambda: server.stats()["abandoned"] == before + 1)


def test_a_connection_that_the_server_has_closed_is_not_asked_on():
    """The close is there before the loop has looked at the socket: nothing may be sent into it."""
    whole = b'{"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}'
    answered = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(whole), whole)
    asked = []

    def answer(connection):
        asked.append(connection.asked)
        connection.sendall(answered)

    with raw_server(answer) as url:
        model = openai_model("m", base_url=url)

        async def twice():
            await model.reply(question("one"), call())
            time.sleep(0.1)  # without the loop
            await model.reply(question("two"), call())

        asyncio.run(twice())
    assert len(asked) == 2


def test_what_follows_an_answer_is_not_taken_for_the_next_one():
    def answering(said):
        body = b'{"choices": [{"message": {"content": "%s"}, "finish_reason": "stop"}]}' % said
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    with raw_server(lambda connection: connection.sendall(answering(b"mine") + answering(b"another's"))) as url:
        replies = ask(openai_model("m", base_url=url), "one", "two")
    assert [reply.text for reply in replies] == ["mine", "mine"]


def test_a_host_is_looked_up_once_for_many_connections(server, monkeypatch):
    looked_up = []
    found = socket.getaddrinfo

    def counted(host, *rest, **more):
        looked_up.append(host)
        return found(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", counted)
    model = openai_model("m", base_url=server.base_url.replace("127.0.0.1", "localhost"))

    async def asked():
        await asyncio.gather(*(model.reply(question("hello"), call()) for _ in range(5)))

    asyncio.run(asked())
    assert looked_up.count("localhost") == 1


def assert_soon(holds, within_s=20):
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


# -- the key


def test_the_key_is_read_when_it_is_needed_and_stands_in_no_pickle_and_no_error(monkeypatch):
    with ModelServer(first_token_s=0, between_tokens_s=0, key=KEY, apart=False) as server:
        model = model_of(server, api_key_env="WHATEVER")
        with pytest.raises(ModelRefusedError, match="set WHATEVER to a key, where the processes that ask are started"):
            model.make_ready()
        monkeypatch.setenv("WHATEVER", f"{KEY}\n")
        model.make_ready()
        assert ask(model, "hello")[0].finish_reason == "stop"
        assert KEY.encode() not in pickle.dumps(model)
        assert KEY not in repr(model)
        monkeypatch.setenv("WHATEVER", f"{KEY}-wrong")
        with pytest.raises(ModelRefusedError, match="set WHATEVER to a key that it accepts") as caught:
            ask(model, "hello")
        assert KEY not in str(caught.value)
        monkeypatch.setenv("WHATEVER", f"{KEY}\N{BULLET}")
        with pytest.raises(ModelRefusedError, match="WHATEVER holds characters that no key has") as caught:
            ask(model, "hello")
        assert KEY not in str(caught.value)


def test_a_key_that_the_server_repeats_is_taken_out(monkeypatch):
    monkeypatch.setenv("WHATEVER", KEY)

    def answer(connection):
        body = b"no such key: " + connection.asked.partition(b"Bearer ")[2].partition(b"\r\n")[0]
        connection.sendall(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    with raw_server(answer) as url, pytest.raises(ModelRefusedError, match=r"no such key: \[redacted\]") as caught:
        ask(openai_model("m", base_url=url, api_key_env="WHATEVER"), "hello")
    assert MARK in str(caught.value)


# -- making one


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"base_url": "nowhere"}, "no http or https address"),
        ({"base_url": "http://h:port/v1"}, "--base-url"),
        ({"base_url": "http://a:b@h/v1"}, "holds a name or password"),
        ({"api": "responses"}, "give chat or completions"),
        ({"api_key_env": "sk-123"}, "names an environment variable"),
        ({"extra": {"stream": False}}, "give stream its own parameter"),
        ({"extra": {"x": object()}}, "extra is no JSON"),
    ],
)
def test_what_no_request_can_hold_is_refused_when_the_model_is_made(options, told):
    with pytest.raises(UsageError, match=told):
        openai_model("m", **options)


@pytest.mark.parametrize(
    ("spec", "options", "told"),
    [
        ("openai:", {}, "name the model too"),
        ("opanai:m", {}, "did you mean openai"),
        ("offline", {"base_url": "http://h/v1"}, "--base-url is for a real model"),
        ("openai:m", {"prices": "nowhere.toml"}, "cannot be read"),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused(spec, options, told):
    with pytest.raises(UsageError, match=told):
        make_model(spec, **options)


def test_the_url_is_the_environments_where_none_is_given(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert openai_model("m").told == "openai:m at https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://h/v1/")
    assert openai_model("m", temperature=0.0, extra={"top_k": 1}).told == (
        'openai:m at http://h/v1, temperature 0.0, {"top_k": 1}'
    )


def test_a_server_without_a_page_of_models_is_taken_and_a_web_page_is_not():
    def answering(sent):
        return raw_server(lambda connection: connection.sendall(sent))

    with answering(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n") as url:
        openai_model("m", base_url=url).make_ready()
    page = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"
    with answering(page) as url, pytest.raises(MalformedReplyError, match="no JSON object: '<html>'"):
        openai_model("m", base_url=url).make_ready()


def test_without_the_extra_what_to_install_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'quark-bench\[http\]'"):
        openai_model("m")


def test_a_connection_that_is_not_taken_in_time_is_a_timeout(monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_S", 0.2)
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # its queue is full: further connections get no answer
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        with pytest.raises(ModelTimeoutError, match="took no connection within"):
            ask(openai_model("m", base_url=url), "hello")


def test_the_environments_key_is_not_needed(server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert "OPENAI_API_KEY" not in os.environ
    assert ask(model_of(server), "hello")[0].text
