"""Every network service can be run again and again, and leaves nothing behind."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from certificates import certificate, write_pair

from trioservice import (
    MulticastServer,
    Service,
    SSLClient,
    SSLServer,
    State,
    TCPClient,
    TCPServer,
    TimerService,
    UDPClient,
    UDPServer,
    UNIXClient,
    UNIXDatagramClient,
    UNIXDatagramServer,
    UNIXServer,
)
from trioservice.net.tls import CertificateFiles

from .support import LOCAL, echo, running

TIMES = 200

Make = Callable[[Path], Service]


async def stay(stream: trio.abc.Stream) -> None:
    await trio.sleep_forever()


async def ignore(data: bytes, peer: object, service: object) -> None: ...


def secure(folder: Path) -> Service:
    keys = folder.parent / f"{folder.name}-keys"
    keys.mkdir()
    cert, key = write_pair(keys, certificate("localhost"))
    return SSLServer(0, echo, CertificateFiles(str(cert), str(key)))


SERVICES: dict[str, Make] = {
    "TCPServer": lambda _: TCPServer(0, echo),
    "TCPClient": lambda _: TCPClient(LOCAL, 9, stay),
    "SSLServer": secure,
    # The system's authorities take 40 ms to load, so they are loaded once.
    "SSLClient": lambda _: SSLClient(LOCAL, 9, stay, ssl.create_default_context()),
    "UNIXServer": lambda folder: UNIXServer(folder / "socket", echo),
    "UNIXClient": lambda folder: UNIXClient(folder / "nobody", stay),
    "UDPServer": lambda _: UDPServer(0, ignore),
    "UDPClient": lambda _: UDPClient(LOCAL, 9, ignore),
    "UNIXDatagramServer": lambda folder: UNIXDatagramServer(folder / "socket", ignore),
    "UNIXDatagramClient": lambda folder: UNIXDatagramClient(folder / "nobody", ignore),
    "MulticastServer": lambda _: MulticastServer(0, ignore, groups=[("239.192.0.1", LOCAL)]),
    "TimerService": lambda _: TimerService(1.0, lambda: None),
}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Service:
    return SERVICES[request.param](tmp_path)


def left_behind() -> tuple[int, int]:
    """Descriptors that are open, and tasks that live."""
    return descriptors(), trio.lowlevel.current_statistics().tasks_living


async def test_two_hundred_lives_leave_nothing_behind(service: Service, tmp_path: Path) -> None:
    """A whole life, bound to released: no descriptor, no task and no file is left (L3, L18)."""
    for time in range(TIMES):
        async with trio.open_nursery() as nursery:
            await nursery.start(service.main)
            await service.stop()
        if time == 0:  # what is made once, by trio or the system's resolver, is there now
            before = left_behind()
    assert left_behind() == before  # L3
    assert not os.listdir(tmp_path), "no file is left"  # L18


async def test_two_hundred_restarts_in_one_tree_cost_no_more_than_one(
    service: Service, tmp_path: Path
) -> None:
    """What is bound stays bound, and nothing is added to it (L18)."""
    async with running(service):
        await service.restart()
        await trio.testing.wait_all_tasks_blocked()
        before = left_behind(), os.listdir(tmp_path)
        for _ in range(TIMES):
            await service.restart()
        await trio.testing.wait_all_tasks_blocked()
        assert (left_behind(), os.listdir(tmp_path)) == before  # L18
        assert service.state is State.RUNNING
