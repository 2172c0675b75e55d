"""Where a socket is, and how to say so."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from trioservice.net.addresses import Address, UNIXPeer, address_of, peer_of, show_address, sockaddr_of


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80), "[::1]:80"),
        (("fe80::1%eth0", 80), "[fe80::1%eth0]:80"),
        ("/run/x", "/run/x"),
        ("@x", "@x"),
        ("", "an unnamed socket"),
        (UNIXPeer(), "an unnamed socket"),
        (UNIXPeer(pid=17, uid=1000, gid=1000), "process 17 of user 1000"),
        (UNIXPeer("/run/x", 17, 1000, 1000), "/run/x"),
        (UNIXPeer("/run/x\n2026 CRITICAL root"), "/run/x\\n2026 CRITICAL root"),
        ("@\x1b[31m", "@\\x1b[31m"),
    ],
)
def test_addresses_are_shown_as_people_write_them(address: Address, shown: str) -> None:
    """IPv6 in brackets, as in a URL; a UNIX client by what is known of it."""
    assert show_address(address) == shown


@pytest.mark.parametrize(
    ("sockaddr", "address"),
    [
        (("127.0.0.1", 80), ("127.0.0.1", 80)),
        (("::1", 80, 0, 0), ("::1", 80)),
        ("/run/x", "/run/x"),
        ("", ""),
        (b"\0name", "@name"),
        ("\0name", "@name"),
    ],
)
def test_the_socket_modules_oddities_are_dropped(sockaddr: object, address: Address) -> None:
    """Flow and scope of IPv6, and the NUL of an abstract name."""
    assert address_of(sockaddr) == address


def test_an_abstract_name_is_told_to_the_socket_module_in_its_own_way() -> None:
    """`@` stands for NUL at the beginning, and only there."""
    assert sockaddr_of("@a@b") == "\0a@b"
    assert sockaddr_of("/a@b") == "/a@b"


def test_the_kernel_vouches_for_a_unix_peer(tmp_path: Path) -> None:
    """Process, user and group of whoever connected, and its path if it has one."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "server"))
        listener.listen()
        client.bind(str(tmp_path / "client"))
        client.connect(str(tmp_path / "server"))
        taken, sockaddr = listener.accept()
        with taken:
            peer = peer_of(taken, sockaddr)
    assert peer == UNIXPeer(str(tmp_path / "client"), os.getpid(), os.getuid(), os.getgid())
