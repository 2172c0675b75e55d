"""The fixtures, with pytest-trio; they are found by their entry point."""

from __future__ import annotations

import socket

import pytest
import trio

from trioservice import Service
from trioservice.events import StateChanged
from trioservice.testing.leaks import no_leaks


async def test_a_tree_runs_and_tells(service_tree, running, autojump_clock) -> None:
    app = service_tree(Service(name="one"), Service(name="two"))
    async with running(app):
        assert app["two"].running
    assert any(isinstance(event, StateChanged) for event in app.heard)


async def test_a_network_is_opened_in_the_test(sim_network, autojump_clock) -> None:
    with sim_network(seed=3) as network, trio.socket.socket() as sock:
        await sock.bind(("127.0.0.1", 80))
        assert network.open_sockets == ["localhost:80"]


def test_nothing_is_left(assert_no_leaks) -> None:
    with socket.socket():
        pass


def test_what_is_left_is_named() -> None:
    kept = []
    with pytest.raises(AssertionError, match="left behind: the descriptor"), no_leaks():
        kept.append(socket.socket())
    kept.pop().close()
