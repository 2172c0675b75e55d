"""A network that remembers who opened what, and who was sought in vain."""

from __future__ import annotations

import trio

from trioservice import Application, TaskService, TCPServer
from trioservice.testing import live
from trioservice.testing.scripts import advance
from trioservice.testing.surroundings import Surroundings


def seen_by(async_fn, *services) -> Surroundings:
    """The surroundings of an application in which a service does something, and is ended after a second."""
    worlds: list = []
    make = lambda: Application("app", *services, TaskService(async_fn, name="work"))  # noqa: E731
    live(make, [advance(1.0)], watch=worlds.append)
    return worlds[0].network


async def hear(stream) -> None:
    await trio.sleep_forever()


def test_a_socket_is_whose_code_has_opened_it_and_where() -> None:
    owners: list = []

    async def work() -> None:
        sock = trio.socket.socket()
        owners.append(seen[0].network.owners[sock.fileno()])
        sock.close()
        await trio.sleep_forever()

    seen: list = []
    live(lambda: Application("app", TaskService(work)), [advance(1.0)], watch=seen.append)
    assert owners[0].path == "app/work"
    assert "in work" in owners[0].where


def test_what_was_opened_and_not_closed_is_left() -> None:
    async def work() -> None:
        kept.append(trio.socket.socket())
        await trio.sleep_forever()

    kept: list = []
    ((_, owner),) = seen_by(work).left_open()
    assert owner.path == "app/work"


def test_who_is_sought_in_vain_outside_is_a_stranger() -> None:
    async def work() -> None:
        try:
            await trio.open_tcp_stream("127.0.0.1", 5432)
        except OSError:
            await trio.sleep_forever()

    assert seen_by(work).strangers == {"localhost:5432"}


def test_who_is_of_the_application_is_none_even_while_it_is_away() -> None:
    async def work() -> None:
        await app_front[0].stop()
        try:
            await trio.open_tcp_stream("127.0.0.1", 80)
        except OSError:
            await trio.sleep_forever()

    app_front = [TCPServer(80, hear, host="127.0.0.1", name="front")]
    network = seen_by(work, app_front[0])
    assert network.strangers == set()


def test_a_name_that_nobody_has_is_a_stranger_too() -> None:
    async def work() -> None:
        try:
            await trio.open_tcp_stream("db.example", 5432)
        except OSError:
            await trio.sleep_forever()

    (stranger,) = seen_by(work).strangers
    assert "db.example" in stranger


def test_whatever_takes_visitors_is_found_in_order() -> None:
    doors: list = []

    async def work() -> None:
        with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
            await sock.bind(("127.0.0.1", 53))
            network = seen[0].network
            doors.append([door.label for door in network.listening()])
            doors.append([door.label for door in network.listening(trio.socket.SOCK_DGRAM)])
        await trio.sleep_forever()

    seen: list = []
    servers = [TCPServer(port, hear, host="127.0.0.1") for port in (81, 80)]
    live(lambda: Application("app", *servers, TaskService(work)), [advance(1.0)], watch=seen.append)
    assert doors == [["localhost:81", "localhost:80"], ["localhost:53"]]
