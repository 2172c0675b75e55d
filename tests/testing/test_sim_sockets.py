"""What all simulated sockets share: numbers, names, options."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

import pytest

from trioservice.testing import SimNetwork


async def test_its_number_is_refused_by_the_real_system() -> None:
    with SimNetwork() as network, network.new_socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        with pytest.raises(OSError, match=r".") as caught:
            fcntl.fcntl(sock.fileno(), fcntl.F_GETFD)
        assert caught.value.errno == errno.EBADF
        with pytest.raises(OSError, match=r"."):
            os.write(sock.fileno(), b"")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
async def test_a_closed_one_does_nothing_any_more(kind: int) -> None:
    with SimNetwork() as network:
        sock = network.new_socket(socket.AF_INET, kind)
        sock.close()
        sock.close()
        assert sock.fileno() == -1
        for use in (
            sock.getsockname,
            sock.getpeername,
            lambda: sock.recv(1),
            lambda: sock.send(b""),
            lambda: sock.bind(("127.0.0.1", 0)),
            lambda: sock.connect(("127.0.0.1", 80)),
            lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
        ):
            with pytest.raises(OSError, match=r".") as caught:
                use()
            assert caught.value.errno == errno.EBADF


async def test_options_are_remembered() -> None:
    with SimNetwork() as network, network.new_socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == bytes(8)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 5000)
        assert sock.capacity == sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 5000


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="Linux only")
async def test_the_peer_of_a_unix_socket_is_the_process_of_its_host() -> None:
    with SimNetwork(hosts=["shop"]) as network, network.on("shop") as shop:
        sock = network.new_socket(socket.AF_UNIX, socket.SOCK_STREAM)
        packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        assert struct.unpack("iII", packed) == (shop.pid, shop.uid, shop.gid) == (1001, 1000, 1000)


async def test_it_is_bound_once() -> None:
    with SimNetwork() as network, network.new_socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r".") as caught:
            sock.bind(("127.0.0.1", 0))
        assert caught.value.errno == errno.EINVAL


async def test_it_shows_where_it_is() -> None:
    with SimNetwork() as network:
        sock = network.new_socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind("\0name")
        assert repr(sock) == "<StreamSocket localhost:@name>"
        sock.close()
        assert repr(sock) == "<StreamSocket localhost:@name closed>"
