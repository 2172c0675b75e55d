"""`trioservice run` with datagrams, and programs that know nothing of trio."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from programs import Process, foreign, running, trioservice, until

from .support import LIMIT, LOCAL, write

pytestmark = pytest.mark.real

IMPORTS = """
import logging
import trio
from trioservice import *
from trioservice.net.datagrams import *
from trioservice.net.multicast import *

async def shout(data, peer, server):
    await server.send(data.upper(), peer)
"""


def told(command: list[str], data: bytes) -> bytes:
    """What a foreign program prints when it is given *data*."""
    return subprocess.run(command, input=data, capture_output=True, timeout=LIMIT).stdout


def ends_well(app: Process) -> None:
    assert app.stops() == -signal.SIGTERM
    assert "Traceback" not in app.err


@pytest.mark.parametrize("host", [LOCAL, "::1"])
def test_netcat_and_socat_talk_to_a_udp_server(tmp_path: Path, host: str) -> None:
    """On all interfaces, IPv4 and IPv6: what is sent comes back."""
    text = IMPORTS + "application = Application('app', UDPServer(0, shout, name='udp'))\n"
    with running(trioservice("run", write(tmp_path, text))) as app:
        port = app.port("app/udp")
        assert told([foreign("nc"), "-u", "-w1", host, str(port)], b"hello") == b"HELLO"
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        assert told([foreign("socat"), "-t1", "-", f"UDP:{address}"], b"hello") == b"HELLO"
        ends_well(app)


def test_socat_talks_to_a_unix_server(tmp_path: Path) -> None:
    """By the file; with an address of its own it is answered, without one it is one line of the log."""
    socat, path, own = foreign("socat"), tmp_path / "sock", tmp_path / "own"
    text = (
        IMPORTS + f"application = Application('app', UNIXDatagramServer({str(path)!r}, shout, name='unix'))\n"
    )
    with running(trioservice("run", write(tmp_path, text))) as app:
        app.says(r"app/unix: listening on \S+/sock")
        assert told([socat, "-t1", "-", f"UNIX-SENDTO:{path},bind={own}"], b"hello") == b"HELLO"
        assert told([socat, "-t0.1", "-", f"UNIX-SENDTO:{path}"], b"nameless") == b""
        app.says(r"INFO +app/unix: datagram for an unnamed socket failed: .*without a name")
        ends_well(app)
    assert not path.exists()


def test_a_client_talks_to_socat_and_goes_on_when_that_is_gone(tmp_path: Path) -> None:
    """The other way round: the server is the foreign program, and it is killed."""
    socat = foreign("socat")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
        reserved.bind((LOCAL, 0))
        port = reserved.getsockname()[1]
    text = IMPORTS + (
        "async def hear(data, peer, client):\n"
        "    logging.warning('heard %r', data)\n"
        f"client = UDPClient('127.0.0.1', {port}, hear, name='client')\n"
        "async def ask():\n"
        "    while True:\n"
        "        await client.send(b'hello')\n"
        "        await trio.sleep(0.05)\n"
        "application = Application('app', client, TaskService(ask))\n"
    )
    with running(trioservice("run", write(tmp_path, text))) as app:
        app.says(r"INFO +app/client: datagram for 127.0.0.1:\d+ failed: .*Connection refused")
        with running([socat, f"UDP-RECVFROM:{port},bind={LOCAL},fork", "EXEC:tr a-z A-Z"]):
            app.says(r"heard b'HELLO'", 3)
        app.says(r"Connection refused; and \d+ more", 2)
        ends_well(app)


def test_a_datagram_socket_of_systemds_is_served(tmp_path: Path) -> None:
    """Started by the first datagram, which it then answers."""
    activate = foreign("systemd-socket-activate")
    text = IMPORTS + "application = Application('app', DatagramServer('systemd:', shout, name='udp'))\n"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
        reserved.bind((LOCAL, 0))
        port = reserved.getsockname()[1]
    file = write(tmp_path, text)
    with running([activate, "--datagram", "-l", f"{LOCAL}:{port}", *trioservice("run", file)]) as app:
        app.says(r"Listening on")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(LIMIT)
            client.connect((LOCAL, port))
            client.send(b"wake up")
            assert client.recv(100) == b"WAKE UP"
        assert app.port("app/udp") == port
        ends_well(app)


def test_a_term_answers_what_has_arrived(tmp_path: Path) -> None:
    """A drain, seen from outside: nothing that had arrived is lost."""
    text = IMPORTS + (
        "async def slowly(data, peer, server):\n"
        "    logging.warning('begun')\n"
        "    await trio.sleep(0.3)\n"
        "    await server.send(data, peer)\n"
        "server = UDPServer(0, slowly, host='127.0.0.1', name='udp', max_handlers=1)\n"
        "application = Application('app', server)\n"
    )
    with running(trioservice("run", write(tmp_path, text))) as app:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(LIMIT)
            client.connect((LOCAL, app.port("app/udp")))
            for data in (b"1", b"2", b"3"):
                client.send(data)
            app.says("begun")
            app.send(signal.SIGTERM)
            assert [client.recv(10) for _ in range(3)] == [b"1", b"2", b"3"]  # L10
        assert app.ends() == -signal.SIGTERM


def test_socat_and_a_server_are_members_of_one_group(tmp_path: Path) -> None:
    """Each hears the group; they share the port on which neither is alone."""
    socat = foreign("socat")
    group = "239.255.77.9"
    text = IMPORTS + (
        "async def hear(data, peer, server):\n"
        "    logging.warning('heard %r', data)\n"
        f"server = MulticastServer(0, hear, groups=['{group}'], host='0.0.0.0', interface='lo')\n"
        "server.set_name('group')\n"
        "application = Application('app', server)\n"
    )
    with running(trioservice("run", write(tmp_path, text))) as app:
        port = app.port("app/group")
        member = [socat, "-u", f"UDP4-RECV:{port},reuseaddr,ip-add-membership={group}:127.0.0.1", "-"]
        with running(member) as other:
            sender = f"UDP4-DATAGRAM:{group}:{port},ip-multicast-if=127.0.0.1"

            def heard() -> bool:
                told([socat, "-u", "-", sender], b"hello")
                time.sleep(0.05)
                return "hello" in other.out

            until(heard, "the other member hears the group")
            app.says("heard b'hello'")
        ends_well(app)


def test_a_flood_is_survived_and_told_in_few_lines(tmp_path: Path) -> None:
    """Nobody can fill the log, and a polite client is still answered."""
    text = IMPORTS + (
        "async def slowly(data, peer, server):\n"
        "    if data == b'polite':\n"
        "        await server.send(data, peer)\n"
        "    else:\n"
        "        await trio.sleep(0.01)\n"
        "        raise ValueError('a bug that a peer can reach')\n"
        "server = UDPServer(0, slowly, host='127.0.0.1', name='udp', max_datagram=100, queue_size=100)\n"
        "application = Application('app', server)\n"
    )
    with running(trioservice("run", write(tmp_path, text))) as app:
        port = app.port("app/udp")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect((LOCAL, port))
            client.settimeout(0.05)
            for number in range(20_000):
                client.send(os.urandom(8) if number % 2 else bytes(200))

            def answered() -> bool:
                client.send(b"polite")
                try:
                    return client.recv(10) == b"polite"
                except TimeoutError:
                    return False

            until(answered, "a polite client is answered")
        assert app.stops() == -signal.SIGTERM
        lines = [line for line in app.err.splitlines() if " app/udp: " in line]
        assert len(lines) < 40
