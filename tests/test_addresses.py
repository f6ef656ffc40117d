"""Which addresses may be used as they are. Pure: names are resolved by a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quark_bench.errors import UsageError
from quark_bench.execute.addresses import host_of, is_exposed, is_loopback, parse_address, protocol_of, require_safe

NAMES = {
    "here.example": ["127.0.0.1", "::1"],
    "there.example": ["192.0.2.7"],
    "both.example": ["127.0.0.1", "192.0.2.7"],
    "nothing.example": [],
}


def resolve(host, _port):
    if host not in NAMES:
        raise OSError("unknown")
    return [(None, None, 0, "", (number, 0)) for number in NAMES[host]]


@pytest.mark.parametrize(
    "address",
    [
        "tcp://127.0.0.1:8786",
        "tcp://127.8.9.10:8786",
        "tcp://localhost:8786",
        "tcp://[::1]:8786",
        "tcp://[::ffff:127.0.0.1]:8786",
        "tcp://here.example:8786",
        "ucx://127.0.0.1:1",
        "ws://127.0.0.1:1",
        "tls://192.0.2.7:8786",
        "wss://there.example:8786",
        "gateway://gateway.example.org:443/a.b",
        "inproc://192.0.2.7/123/1",
    ],
)
def test_loopback_and_encrypted_addresses_may_be_used_as_they_are(address):
    require_safe(address, address, insecure=False, resolve=resolve)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://192.0.2.7:8786",
        "tcp://0.0.0.0:8786",
        "tcp://[::]:8786",
        "tcp://there.example:8786",
        "tcp://both.example:8786",
        "tcp://nothing.example:8786",
        "tcp://unknown.example:8786",
        "tcp://127.0.0.1@unknown.example:8786",
        "tcp://localhost.example:8786",
        "ws://192.0.2.7:8786",
        "ucx://192.0.2.7:8786",
        "carrier-pigeon://192.0.2.7:8786",
    ],
)
def test_a_plain_address_beyond_loopback_needs_insecure(address):
    with pytest.raises(UsageError) as refused:
        require_safe(address, address, insecure=False, resolve=resolve)
    told = str(refused.value)
    assert address in told
    assert "can run code" in told
    assert "unencrypted" in told
    assert all(way in told for way in ("tls://", "ssh -L", "--insecure"))
    require_safe(address, address, insecure=True, resolve=resolve)


def test_the_message_says_what_was_named_and_where_it_leads():
    with pytest.raises(UsageError, match=r"--on slurm\.toml leads to tcp://192\.0\.2\.7:8786"):
        require_safe("tcp://192.0.2.7:8786", "slurm.toml", insecure=False, resolve=resolve)


@given(st.ip_addresses())
def test_a_number_is_loopback_exactly_when_the_standard_library_says_so(number):
    mapped = getattr(number, "ipv4_mapped", None) or number
    assert is_loopback(str(number), resolve) == mapped.is_loopback


@given(st.ip_addresses(), st.integers(0, 65535), st.sampled_from(["tcp", "tls", "ws", "wss", "ucx"]))
def test_an_address_is_taken_apart_into_what_it_was_made_of(number, port, protocol):
    host = f"[{number}]" if number.version == 6 else str(number)
    address = parse_address(f"{protocol}://{host}:{port}")
    assert address == f"{protocol}://{host}:{port}"
    assert protocol_of(address) == protocol
    assert host_of(address) == str(number)
    assert parse_address(f"{host}:{port}") == f"tcp://{host}:{port}"
    assert is_exposed(address, resolve) == (protocol in ("tcp", "ws", "ucx") and not is_loopback(str(number), resolve))


@pytest.mark.parametrize(
    "text", ["somewhere", "tcp://host", "http://host:1", "host:port", "tcp://a:1/x", "", "::1:8786"]
)
def test_what_is_no_address_is_told(text):
    assert parse_address(text) is None
