"""Clients in a process of their own, and servers that know nothing of trio: socat, nc, OpenSSL."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from programs import Process, foreign, running, trioservice, until

from .support import IMPORTS, LOCAL, write

pytestmark = pytest.mark.real

# Says one line and logs what it hears, until the server ends the connection.
TALK = (
    IMPORTS
    + """
from trioservice.net.clients import SSLClient, StreamClient, TCPClient, UNIXClient
from trioservice.retry import Retry

async def talk(stream):
    await stream.send_all(b"hello\\n")
    async for data in stream:
        logging.warning("heard %r", bytes(data))

soon = Retry(delay=0.05, factor=1, jitter=0)
client = MADE
application = Application("app", client)
"""
)


def client(folder: Path, made: str) -> list[str]:
    """The command line of an application with that client."""
    return trioservice("run", write(folder, TALK.replace("MADE", made)))


def free_port() -> int:
    """A port that was free a moment ago, outside of those that clients are given for their own ends."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as text:
        lowest = int(text.read().split()[0])
    for port in range(lowest - 1 - os.getpid() % 5000, 1024, -1):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((LOCAL, port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def descriptors(app: Process) -> int:
    return len(os.listdir(f"/proc/{app.pid}/fd"))


@contextmanager
def socat(address: str) -> Iterator[Process]:
    """An echo server; when it is killed its connections are, too."""
    with running([foreign("socat"), "-d", "-d", address, "PIPE"]) as server:
        server.says("listening on")
        yield server


def test_a_server_that_is_killed_and_comes_again_is_met_again(tmp_path: Path) -> None:
    """Ten times over, by the same process, which holds no more descriptors than before."""
    port = free_port()
    address = f"TCP-LISTEN:{port},bind={LOCAL},reuseaddr"
    with running(client(tmp_path, f"TCPClient('{LOCAL}', {port}, talk, retry=soon)")) as app:
        app.says(rf"cannot connect to {LOCAL}:{port}: Connection refused; nobody listens there.*in 0\.1 s\)")
        before = 0
        for number in range(1, 11):
            with socat(address) as server:
                app.says(r"heard b'hello\\n'", times=number)
                before = before or descriptors(app)
                assert descriptors(app) == before
                server.send(signal.SIGKILL)
                app.says(r"app/TCPClient: disconnected from", times=number)  # row 49
        assert app.alive
        assert app.stops() == -15
        assert "Traceback" not in app.err


def test_nc_answers_and_its_end_is_the_end(tmp_path: Path) -> None:
    """A server for one connection; with no retry, the application ends with it, and well."""
    port = free_port()
    command = [foreign("nc"), "-l", LOCAL, str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            until(lambda: f":{port:04X} " in Path("/proc/net/tcp").read_text(), "nc listens")
            with running(client(tmp_path, f"TCPClient('{LOCAL}', {port}, talk, retry=None)")) as app:
                assert server.stdout.readline() == b"hello\n"
                server.stdin.write(b"good bye\n")
                server.stdin.flush()
                app.says(r"heard b'good bye\\n'")
                server.terminate()
                assert app.ends() == 0  # L15
                assert "Traceback" not in app.err
        finally:
            server.kill()


def test_a_unix_socket_is_met_again_when_its_server_is(tmp_path: Path) -> None:
    """The file that a dead server leaves is told from one that is not there."""
    path = tmp_path / "s"
    with running(client(tmp_path, f"UNIXClient({str(path)!r}, talk, retry=soon)")) as app:
        app.says(rf"cannot connect to {path}: No such file or directory; there is no such socket")
        with socat(f"UNIX-LISTEN:{path}") as server:
            app.says(r"heard b'hello\\n'")
            server.send(signal.SIGKILL)
        app.says("Connection refused; nobody listens there any more")
        path.unlink()
        with socat(f"UNIX-LISTEN:{path}"):
            app.says(r"heard b'hello\\n'", times=2)  # row 23
            app.says(rf"connected to {path}", times=2)
            assert app.stops() == -15


def make_certificate(folder: Path, name: str) -> None:
    """Self-signed, by OpenSSL itself."""
    subprocess.run(
        [
            *(foreign("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName=DNS:{name}", "-addext", "keyUsage=digitalSignature,keyCertSign"),
            *("-out", folder / "server.crt", "-keyout", folder / "server.key"),
        ],
        check=True,
        capture_output=True,
    )


@contextmanager
def s_server(folder: Path, port: int, *options: str) -> Iterator[Process]:
    """OpenSSL's server, which sends each line back reversed."""
    command = [foreign("openssl"), "s_server", "-accept", f"{LOCAL}:{port}", "-rev", *options]
    files = ["-cert", str(folder / "server.crt"), "-key", str(folder / "server.key")]
    with running([*command, *files]) as server:
        until(lambda: "ACCEPT" in server.out, "it listens")
        yield server


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssls_server_is_verified_and_met_again(tmp_path: Path, version: str) -> None:
    """The certificate is for another name than the address, and from an authority of our own."""
    make_certificate(tmp_path, "shop.example")
    port = free_port()
    where = f"ssl:{LOCAL}:{port}:hostname=shop.example:caCertsDir={tmp_path}/server.crt"
    with running(client(tmp_path, f"StreamClient('{where}', talk, retry=soon)")) as app:
        for number in (1, 2, 3):
            with s_server(tmp_path, port, version) as server:
                app.says(r"heard b'olleh\\n'", times=number)
                server.send(signal.SIGKILL)
                app.says(r"app/StreamClient: disconnected", times=number)
        assert app.stops() == -15
        assert "Traceback" not in app.err


def test_a_certificate_that_is_not_trusted_is_told_and_nothing_is_said_to_its_owner(tmp_path: Path) -> None:
    """Neither without its authority nor under another name; and the service goes on trying."""
    make_certificate(tmp_path, "shop.example")
    port = free_port()
    with s_server(tmp_path, port) as server:
        with running(client(tmp_path, f"SSLClient('{LOCAL}', {port}, talk, retry=soon)")) as app:
            app.says("its certificate is not accepted: self-signed certificate; if that authority", times=2)
            assert app.stops() == -15
            assert "heard" not in app.err
        tunnel = rf"tcp\:{LOCAL}\:{port}"
        where = f"tls:other.example:trustRoots={tmp_path}/server.crt:endpoint={tunnel}"
        with running(client(tmp_path, f"StreamClient({where!r}, talk)")) as app:
            app.says("Hostname mismatch, certificate is not valid for 'other.example'; connect to a name")
            assert "heard" not in app.err
        assert "hello" not in server.out


def test_a_server_that_wants_a_certificate_of_ours_is_shown_it(tmp_path: Path) -> None:
    """And without one, its refusal is told."""
    make_certificate(tmp_path, "shop.example")
    port = free_port()
    crt, key = tmp_path / "server.crt", tmp_path / "server.key"
    asks = ("-Verify", "1", "-verify_return_error", "-CAfile", str(crt), "-tls1_2")
    where = f"ssl:{LOCAL}:{port}:hostname=shop.example:caCertsDir={crt}"
    with s_server(tmp_path, port, *asks):
        with running(client(tmp_path, f"StreamClient('{where}', talk, retry=soon)")) as app:
            app.says("it refuses the TLS handshake: .*alert")
        made = f"StreamClient('{where}:certKey={crt}:privateKey={key}', talk, retry=soon)"
        with running(client(tmp_path, made)) as app:
            app.says(r"heard b'olleh\\n'")


def test_a_server_that_takes_connections_and_says_nothing_is_left_after_the_timeout(tmp_path: Path) -> None:
    """A TLS handshake that does not come is a failed attempt, and its connection is closed."""
    with socket.create_server((LOCAL, 0)) as server:
        port = server.getsockname()[1]
        with running(client(tmp_path, f"SSLClient('{LOCAL}', {port}, talk, timeout=0.2, retry=soon)")) as app:
            server.settimeout(20)
            for number in (1, 2, 3):
                taken, _ = server.accept()
                with taken:
                    taken.settimeout(20)
                    app.says("no answer within 0.2 s; is the address right", times=number)
                    while taken.recv(10_000):
                        pass
            assert app.alive


def test_a_crowd_of_clients_finds_its_server_again(tmp_path: Path) -> None:
    """Five hundred in one process, cut off all at once."""
    port = free_port()
    made = f"MultiService(*[TCPClient('{LOCAL}', {port}, talk, retry=Retry(delay=0.1)) for _ in range(500)])"
    with running(client(tmp_path, made)) as app:
        app.says("app: running")
        for _ in range(2):
            with ExitStack() as stack:
                server = stack.enter_context(socket.create_server((LOCAL, port), backlog=1000))
                server.settimeout(20)
                for _ in range(500):
                    sock = stack.enter_context(server.accept()[0])
                    sock.settimeout(20)
                    assert sock.recv(100) == b"hello\n"
        assert app.stops() == -15
        assert "Traceback" not in app.err
