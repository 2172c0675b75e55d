"""A simulated poll beside the kernel's: it tells of the same sockets the same things, once."""

from __future__ import annotations

import errno
import select
import socket

import pytest

from trioservice.net.polls import READABLE, WRITABLE
from trioservice.testing import SimNetwork

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="this system has no epoll")

EVERYTHING = READABLE | WRITABLE | getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLET", 0)


def simulated(network: SimNetwork):
    listener = network.new_socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("/run/x")
    listener.listen()
    client = network.new_socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect("/run/x")
    return client, listener.accept()[0]


def real():
    pair = socket.socketpair()
    for sock in pair:
        sock.setblocking(False)
    return pair


def told(epoll, pair) -> list[list[int]]:
    """What is told of the second end, while things happen to the first."""
    one, other = pair
    epoll.register(other.fileno(), EVERYTHING)
    answers = [epoll.poll(0, 10), epoll.poll(0, 10)]
    one.send(b"hello")
    answers += [epoll.poll(0, 10), epoll.poll(0, 10)]
    other.recv(5)
    answers.append(epoll.poll(0, 10))
    one.shutdown(socket.SHUT_WR)
    answers += [epoll.poll(0, 10), epoll.poll(0, 10)]
    other.close()
    answers.append(epoll.poll(0, 10))
    one.close()
    epoll.close()
    return [[events for _, events in answer] for answer in answers]


async def test_it_tells_what_the_kernel_tells() -> None:
    with SimNetwork() as network:
        assert told(network.open_epoll(), simulated(network)) == told(select.epoll(), real())


async def test_it_tells_in_the_order_in_which_it_happened_and_so_many_at_once() -> None:
    with SimNetwork() as network:
        epoll = network.open_epoll()
        listener = network.new_socket(socket.AF_INET, socket.SOCK_DGRAM)
        socks = [network.new_socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
            epoll.register(sock.fileno(), READABLE)
        for sock in reversed(socks):
            listener.sendto(b"", sock.getsockname())
        told = [epoll.poll(0, 2), epoll.poll(0, 2), epoll.poll(0, 2)]
        numbers = [sock.fileno() for sock in reversed(socks)]
        assert told == [[(numbers[0], READABLE), (numbers[1], READABLE)], [(numbers[2], READABLE)], []]


async def test_it_takes_no_real_socket() -> None:
    with SimNetwork() as network, socket.socket() as sock:
        with pytest.raises(OSError, match=r".") as caught:
            network.open_epoll().register(sock.fileno(), EVERYTHING)
        assert caught.value.errno == errno.EPERM


async def test_it_is_told_of_a_socket_once() -> None:
    with SimNetwork() as network:
        epoll = network.open_epoll()
        sock = network.new_socket(socket.AF_INET, socket.SOCK_DGRAM)
        epoll.register(sock.fileno(), READABLE)
        with pytest.raises(FileExistsError):
            epoll.register(sock.fileno(), READABLE)
        epoll.modify(sock.fileno(), WRITABLE)
        assert epoll.poll(0, 1) == [(sock.fileno(), WRITABLE)]


async def test_a_poll_that_is_closed_hears_nothing() -> None:
    with SimNetwork() as network:
        epoll = network.open_epoll()
        one, other = simulated(network)
        epoll.register(other.fileno(), READABLE)
        epoll.close()
        one.send(b"hello")
        assert epoll.poll(0, 1) == []
