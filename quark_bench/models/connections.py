"""Connections to one server from one event loop: kept for the next request, as many as are needed at once.

There is no limit here: how many requests may be under way is decided where they are admitted.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from quark_bench.errors import ModelConnectionError, ModelError, ModelTimeoutError, UsageError
from quark_bench.models.connection import Connection, clock

CONNECT_S = 10.0
ADDRESSES_S = 60.0
"""How long a host's addresses are taken for right."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is."""

    base_url: str
    host: str
    port: int
    path: str
    secure: bool

    @property
    def host_header(self) -> str:
        """RFC 9110, section 7.2."""
        return urlsplit(self.base_url).netloc


def place_of(base_url: str) -> Place:
    """Read `http://HOST[:PORT][/PATH]`. Raises UsageError for anything else, and for a URL that holds a password."""
    example = "give one as https://api.example.com/v1"
    try:
        url = urlsplit(base_url)
        port = url.port or {"https": 443, "http": 80}.get(url.scheme)
    except ValueError as error:
        raise UsageError(f"--base-url: {error}; {example}") from None
    if url.username is not None or url.password is not None:
        raise UsageError("--base-url holds a name or password; put the key into the variable of --api-key-env")
    if port is None or not url.hostname or url.query or url.fragment or not base_url.isascii() or " " in base_url:
        raise UsageError(f"--base-url {base_url!r} is no http or https address without a query; {example}")
    return Place(base_url, url.hostname, port, url.path, url.scheme == "https")


class Connections:
    """Must be used within one running event loop."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._addresses: tuple[str, ...] = ()
        self._resolved_s = -ADDRESSES_S
        self._resolving = asyncio.Lock()
        self._keeper: AsyncGenerator[None, None] | None = None

    async def take(self) -> Connection:
        """One to send a request on: that which was used last, else a new one.

        Raises ModelConnectionError where the server cannot be reached, ModelTimeoutError where it takes too long.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fit:
                return connection
            self.drop(connection)
        if self._keeper is None:
            self._keeper = self._until_the_loop_ends()
            await anext(self._keeper)
        try:
            async with asyncio.timeout(CONNECT_S):
                connection = await self._connect()
        except TimeoutError:
            raise ModelTimeoutError(
                f"{self._place.base_url} took no connection within {CONNECT_S:g} s; see whether it is up, whether "
                "--base-url is right and no firewall is between"
            ) from None
        except OSError as error:
            raise self._unreachable(error) from None
        self._all.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """After an answer's end; one that cannot be used again is dropped when it is taken."""
        self._idle.append(connection)

    def drop(self, connection: Connection) -> None:
        connection.close()
        self._all.discard(connection)

    async def _connect(self) -> Connection:
        """To the host's first address that takes it."""
        place, failed = self._place, OSError("the host has no address")
        loop = asyncio.get_running_loop()
        secure: dict[str, Any] = {"ssl": _trust(), "server_hostname": place.host} if place.secure else {}
        for address in await self._resolved():
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(place.base_url), address, place.port, **secure
                )
            except OSError as error:
                failed = error
            else:
                return connection
        self._resolved_s = -ADDRESSES_S  # it may have moved
        raise failed

    async def _resolved(self) -> tuple[str, ...]:
        async with self._resolving:
            if clock() - self._resolved_s > ADDRESSES_S:
                loop, place = asyncio.get_running_loop(), self._place
                found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
                self._addresses = tuple(dict.fromkeys(str(address[0]) for *_, address in found))
                self._resolved_s = clock()
            return self._addresses

    def _unreachable(self, error: OSError) -> ModelError:
        place = self._place
        if isinstance(error, socket.gaierror):
            return ModelConnectionError(f"there is no host {place.host!r}; see whether --base-url is right")
        if isinstance(error, ConnectionRefusedError):
            return ModelConnectionError(
                f"nothing listens at {place.base_url}; start the server there, or give its address with --base-url"
            )
        if isinstance(error, ssl.SSLError):
            return ModelConnectionError(
                f"no secure connection to {place.base_url}: {error.reason or error}; see whether it speaks https and "
                "whether this machine trusts its certificate (SSL_CERT_FILE)"
            )
        return ModelConnectionError(
            f"{place.base_url} cannot be reached: {error.strerror or error}; see whether --base-url is right"
        )

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        """A loop that ends closes its generators, and so these connections: no socket is left open behind it."""
        try:
            yield
        finally:
            for connection in tuple(self._all):
                self.drop(connection)
            await asyncio.sleep(0)  # their transports close in the loop's next round


@functools.cache
def _trust() -> ssl.SSLContext:
    """Made once a process: it reads all certificates that the machine trusts."""
    return ssl.create_default_context()
