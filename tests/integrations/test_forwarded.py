"""Whom a request is for, according to proxies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioservice.integrations.forwarded import client_behind
from trioservice.net.addresses import Address, Networks, UNIXPeer
from trioservice.net.http_messages import Headers

PROXIES = Networks(["10.0.0.0/8", "2001:db8::/32", "unix"])
OTHERS = Networks(["10.0.0.0/8"])
PROXY = ("10.0.0.1", 1234)


@pytest.mark.parametrize(
    ("hosts", "schemes", "client"),
    [
        ([], [], (PROXY, "http")),
        (["192.0.2.7"], [], (("192.0.2.7", 0), "http")),
        (["192.0.2.7:99"], ["https"], (("192.0.2.7", 99), "https")),
        (["2001:DB9::7"], ["HTTPS"], (("2001:DB9::7", 0), "https")),
        (["[2001:db9::7]:99"], [], (("2001:db9::7", 99), "http")),
        # What the client has made up stands before what the proxies have seen.
        (["1.2.3.4, 192.0.2.7, 10.0.0.2"], [], (("192.0.2.7", 0), "http")),
        (["1.2.3.4", "192.0.2.7", "10.0.0.2"], ["http, https, http"], (("192.0.2.7", 0), "https")),
        (["10.0.0.3, 10.0.0.2"], [], (("10.0.0.3", 0), "http")),
        ([], ["https"], (PROXY, "https")),
        (["192.0.2.7"], ["gopher"], (("192.0.2.7", 0), "http")),
        (["unknown"], [], (("unknown", 0), "http")),
    ],
)
def test_x_forwarded_is_read_from_its_end(
    hosts: list[str], schemes: list[str], client: tuple[Address, str]
) -> None:
    headers = Headers((b"x-forwarded-for", host.encode()) for host in hosts)
    headers += [(b"x-forwarded-proto", scheme.encode()) for scheme in schemes]
    assert client_behind(PROXY, "http", headers, PROXIES, "x-forwarded") == client


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ("for=192.0.2.7;proto=https", (("192.0.2.7", 0), "https")),
        ('For="[2001:db9::7]:99" ; Proto=http', (("2001:db9::7", 99), "http")),
        ("for=1.2.3.4, for=192.0.2.7;by=10.0.0.2, for=10.0.0.2", (("192.0.2.7", 0), "http")),
        ("for=_hidden;proto=https", (("_hidden", 0), "https")),
        ("proto=https", (PROXY, "https")),
        ("nonsense", (PROXY, "http")),
        # What a client has put into its Host is in quotes, and what is in quotes is one value.
        ('for=192.0.2.7;host="x, for=6.6.6.6";proto=https', (("192.0.2.7", 0), "https")),
        ('for=192.0.2.7;proto=http;host="x;proto=https"', (("192.0.2.7", 0), "http")),
        ('for=192.0.2.7;host="a\\",for=6.6.6.6"', (("192.0.2.7", 0), "http")),
        # Where nobody can tell who has said what, nobody is believed.
        ('for="6.6.6.6, for=192.0.2.7', (PROXY, "http")),
        ("for=192.0.2.7;for=6.6.6.6", (PROXY, "http")),
        (f"for=192.0.2.7,{' ' * 30000}x", (PROXY, "http")),
    ],
)
def test_forwarded_is_read_as_rfc_7239_has_it(said: str, client: tuple[Address, str]) -> None:
    headers = Headers([(b"forwarded", said.encode()), (b"x-forwarded-for", b"6.6.6.6")])
    assert client_behind(PROXY, "http", headers, PROXIES, "forwarded") == client


def test_who_is_no_proxy_speaks_for_himself() -> None:
    headers = Headers([(b"x-forwarded-for", b"192.0.2.7"), (b"x-forwarded-proto", b"https")])
    peer = ("192.0.2.1", 5)
    assert client_behind(peer, "http", headers, PROXIES, "x-forwarded") == (peer, "http")
    assert client_behind(UNIXPeer(), "http", headers, OTHERS, "x-forwarded") == (
        None,
        "http",
    )
    assert client_behind(UNIXPeer(), "http", headers, PROXIES, "x-forwarded") == (("192.0.2.7", 0), "https")


@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(["x-forwarded", "forwarded"]))
def test_whatever_is_said_there_is_a_client(one: bytes, other: bytes, kind: str) -> None:
    headers = Headers([(b"x-forwarded-for", one), (b"x-forwarded-proto", other), (b"forwarded", one)])
    address, scheme = client_behind(PROXY, "http", headers, PROXIES, kind)  # type: ignore[arg-type]
    assert scheme in ("http", "https")
    assert address is not None
    assert 0 <= address[1] < 100_000
