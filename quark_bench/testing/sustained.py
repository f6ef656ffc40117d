"""What a server sustains, measured by a client of bare sockets that does next to nothing itself."""

from __future__ import annotations

import json
import selectors
import socket
import time
from urllib.parse import urlsplit

from quark_bench.errors import ExecutionError

END = b"0\r\n\r\n"
"""Ends an answer that comes in chunks."""


def sustained_rps(base_url: str, requests: int = 10_000, connections: int = 64) -> float:
    """Streaming requests per second, end to end, of a closed loop over so many connections.

    With ModelServer(first_token_s=0, between_tokens_s=0) this is the most it can do beside this client, which takes
    a core of its own. A client under test needs well less. Raises ExecutionError where the server answers otherwise
    than by a stream.
    """
    address = urlsplit(base_url)
    assert address.hostname is not None
    body = json.dumps({"model": "any", "messages": [{"role": "user", "content": "as fast as it can"}], "stream": True})
    lines = [
        f"POST {address.path}/chat/completions HTTP/1.1",
        f"host: {address.netloc}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    ]
    request = "\r\n".join([*lines, "", body]).encode()
    connections = min(connections, requests)
    sockets = [socket.create_connection((address.hostname, address.port)) for _ in range(connections)]
    try:
        return requests / _took_s(sockets, request, requests)
    finally:
        for each in sockets:
            each.close()


def _took_s(sockets: list[socket.socket], request: bytes, requests: int) -> float:
    """Seconds until all requests are answered, each socket sending its next when it has its answer."""
    selector = selectors.DefaultSelector()
    began_s = time.monotonic()
    for each in sockets:
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(each, selectors.EVENT_READ)
        each.sendall(request)
    to_send, to_come = requests - len(sockets), requests
    while to_come:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            said = key.fileobj.recv(65_536)
            if not said or (said.startswith(b"HTTP/1.1 ") and not said.startswith(b"HTTP/1.1 200")):
                raise ExecutionError(
                    f"no stream: the server answered {said[:200]!r}; give one without faults or limits"
                )
            if said.endswith(END):
                to_come -= 1
                if to_send:
                    to_send -= 1
                    key.fileobj.sendall(request)
    selector.close()
    return time.monotonic() - began_s
