"""The parts of becoming a daemon that need no fork.  Real ones are in tests/real/test_daemon.py."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from trioservice import Application, MultiService, Service, StreamServer
from trioservice.net.endpoints import FDEndpoint, HAProxyServerEndpoint
from trioservice.process import daemon
from trioservice.process.daemon import Detachment, Link, descriptors_for, open_descriptors


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends; the writing one is the link's to close."""
    ear, mouth = os.pipe()
    yield ear, mouth
    os.close(ear)


def test_what_is_said_comes_before_the_word_that_all_is_ready(pipe: tuple[int, int]) -> None:
    """After that nobody listens, and nothing is said."""
    link = Link(pipe[1])
    link.tell("one moment, żółw\0\n")
    link.ready()
    link.tell("too late")
    link.ready()
    link.close()
    assert os.read(pipe[0], 999) == "one moment, żółw\n".encode() + b"\0"
    assert os.read(pipe[0], 999) == b""


def test_a_parent_that_has_gone_is_no_matter() -> None:
    """Whoever started a daemon may have been killed; the daemon lives."""
    ear, mouth = os.pipe()
    os.close(ear)
    link = Link(mouth)
    link.tell("hello")
    link.ready()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(mouth)


def test_the_descriptors_that_are_open_are_known_however_the_system_lists_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not every system has /proc or /dev/fd."""
    with socket.socket() as sock:
        for _ in range(2):
            found = open_descriptors()
            assert sock.fileno() in found
            assert not found & {0, 1, 2}
            monkeypatch.setattr(os, "listdir", lambda folder: os.stat("/no/such/folder"))
    assert sock.fileno() not in open_descriptors()


def test_an_application_keeps_what_it_names_and_what_systemd_has_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever in the tree, and whatever is around the endpoint."""

    async def handler(stream: object) -> None:
        raise AssertionError("nobody connects here")

    app = Application(
        "app",
        MultiService(StreamServer(FDEndpoint(7), handler, name="a"), name="m"),
        StreamServer(HAProxyServerEndpoint(FDEndpoint(8), ("127.0.0.1",)), handler, name="b"),
        StreamServer("tcp:0", handler, name="c"),
        Service(name="d"),
    )
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    assert descriptors_for(app) == {7, 8}
    monkeypatch.setenv("LISTEN_FDS", "2")
    assert descriptors_for(app) == {3, 4, 7, 8}
    for wrong in ("x", "-1", "9" * 9, "²"):
        monkeypatch.setenv("LISTEN_FDS", wrong)
        assert descriptors_for(app) == {7, 8}


def test_what_takes_the_place_of_a_standard_stream_is_none_of_ours() -> None:
    """The device that does nothing stands beyond them, and is made before there is a new root."""
    detachment = Detachment(timeout=1)
    assert detachment.null > 2
    assert os.path.samestat(os.fstat(detachment.null), os.stat(os.devnull))
    os.close(detachment.null)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (0, "ended with status 0"),
        (69, "ended with status 69"),
        (128 + signal.SIGKILL, "was ended by SIGKILL"),
        (255, "ended with status 255"),
    ],
)
def test_how_a_daemon_has_ended_is_said_in_words(status: int, said: str) -> None:
    """Of a signal by its name."""
    assert daemon._how_it_ended(status) == said
