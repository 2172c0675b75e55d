"""Clients that know nothing of whom they visit: each manner is what it is called."""

from __future__ import annotations

import pytest
import trio

from trioservice import Application, TCPServer, UDPServer, UNIXServer
from trioservice.testing import live
from trioservice.testing.scripts import advance, visit

HEARD: list = []


async def note(stream) -> None:
    """Answer each piece with as much, and note how it came."""
    heard: list = []
    HEARD.append(heard)
    begun = trio.current_time()
    try:
        async for data in stream:
            heard.append((trio.current_time() - begun, data))
            await stream.send_all(data)
        heard.append((trio.current_time() - begun, "end"))
    except trio.BrokenResourceError:
        heard.append((trio.current_time() - begun, "broken"))


async def note_datagram(data, peer, server) -> None:
    HEARD.append(data)
    await server.send(data, peer)


def heard(server, manner: str, seconds: float = 3.0, seed: int = 0) -> list:
    HEARD.clear()
    live(lambda: Application("app", server()), [advance(1.0), visit(0, manner), advance(seconds)], seed=seed)
    return list(HEARD)


def tcp() -> TCPServer:
    return TCPServer(80, note)


def test_who_asks_says_something_and_ends() -> None:
    (((_, question), (_, end)),) = heard(tcp, "ask")
    assert question
    assert end == "end"


def test_who_leaves_says_nothing() -> None:
    ((moment, end),) = heard(tcp, "leave")[0]
    assert end in ("end", "broken")
    assert moment < 0.1


def test_who_stays_is_silent_until_it_is_all_over() -> None:
    (said,) = heard(tcp, "stay")
    assert [word for _, word in said if isinstance(word, bytes)] == []


def test_who_babbles_goes_on() -> None:
    (said,) = heard(tcp, "babble", 3.5)
    assert len([word for _, word in said if isinstance(word, bytes)]) >= 4


def test_not_everybody_says_the_same() -> None:
    questions = {heard(tcp, "ask", seed=seed)[0][0][1] for seed in range(12)}
    assert len(questions) >= 3


def test_datagrams_are_sent_to_who_takes_them() -> None:
    assert len(heard(lambda: UDPServer(53, note_datagram), "ask")) == 1


def test_a_path_is_visited_as_well(tmp_path) -> None:
    assert heard(lambda: UNIXServer("/run/app", note), "ask")[0][-1][1] == "end"


def test_nobody_comes_where_nothing_listens() -> None:
    life = live(lambda: Application("app"), [visit(0), advance(1.0)])
    assert "visit" not in life.log


@pytest.mark.parametrize("manner", ["ask", "leave", "stay", "babble"])
def test_a_server_that_is_sound_bears_each_of_them(manner: str) -> None:
    assert (
        live(lambda: Application("app", tcp()), [advance(1.0), visit(0, manner), advance(3.0)]).breaches == ()
    )
