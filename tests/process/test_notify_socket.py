"""The wire to systemd: nothing blocks, nothing raises, everything that matters arrives."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from trioservice.process.notify_socket import NotifySocket


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[socket.socket]:
    """Where systemd listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        yield ear


def address_of(ear: socket.socket) -> str:
    name = ear.getsockname()
    return name if isinstance(name, str) else "@" + name[1:].decode()


def heard(ear: socket.socket) -> list[str]:
    """All that has arrived."""
    messages = []
    with suppress(BlockingIOError):
        while True:
            messages.append(ear.recv(4096).decode())
    return messages


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def filled(mouth: NotifySocket) -> int:
    """Send until systemd's queue is full; how many it has taken."""
    count = 0
    while not mouth.is_behind:
        mouth.send(f"STATUS={count}")
        count += 1
        assert count < 10_000, "the queue of a datagram socket has an end"
    return count - 1


def test_a_message_is_a_datagram(ear: socket.socket) -> None:
    mouth = NotifySocket(address_of(ear))
    mouth.send("READY=1\nSTATUS=läuft")
    mouth.send("STOPPING=1")
    mouth.close()
    assert heard(ear) == ["READY=1\nSTATUS=läuft", "STOPPING=1"]


@pytest.mark.skipif("sys.platform != 'linux'", reason="abstract names are Linux's")
def test_a_name_that_is_no_file_is_written_with_an_at() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind("\0trioservice-test-of-notify-socket")
        ear.setblocking(False)
        mouth = NotifySocket(address_of(ear))
        mouth.send("READY=1")
        mouth.close()
        assert heard(ear) == ["READY=1"]


def test_what_systemd_cannot_take_now_it_is_told_later_and_in_order(ear: socket.socket) -> None:
    """Neither does a full queue block us, nor is a state lost by it."""
    mouth = NotifySocket(address_of(ear))
    taken = filled(mouth)
    mouth.send("READY=1")
    assert mouth.is_behind
    assert len(heard(ear)) == taken
    mouth.catch_up()
    assert heard(ear) == [f"STATUS={taken}", "READY=1"]
    assert not mouth.is_behind
    mouth.close()


def test_what_will_be_said_again_is_not_queued(ear: socket.socket) -> None:
    """Or they would become more for as long as systemd does not read."""
    mouth = NotifySocket(address_of(ear))
    taken = filled(mouth)
    for _ in range(10):
        mouth.send_if_free("WATCHDOG=1")
    assert len(heard(ear)) == taken
    mouth.send_if_free("WATCHDOG=1")
    assert heard(ear) == [f"STATUS={taken}", "WATCHDOG=1"]
    mouth.close()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("/nowhere/notify", "No such file or directory"),
        ("vsock:2:1234", "it has to be a path from the root, or @ and a name"),
        ("@", "it has to be a path from the root, or @ and a name"),
        ("/" + 200 * "x", "AF_UNIX path too long"),
    ],
)
def test_an_address_that_cannot_be_reached_is_told_once(
    caplog: pytest.LogCaptureFixture, address: str, why: str
) -> None:
    """With the first message and not before, since before that there is no log."""
    mouth = NotifySocket(address)
    assert complaints(caplog) == []
    for _ in range(3):
        mouth.send("READY=1")
        assert not mouth.is_behind
    (complaint,) = complaints(caplog)
    assert complaint.startswith(f"systemd cannot be told: NOTIFY_SOCKET={address}: ")
    assert why in complaint
    mouth.close()


def test_that_systemd_has_gone_is_told_once(ear: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    mouth = NotifySocket(address_of(ear))
    ear.close()
    mouth.send("READY=1")
    mouth.send("STOPPING=1")
    assert len(complaints(caplog)) == 1
    assert not mouth.is_behind
    mouth.close()
    mouth.close()  # twice is no mistake
