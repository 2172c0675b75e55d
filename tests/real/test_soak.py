"""A soak: mixed load for a while, clients killed at random, and nothing grows.

It lasts a few seconds; with TRIOSERVICE_EXPLORE in the environment, a minute.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from certificates import certificate, trusting, write_pem
from programs import running, trioservice, until

from .support import IMPORTS, LIMIT, LOCAL, write

pytestmark = pytest.mark.real

SECONDS = 60.0 if "TRIOSERVICE_EXPLORE" in os.environ else 4.0
CLIENTS = 12  # at once
NAME = "shop.example"

SERVERS = (
    IMPORTS
    + """
class Echo:
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

async def echo(stream):
    async for data in stream:
        await stream.send_all(data)

async def count(stream):
    stats = [server.statistics() for server in servers]
    tasks = trio.lowlevel.current_statistics().tasks_living
    open_ones = sum(each.active for each in stats)
    failed = sum(each.failed for each in stats)
    moved = sum(each.bytes_received for each in stats)
    await stream.send_all(f"{tasks} {open_ones} {failed} {moved}".encode())

lanes = {"handler": {"handler": echo}, "protocol": {"protocol": Echo}}
servers = []
for lane, how in lanes.items():
    servers.append(TCPServer(0, host="127.0.0.1", name=f"tcp-{lane}", **how))
    servers.append(UNIXServer(f"unix-{lane}", name=f"unix-{lane}", **how))
    servers.append(SSLServer(0, host="127.0.0.1", name=f"tls-{lane}",
                             ssl_context=CertificateFiles("server.pem"), **how))
counter = UNIXServer("counter", count, name="counter")

application = Application("app", *servers, counter)
"""
).replace(
    "from trioservice import *", "from trioservice import *\nfrom trioservice.net.tls import CertificateFiles"
)


class Client(threading.Thread):
    """Connects, talks, and goes, politely or not, again and again."""

    def __init__(self, folder: Path, ports: list[int], seed: int, until: float) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.folder, self.ports, self.until = folder, ports, until
        self.talks = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        while time.monotonic() < self.until:
            # A reset that was answered in flight is no fault; a wrong byte is.
            with suppress(OSError), self.connect() as sock:
                self.talk(sock)
                self.talks += 1

    def connect(self) -> socket.socket:
        which = self.random.randrange(6)
        if which < 2:
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(LIMIT)
            sock.connect(str(self.folder / ("unix-handler", "unix-protocol")[which]))
            return sock
        sock = socket.create_connection((LOCAL, self.ports[which - 2]), timeout=LIMIT)
        if which in (3, 5):
            try:
                return trusting().wrap_socket(sock, server_hostname=NAME)
            except ssl.SSLError as error:
                self.wrong.append(repr(error))
                raise
        return sock

    def talk(self, sock: socket.socket) -> None:
        for _ in range(self.random.randrange(1, 6)):
            data = self.random.randbytes(self.random.choice([1, 64, 5_000, 50_000]))
            sock.sendall(data)
            got = b""
            while len(got) < len(data):
                if self.random.random() < 0.02:
                    return self.die(sock)
                more = sock.recv(65536)
                if not more:
                    self.wrong.append("an early end")
                    return None
                got += more
            if got != data:
                self.wrong.append("other bytes than were sent")
        if self.random.random() < 0.3:
            self.die(sock)

    def die(self, sock: socket.socket) -> None:
        """Go as those go who are killed: with bytes unread, or with a reset."""
        if self.random.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        with suppress(OSError):
            sock.sendall(b"never to be read" * 100)


def memory(pid: int) -> int:
    """Of that process, resident, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("it is gone")


def counts(folder: Path) -> list[int]:
    """What the server says of itself: tasks, open connections, failed ones, bytes."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(LIMIT)
        sock.connect(str(folder / "counter"))
        return [int(number) for number in sock.makefile().read().split()]


def load(folder: Path, ports: list[int], seconds: float, seed: int) -> int:
    """Mixed load for so long; how many talks there were."""
    until = time.monotonic() + seconds
    clients = [Client(folder, ports, seed * 1000 + number, until) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(seconds + LIMIT)
        assert not client.is_alive(), "a client waits for ever"
    assert [wrong for client in clients for wrong in client.wrong] == []
    return sum(client.talks for client in clients)


def at_rest(folder: Path, pid: int) -> tuple[int, int]:
    """Tasks and descriptors, when the last connection has ended."""
    until(lambda: counts(folder)[1] == 0, "the last connection ends")
    return counts(folder)[0], len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.timeout(int(SECONDS * 2 + 100))
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it counts in /proc")
def test_after_a_long_mixed_load_nothing_has_grown_and_nobody_was_given_a_wrong_byte(tmp_path: Path) -> None:
    """Both lanes over TCP, UNIX and TLS; at rest there are as many tasks and descriptors as before."""
    write_pem(tmp_path / "server.pem", certificate(NAME))
    write(tmp_path, SERVERS)
    with running(trioservice("run", "app.tac"), cwd=tmp_path) as program:
        names = "tcp-handler", "tls-handler", "tcp-protocol", "tls-protocol"
        ports = [program.port(f"app/{name}") for name in names]
        program.says("app/counter: listening on")
        load(tmp_path, ports, SECONDS / 4, 0)  # to warm up: caches and pools fill
        before, memory_before = at_rest(tmp_path, program.pid), memory(program.pid)
        talks = load(tmp_path, ports, SECONDS * 3 / 4, 1)
        after = at_rest(tmp_path, program.pid)
        assert talks > 100
        assert counts(tmp_path)[2] > 0, "nobody died, so this has proved little"
        assert after == before
        assert memory(program.pid) - memory_before < 8 * 1024
        assert program.stops() == -signal.SIGTERM
