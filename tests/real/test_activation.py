"""Started by others, who opened the socket: systemd's own tool, and socat."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from programs import Process, foreign, outcome, running, trioservice, until

from .support import ECHO, IMPORTS, LIMIT, LOCAL, ask, connect, write
from .test_unix import app, through

pytestmark = pytest.mark.real


def free_ports(count: int = 1) -> list[int]:
    """Ports that nobody has at this moment."""
    socks = [socket.socket() for _ in range(count)]
    for sock in socks:
        sock.bind((LOCAL, 0))
    ports = [sock.getsockname()[1] for sock in socks]
    for sock in socks:
        sock.close()
    return ports


@contextmanager
def activated(file: Path, *options: str) -> Iterator[Process]:
    """The application, as systemd would start it: when the first client has come."""
    activate = foreign("systemd-socket-activate")
    with running([activate, *options, *trioservice("run", file)]) as process:
        process.says("Listening on")
        yield process


def said_to(port: int, word: bytes) -> bytes:
    with connect(port) as client:
        return ask(client, word)


def test_a_named_socket_is_served_and_the_client_who_woke_us_is_the_first(tmp_path: Path) -> None:
    """Nobody is refused while we start."""
    (port,) = free_ports()
    with activated(write(tmp_path, app("systemd:web")), "-l", f"{LOCAL}:{port}", "--fdname=web") as process:
        assert said_to(port, b"hello") == b"HELLO"
        process.says(rf"app/srv: listening on {LOCAL}:{port}")
        assert said_to(port, b"again") == b"AGAIN"
        assert process.stops() == -signal.SIGTERM
        assert "Traceback" not in process.err


@pytest.mark.parametrize("endpoint", ["systemd:", "systemd:index=0", "fd:3"])
def test_a_socket_without_a_name_is_the_only_one_or_one_of_a_place(tmp_path: Path, endpoint: str) -> None:
    """`systemd:` asks for no name, and `fd:3` knows where it is."""
    (port,) = free_ports()
    with activated(write(tmp_path, app(endpoint)), "-l", f"{LOCAL}:{port}"):
        assert said_to(port, b"hello") == b"HELLO"


def test_two_sockets_go_to_two_services_by_name(tmp_path: Path) -> None:
    """One of them of UNIX; its file is systemd's and stays."""
    (port,) = free_ports()
    path = tmp_path / "admin"
    text = app("systemd:web").replace(
        "name='srv')", "name='srv'), StreamServer('systemd:admin', shout, name='admin')"
    )
    with activated(
        write(tmp_path, text), "-l", f"{LOCAL}:{port}", "-l", str(path), "--fdname=web:admin"
    ) as process:
        assert said_to(port, b"hello") == b"HELLO"
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT)
            client.connect(str(path))
            assert ask(client, b"admin") == b"ADMIN"
        process.says(rf"app/admin: listening on {path}")
        assert process.stops() == -signal.SIGTERM
    assert path.exists()


def test_all_sockets_of_one_name_are_one_servers(tmp_path: Path) -> None:
    """As of a unit with two ListenStream=."""
    ports = free_ports(2)
    where = [f"-l{LOCAL}:{port}" for port in ports]
    with activated(write(tmp_path, app("systemd:web")), *where, "--fdname=web:web"):
        assert [said_to(port, b"hello") for port in ports] == [b"HELLO", b"HELLO"]


def test_a_restart_of_the_service_keeps_its_clients_waiting_and_not_refused(tmp_path: Path) -> None:
    """The restart is asked for by a client, so that it happens between two others."""
    text = (
        IMPORTS
        + """
async def handler(stream):
    async for data in stream:
        if data == b"restart":
            await server.restart()  # from within, this only asks
        await stream.send_all(data)
        return

server = StreamServer("systemd:", handler, name="srv")
application = Application("app", server)
"""
    )
    (port,) = free_ports()
    with activated(write(tmp_path, text), "-l", f"{LOCAL}:{port}") as process:
        for number in range(20):
            assert said_to(port, b"restart") == b"restart"
            assert said_to(port, b"%d" % number) == b"%d" % number
        process.says("app/srv: running", times=5)


def test_a_wrong_name_is_told_with_what_was_passed(tmp_path: Path) -> None:
    """The unit and the application are often written by two people."""
    (port,) = free_ports()
    with activated(write(tmp_path, app("systemd:web")), "-l", f"{LOCAL}:{port}", "--fdname=wbe") as process:
        with connect(port):
            process.says(
                r"app/srv: cannot listen on systemd:\S*web: "
                r"it was not passed to us, only index 0 named 'wbe'\n"
            )
        assert process.ends() not in (0, 1)
        assert "Traceback" not in process.err


def test_without_systemd_the_way_to_try_it_is_told(tmp_path: Path) -> None:
    """The command in the message can be pasted."""
    status, _, err = outcome(trioservice("run", write(tmp_path, app("systemd:web"))))
    assert status != 0
    assert "no socket was passed to us, as LISTEN_FDS is not set; start this process by its .socket" in err
    assert "`systemd-socket-activate -l 8080 --fdname=web trioservice run app.tac`" in err
    assert "Traceback" not in err


def test_a_datagram_socket_is_refused_by_a_stream_server(tmp_path: Path) -> None:
    """With the name of the service that could serve it."""
    (port,) = free_ports()
    file = write(tmp_path, app("systemd:"))
    with activated(file, "--datagram", "-l", f"{LOCAL}:{port}") as process:
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.sendto(b"hello", (LOCAL, port))
        process.says("it takes datagrams; serve it by a DatagramServer")


def test_programs_that_we_start_inherit_neither_sockets_nor_variables(tmp_path: Path) -> None:
    """Else a child that outlives us would keep the port, or take our sockets for its own."""
    text = (
        IMPORTS
        + """
import subprocess
LOOK = "env | grep LISTEN; ls -l /proc/self/fd | grep socket: | wc -l"

async def look(stream):
    await stream.receive_some()
    done = await trio.run_process(["sh", "-c", LOOK], capture_stdout=True, stdin=None)
    await stream.send_all(done.stdout + b"end")

application = Application("app", StreamServer("systemd:", look, name="srv"))
"""
    )
    (port,) = free_ports()
    with activated(write(tmp_path, text), "-l", f"{LOCAL}:{port}"), connect(port) as client:
        assert ask(client, b"?", 5).strip() == b"0\nend"


# ---- TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost, with its key, in one file."""
    path = tmp_path / "both.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(path), "-out", str(tmp_path / "cert.pem")]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        [foreign("openssl"), "req", *kind, *names, *files],
        check=True,
        capture_output=True,
        timeout=LIMIT,
    )
    path.write_text(path.read_text() + (tmp_path / "cert.pem").read_text())
    return path


def test_tls_is_spoken_over_an_inherited_socket(tmp_path: Path, certificate: Path) -> None:
    """`endpoint=` puts TLS on whatever else can be listened on."""
    import ssl

    (port,) = free_ports()
    file = write(tmp_path, app(f"ssl:endpoint=systemd\\:web:certKey={certificate}"))
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    with (
        activated(file, "-l", f"{LOCAL}:{port}", "--fdname=web"),
        connect(port) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        assert ask(client, b"hello") == b"HELLO"


# ---- standard input and output


def test_socat_execs_us_for_each_connection(tmp_path: Path) -> None:
    """One socket is standard input and output, and the process ends with its connection."""
    socat = foreign("socat")
    (port,) = free_ports()
    file = write(tmp_path, app("stdio:"))
    ours = " ".join(trioservice("run", file))
    with running([socat, f"TCP-LISTEN:{port},bind={LOCAL},reuseaddr,fork", f"EXEC:{ours}"]) as process:
        until(lambda: not refuses(port), "socat listens")
        for _ in range(2):
            with connect(port) as client:
                assert ask(client, b"hello") == b"HELLO"
                assert ask(client, b"again") == b"AGAIN"
                client.shutdown(socket.SHUT_WR)
                assert client.recv(10) == b"", "our end is the end"
        process.says(r"app/srv: listening on stdio\n", times=2)
        assert "Traceback" not in process.err


def test_systemd_execs_us_for_each_connection(tmp_path: Path) -> None:
    """As with Accept=yes and StandardInput=socket."""
    (port,) = free_ports()
    with activated(write(tmp_path, app("stdio:")), "--accept", "--inetd", "-l", f"{LOCAL}:{port}"):
        for _ in range(2):
            with connect(port) as client:
                assert ask(client, b"hello") == b"HELLO"
                client.shutdown(socket.SHUT_WR)
                assert client.recv(10) == b""


def refuses(port: int) -> bool:
    """Whether nobody listens, without connecting: for socat that would be a client."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOCAL, port))
        except OSError:
            return False
        return True


def test_a_pipeline_is_served_and_the_application_ends_with_it(tmp_path: Path) -> None:
    """A handler is a filter then."""
    file = write(tmp_path, app("stdio:"))
    assert through(trioservice("run", file), b"hello " * 100_000) == b"HELLO " * 100_000


def test_files_are_read_and_written(tmp_path: Path) -> None:
    """`< input > output`."""
    (tmp_path / "in").write_bytes(b"hello " * 100_000)
    file = write(tmp_path, app("stdio:"))
    with open(tmp_path / "in", "rb") as source, open(tmp_path / "out", "wb") as sink:
        done = subprocess.run(
            trioservice("run", file),
            stdin=source,
            stdout=sink,
            stderr=subprocess.PIPE,
            timeout=LIMIT,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == b"HELLO " * 100_000


def test_stdio_beside_another_server_ends_alone(tmp_path: Path) -> None:
    """A child that is finished ends nobody else."""
    text = ECHO.replace('name="srv")', 'name="srv"), StreamServer("stdio:", echo, name="console")')
    with running(trioservice("run", write(tmp_path, text))) as process:
        process.says(r"app/console: finished")  # L15: its input is /dev/null
        port = process.port("app/srv")
        assert said_to(port, b"hello") == b"hello"
        assert process.alive
        assert process.stops() == -signal.SIGTERM


def test_a_datagram_socket_is_served_by_a_datagram_server(tmp_path: Path) -> None:
    """The first datagram wakes us, and waits for us in the socket."""
    text = (
        IMPORTS
        + """
from trioservice.net.datagrams import DatagramServer

async def shout(data, peer, server):
    await server.send(data.upper(), peer)

application = Application("app", DatagramServer("systemd:log", shout, name="srv"))
"""
    )
    (port,) = free_ports()
    options = ("--datagram", "-l", f"{LOCAL}:{port}", "--fdname=log")
    with (
        activated(write(tmp_path, text), *options) as process,
        socket.socket(type=socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(LIMIT)
        client.sendto(b"hello", (LOCAL, port))
        assert client.recv(10) == b"HELLO"
        assert process.stops() == -signal.SIGTERM
        assert "Traceback" not in process.err
