"""Hosts: who has which address, port and path."""

from __future__ import annotations

import errno
import socket

import pytest

from trioservice.testing import SimNetwork
from trioservice.testing.hosts import Host, named

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


def host() -> Host:
    return SimNetwork(hosts=["shop"]).host("shop")


def bound(host: Host, address: str, port: int, kind: int = TCP, shared: bool = False):
    with host.network.on(host.name):
        sock = host.network.new_socket(socket.AF_INET, kind)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((address, port))
    return sock


def number_of(caught: pytest.ExceptionInfo[OSError]) -> int | None:
    return caught.value.errno


def test_each_has_an_address_and_a_process() -> None:
    network = SimNetwork(hosts=[f"host{number}" for number in range(300)])
    hosts = [network.host("localhost"), *(network.host(f"host{number}") for number in range(300))]
    assert len({host.address for host in hosts}) == len({host.pid for host in hosts}) == 301
    assert repr(hosts[1]) == "<Host host0 10.0.0.2>"


async def test_a_port_is_had_once_for_each_address_and_kind() -> None:
    shop = host()
    bound(shop, "127.0.0.1", 80)
    bound(shop, shop.address, 80)
    bound(shop, "0.0.0.0", 80, UDP)
    for address in ("127.0.0.1", "0.0.0.0"):
        with pytest.raises(OSError, match="in use") as caught:
            bound(shop, address, 80)
        assert number_of(caught) == errno.EADDRINUSE


async def test_a_port_is_shared_by_those_who_all_say_so() -> None:
    shop = host()
    bound(shop, "127.0.0.1", 80, shared=True)
    bound(shop, "127.0.0.1", 80, shared=True)
    with pytest.raises(OSError, match="in use"):
        bound(shop, "127.0.0.1", 80)


async def test_another_hosts_address_cannot_be_had() -> None:
    with pytest.raises(OSError, match="assign") as caught:
        bound(host(), "10.0.0.77", 80)
    assert number_of(caught) == errno.EADDRNOTAVAIL


async def test_a_free_port_is_one_that_nobody_has() -> None:
    shop = host()
    bound(shop, "0.0.0.0", 49_153)
    assert [bound(shop, "0.0.0.0", 0).sockaddr[1] for _ in range(3)] == [49_152, 49_154, 49_155]


async def test_free_ports_come_to_an_end_and_begin_again() -> None:
    shop = host()
    shop._next_port = 65_535
    assert [bound(shop, "0.0.0.0", 0).sockaddr[1] for _ in range(2)] == [65_535, 49_152]


async def test_what_a_socket_had_is_free_when_it_is_closed() -> None:
    shop = host()
    bound(shop, "127.0.0.1", 80).close()
    bound(shop, "127.0.0.1", 80)
    assert len(shop.sockets) == 1


def test_a_path_is_text_and_an_abstract_name_is_bytes() -> None:
    assert [named(name) for name in ("/run/x", b"/run/x", "\0x", b"\0x")] == [
        "/run/x",
        "/run/x",
        b"\0x",
        b"\0x",
    ]


async def test_of_a_path_that_nobody_has_there_is_no_file() -> None:
    shop = host()
    for path, number in (("/run/x", errno.ENOENT), ("\0x", errno.ECONNREFUSED)):
        with pytest.raises(OSError, match=r".") as caught:
            shop.at_path(path, TCP)
        assert number_of(caught) == number


async def test_at_a_path_there_is_one_kind_of_socket() -> None:
    network = SimNetwork()
    network.new_socket(socket.AF_UNIX, UDP).bind("/run/x")
    with pytest.raises(OSError, match=r".") as caught:
        network.new_socket(socket.AF_UNIX, TCP).connect("/run/x")
    assert number_of(caught) == errno.EPROTOTYPE
    with pytest.raises(OSError, match="in use"):
        network.new_socket(socket.AF_UNIX, TCP).bind("/run/x")


async def test_a_host_gives_away_so_many_descriptors() -> None:
    network = SimNetwork()
    network.host("localhost").descriptors = 1
    first = network.new_socket(socket.AF_INET, TCP)
    with pytest.raises(OSError, match="files") as caught:
        network.new_socket(socket.AF_INET, TCP)
    assert number_of(caught) == errno.EMFILE
    first.close()
    network.new_socket(socket.AF_INET, TCP).close()
