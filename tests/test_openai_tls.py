"""The model behind a server that speaks https: a terminator with a certificate of the tests' own authority."""

import asyncio
import ssl
import threading

import pytest

from quark_bench import openai_model
from quark_bench.agent import Call
from quark_bench.errors import ModelConnectionError
from quark_bench.models import connections
from quark_bench.testing import ModelServer

from .certificates import make_certificates

QUESTION = [{"role": "user", "content": "tell me"}]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A folder with the authority's certificate, and the server's with its key."""
    return make_certificates(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture(scope="module")
def secure_url(authority):
    """Of a terminator before the test server, in a thread."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority / "own.pem", authority / "own-key.pem")
    loop, ports, accepted = asyncio.new_event_loop(), [], []

    with ModelServer(first_token_s=0.0, between_tokens_s=0.0, tokens=3, apart=False) as server:
        host, _, port = server.url.removeprefix("http://").rpartition(":")

        async def pump(reader, writer):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
            writer.close()

        async def terminate(reader, writer):
            accepted.append(1)
            inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
            await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer), return_exceptions=True)

        async def listen():
            listening = await asyncio.start_server(terminate, "127.0.0.1", 0, ssl=context)
            ports.append(listening.sockets[0].getsockname()[1])

        loop.run_until_complete(listen())
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{ports[0]}/v1", accepted
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def asked(url, times=1):
    async def made():
        model = openai_model("test-model", base_url=url)
        call = Call("asker", "p-1", 0, 1, 0, 20.0, None, "", None, blocking=False)
        return [await model.reply(QUESTION, call) for _ in range(times)]

    return asyncio.run(made())


def trusting(monkeypatch, context):
    monkeypatch.setattr(connections, "_trust", lambda: context)


def test_questions_over_https_share_one_connection(monkeypatch, authority, secure_url):
    url, accepted = secure_url
    trusting(monkeypatch, ssl.create_default_context(cafile=authority / "ca.pem"))
    accepted.clear()
    replies = asked(url, times=4)
    assert [len(reply.text.split()) for reply in replies] == [3] * 4
    assert replies[0].first_token_s > 0
    assert len(accepted) == 1


def test_a_certificate_that_nobody_trusts_is_told_with_what_to_do(monkeypatch, secure_url):
    url, _ = secure_url
    trusting(monkeypatch, ssl.create_default_context())
    with pytest.raises(ModelConnectionError, match=r"CERTIFICATE_VERIFY_FAILED.*SSL_CERT_FILE"):
        asked(url)
