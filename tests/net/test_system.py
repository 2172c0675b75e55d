"""The place where net asks the system: the real one by default, another for one run."""

from __future__ import annotations

import select
import socket

import pytest
import trio
import trio.testing

from trioservice.net import system


class Elsewhere(system.System):
    """A system of whose sockets it is known that they were asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def open_socket(self, family: int, kind: int) -> socket.socket:
        self.asked.append((family, kind))
        return super().open_socket(family, kind)


async def test_sockets_are_real_unless_something_else_is_said() -> None:
    with system.open_socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        assert type(sock) is socket.socket


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="this system has no epoll")
async def test_polls_are_real_unless_something_else_is_said() -> None:
    epoll = system.open_epoll()
    assert isinstance(epoll, select.epoll)
    epoll.close()


async def test_another_system_is_asked_until_it_is_taken_back() -> None:
    elsewhere = Elsewhere()
    before = system.use(elsewhere)
    system.open_socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    assert system.use(before) is elsewhere
    system.open_socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    assert elsewhere.asked == [(socket.AF_INET, socket.SOCK_DGRAM)]


def test_another_system_is_forgotten_with_its_run() -> None:
    async def use() -> system.System:
        return system.use(Elsewhere())

    assert type(trio.run(use)) is type(trio.run(use)) is system.System


async def test_a_real_socket_is_waited_for_by_trio() -> None:
    left, right = socket.socketpair()
    with left, right:
        await system.wait_writable(left)
        left.send(b"x")
        await system.wait_readable(right)
        assert system.as_trio_socket(right).fileno() == right.fileno()


async def test_who_waits_for_a_real_socket_that_is_closed_is_told() -> None:
    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await system.wait_readable(left)

    left, right = socket.socketpair()
    with left, right:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            system.notify_closing(left)


async def test_a_socket_is_taken_out_of_trios() -> None:
    sock = trio.socket.socket()
    number = sock.fileno()
    with system.detached(sock) as plain:
        assert (plain.fileno(), sock.fileno()) == (number, -1)
