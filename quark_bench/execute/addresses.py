"""Addresses: who can reach a scheduler, and who can listen in.

Whoever reaches a scheduler's port can run code on all its machines, and Dask's plain protocols carry prompts and
answers unencrypted. So a plain address beyond loopback is only used where a person asked for it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from typing import Any

from quark_bench.errors import UsageError

ENCRYPTED = frozenset({"tls", "wss", "gateway"})
"""Protocols that encrypt and ask both ends who they are; `gateway` is dask-gateway's own, over TLS."""

ADDRESS = re.compile(r"(?:(tcp|tls|ucxx?|wss?)://)?(\[[^]/]+\]|[^:/\[\]]+):(\d+)")

Resolver = Callable[[str, None], list[Any]]


def parse_address(text: str) -> str | None:
    """A scheduler's address with its protocol, which is tcp where none is given; None for what is no address."""
    found = ADDRESS.fullmatch(text)
    return f"{found[1] or 'tcp'}://{found[2]}:{found[3]}" if found else None


def protocol_of(address: str) -> str:
    """`tls` of `tls://scheduler:8786`; `tcp` where none is given, as Dask has it."""
    protocol, separator, _ = address.partition("://")
    return protocol if separator else "tcp"


def host_of(address: str) -> str:
    """`::1` of `tcp://[::1]:8786`."""
    place = address.partition("://")[2] or address
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place.partition("/")[0].rpartition(":")[0] or place


def is_encrypted(address: str) -> bool:
    """Whether what is sent there can be read on the way."""
    return protocol_of(address) in ENCRYPTED


def is_loopback(host: str, resolve: Resolver = socket.getaddrinfo) -> bool:
    """Whether a host is this machine and nothing but: 127.0.0.0/8, ::1, or a name of these alone."""
    if host == "localhost":
        return True
    try:
        return _is_loopback_number(host)
    except ValueError:
        pass
    try:
        found = resolve(host, None)
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(_is_loopback_number(entry[4][0]) for entry in found)


def _is_loopback_number(host: str) -> bool:
    number = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(number, "ipv4_mapped", None)
    return bool((mapped or number).is_loopback)


def is_exposed(address: str, resolve: Resolver = socket.getaddrinfo) -> bool:
    """Whether traffic to this address leaves the machine unencrypted."""
    if is_encrypted(address) or protocol_of(address) == "inproc":
        return False
    return not is_loopback(host_of(address), resolve)


def require_safe(address: str, on: str, *, insecure: bool, resolve: Resolver = socket.getaddrinfo) -> None:
    """Raise UsageError for an exposed address, unless `insecure` was asked for. `on` is what the user named."""
    if insecure or not is_exposed(address, resolve):
        return
    named = on if on == address else f"{on} leads to {address}, which"
    raise UsageError(
        f"--on {named} is plain {protocol_of(address)} beyond this machine: whoever reaches that port can run code "
        "there, and prompts and answers travel unencrypted; use a tls:// address with certificates, or an ssh tunnel "
        "(ssh -L 8786:localhost:8786 HOST, then --on tcp://127.0.0.1:8786), or on a network that you trust --insecure"
    )
