"""HTTP/2, by Hypercorn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from certificates import certificate, trusting, write_authority, write_pem
from net.http_support import CLOSE, ENDPOINT, answers_to, talking_to
from net.support import connect, eventually, running
from programs import foreign

from trioservice.integrations.asgi import ASGIServer, LifespanError
from trioservice.integrations.asgi_messages import Receive, Scope, Send
from trioservice.net.events import RequestFailed
from trioservice.net.http import HTTPLimits
from trioservice.net.tls import CertificateFiles, CertificateFolder, Certificates

from .support import answering, require_http
from .test_asgi import Life

HELLO = answering(200, [(b"content-type", b"text/plain")], b"hello")


async def test_a_client_that_knows_it_speaks_http_2() -> None:
    curl = foreign("curl")
    app = Life()
    server = ASGIServer(app, ENDPOINT, http="h2")
    async with running(server):
        ((host, port),) = server.addresses
        command = [curl, "-s", "--max-time", "10", "--http2-prior-knowledge", "-w", " %{http_version}"]
        done = await trio.run_process([*command, f"http://{host}:{port}/"], capture_stdout=True)
        assert done.stdout == b"hello 2"
        assert b"hello" in await answers_to(server, CLOSE)
    assert app.diary[0] == "lifespan.startup"
    assert app.diary[-1] == "lifespan.shutdown"


async def test_over_tls_http_2_is_agreed_on(tmp_path: Path) -> None:
    curl = foreign("curl")
    path = write_pem(tmp_path / "shop.pem", certificate("shop.example"))
    ca = write_authority(tmp_path / "ca.pem")
    server = ASGIServer(HELLO, ENDPOINT, http="h2", ssl_context=CertificateFiles(path))
    async with running(server):
        ((_, port),) = server.addresses
        where = ["--cacert", str(ca), "--resolve", f"shop.example:{port}:127.0.0.1"]
        command = [curl, "-s", "--max-time", "10", *where, "-w", " %{http_version}"]
        done = await trio.run_process([*command, f"https://shop.example:{port}/"], capture_stdout=True)
    assert done.stdout == b"hello 2"


async def test_what_is_no_socket_cannot_be_handed_over() -> None:
    server = ASGIServer(HELLO, "stdio:", http="h2")
    with pytest.RaisesGroup(pytest.RaisesExc(TypeError, match="needs sockets"), flatten_subgroups=True):
        async with running(server):
            pytest.fail("it has started")


async def test_a_stop_waits_for_requests_in_progress() -> None:
    begun, go_on = trio.Event(), trio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        begun.set()
        await go_on.wait()
        await HELLO(scope, receive, send)

    server = ASGIServer(slow, ENDPOINT, http="h2")
    async with running(server), trio.open_nursery() as nursery, talking_to(server) as client:
        await client.say(CLOSE)
        await begun.wait()
        nursery.start_soon(server.stop)
        await trio.sleep(0.1)
        go_on.set()
        assert b"hello" in (await client.hear()).body


async def test_it_can_be_started_again() -> None:
    server = ASGIServer(HELLO, ENDPOINT, http="h2")
    async with running(server):
        address = server.addresses
        await server.restart()
        assert server.addresses == address
        assert b"hello" in await answers_to(server, CLOSE)


async def test_it_is_for_sockets_only() -> None:
    with pytest.raises(ValueError, match=r"http is '1\.1' or 'h2', not 'h3'"):
        ASGIServer(HELLO, ENDPOINT, http="h3")  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/fail", "/gone"])
async def test_what_an_application_raises_is_told_unless_its_client_has_gone(path: str) -> None:
    gone = trio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        require_http(scope)
        if scope["path"] == "/gone":
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()
        raise LookupError("oh")

    server = ASGIServer(app, ENDPOINT, http="h2")
    async with running(server) as (_, events):
        async with talking_to(server) as client:
            await client.say(f"GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())
            if path == "/fail":
                assert (await client.hear()).status == 500
        if path == "/gone":
            await gone.wait()
    told = [(event.request, str(event.error)) for event in events.of(RequestFailed)]
    assert told == ([("GET /fail", "oh")] if path == "/fail" else [])


async def test_a_lifespan_that_fails_is_a_failed_start() -> None:
    server = ASGIServer(Life(start="failed"), ENDPOINT, http="h2")
    with pytest.RaisesGroup(LifespanError, flatten_subgroups=True):
        async with running(server):
            pytest.fail("it has started")


async def test_an_application_that_returns_from_its_lifespan_is_served() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await HELLO(scope, receive, send)

    server = ASGIServer(app, ENDPOINT, http="h2")
    async with running(server):
        assert b"hello" in await answers_to(server, CLOSE)


@pytest.mark.parametrize("by_name", [False, True])
async def test_certificates_that_are_loaded_again_are_shown(tmp_path: Path, by_name: bool) -> None:
    def shown(*names: str) -> Certificates:
        leaf = certificate("shop.example", *names)
        if by_name:
            write_pem(tmp_path / "shop.example.pem", leaf)
            return CertificateFolder(tmp_path)
        return CertificateFiles(write_pem(tmp_path / "shop.pem", leaf))

    async def serial() -> object:
        stream: trio.SSLStream[trio.SocketStream] = trio.SSLStream(
            await connect(server.addresses[0]), trusting(), server_hostname="shop.example"
        )
        async with stream:
            await stream.do_handshake()
            return stream.getpeercert()["serialNumber"]

    server = ASGIServer(HELLO, ENDPOINT, http="h2", ssl_context=shown())
    async with running(server):
        first = await serial()
        assert await serial() == first
        shown("www.shop.example")
        assert server.reload_certificates()
        assert await serial() != first


@pytest.mark.parametrize(
    "option",
    [
        {"limits": HTTPLimits()},
        {"trusted_proxies": "10.0.0.0/8"},
        {"proxy_protocol": "10.0.0.0/8"},
        {"on_answered": print},
        {"max_connections": 5},
    ],
)
def test_what_hypercorn_does_not_know_is_refused(option: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))}= is not there with http='h2'"):
        ASGIServer(HELLO, ENDPOINT, http="h2", **option)


async def test_what_an_application_raises_after_its_answer_is_told() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await HELLO(scope, receive, send)
        while (await receive())["type"] != "http.disconnect":
            pass
        raise LookupError("in the background")

    server = ASGIServer(app, ENDPOINT, http="h2")
    async with running(server) as (_, events):
        await answers_to(server, CLOSE)
        await eventually(lambda: events.of(RequestFailed))
