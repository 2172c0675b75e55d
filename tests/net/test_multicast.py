"""Multicast: join, hear, leave; IPv4 and IPv6, on the loopback interface."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from ipaddress import IPv4Address
from typing import Any

import pytest
import trio
import trio.testing

from trioservice import Application, CannotListenError, ServicesFailed
from trioservice.errors import MembershipError, ServiceStateError
from trioservice.net import multicast
from trioservice.net.addresses import Address
from trioservice.net.datagrams import DatagramServer, UDPServer
from trioservice.net.multicast import MulticastServer

from .support import LOCAL, eventually, running

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the loopback interface is not lo")

# The kernel keeps one list for the whole machine, and these tests may run twice on it at once.
_OURS = f"{os.getpid() // 256 % 256}.{os.getpid() % 256}"
GROUP, OTHER = f"239.77.{_OURS}", f"239.78.{_OURS}"
GROUP6, OTHER6 = "ff02::7701", "ff01::7702"


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def _wired(family: int) -> str:
    """An interface that multicasts, as lo does not everywhere; with ttl=0, nothing leaves by it."""
    for _, name in socket.if_nameindex():
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                index = socket.if_nametoindex(name)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 0)
                    sock.sendto(b"", (GROUP6, 9, 0, index))
                else:
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
                    interface = struct.pack("@4s4si", bytes(4), bytes(4), index)
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
                    sock.sendto(b"", (GROUP, 9))
            except OSError:
                continue
            if name != "lo" or family == socket.AF_INET6:
                return name
    return ""


WIRED, WIRED6 = _wired(socket.AF_INET), _wired(socket.AF_INET6) if _has_ipv6() else ""
needs_wire = pytest.mark.skipif(not WIRED, reason="this machine has no interface but lo")
needs_ipv6 = pytest.mark.skipif(not WIRED6, reason="no interface here multicasts over IPv6")


class Inbox:
    """A handler that keeps what comes."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.peers: list[Address] = []

    async def __call__(self, data: bytes, peer: Address, server: DatagramServer) -> None:
        self.got.append(data)
        self.peers.append(peer)


def port_of(server: DatagramServer) -> int:
    address = server.addresses[0]
    assert isinstance(address, tuple)
    return int(address[1])


async def settled() -> None:
    """Until whatever is on its way on this machine has arrived and is handled."""
    await trio.testing.wait_all_tasks_blocked(0.02)


# ---- arguments


@pytest.mark.parametrize("wrong", ["192.0.2.1", "localhost", "", "fe80::1", "239.0.0"])
def test_what_is_no_group_is_refused_when_the_server_is_made(wrong: str) -> None:
    """Mistakes in the arguments are told where they are written."""
    with pytest.raises(ValueError, match=f"{wrong!r} is no multicast group; a group is an address from 224"):
        MulticastServer(0, Inbox(), groups=[wrong])


def test_other_mistakes_are_refused_when_the_server_is_made() -> None:
    """One text is easily written where a list is wanted, and hops are a byte."""
    with pytest.raises(TypeError, match=r"groups is a list of groups, .*; write \['239"):
        MulticastServer(0, Inbox(), groups=GROUP)
    for ttl in (-1, 256, "1"):
        with pytest.raises(ValueError, match="ttl is a number from 0 to 255"):
            MulticastServer(0, Inbox(), ttl=ttl)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"groups": None}, "groups is a list of groups, not None"),
        ({"groups": [IPv4Address(GROUP)]}, r"a group is an address such as .* not IPv4Address\("),
        ({"groups": [GROUP.encode()]}, "a group is an address such as .* not b'239"),
        ({"groups": [(GROUP, "lo", 1)]}, "a group is an address such as .* not \\('239"),
        ({"groups": [(GROUP, 1.5)]}, "a group is an address such as .* not \\('239"),
        ({"interface": 1.5}, "an interface is its name, its index, or an address .* not 1.5"),
        ({"loopback": "no"}, "loopback is True or False, not 'no'"),
    ],
)
def test_other_kinds_of_things_are_refused_when_the_server_is_made(
    options: dict[str, Any], said: str
) -> None:
    """In one sentence each."""
    with pytest.raises(TypeError, match=said):
        MulticastServer(0, Inbox(), **options)


def test_a_group_with_a_scope_is_a_group_on_that_interface() -> None:
    """It is joined there and not wherever the routing leads; two interfaces contradict each other."""
    server = MulticastServer(0, Inbox(), groups=["ff02::4242%lo", "ff02::4242%7", ("ff02::4243", "lo")])
    assert server.groups == (("ff02::4242", "lo"), ("ff02::4242", 7), ("ff02::4243", "lo"))
    with pytest.raises(ValueError, match="'ff02::4242%lo' names an interface, and 'eth0' is another"):
        MulticastServer(0, Inbox(), groups=[("ff02::4242%lo", "eth0")])


async def test_an_interface_that_does_not_exist_fails_the_start_and_names_those_there_are() -> None:
    """Also as the interface for what is sent."""
    for options in (
        {"groups": [(GROUP, "nope0")]},
        {"interface": "nope0"},
        {"interface": 77777},
        {"interface": "192.0.2.77"},
    ):
        app = Application("app", MulticastServer(0, Inbox(), **options), handle_signals=False)  # type: ignore[arg-type]
        with pytest.raises(ServicesFailed) as caught:
            await app.main()
        assert caught.group_contains(
            MembershipError, match=r"no interface ('nope0'|77777|'192.0.2.77') \(.*lo"
        )


async def test_a_port_that_is_not_shared_fails_the_start() -> None:
    """Whoever has it for himself keeps it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 0))
        app = Application("app", MulticastServer(other.getsockname()[1], Inbox()), handle_signals=False)
        with pytest.raises(ServicesFailed) as caught:
            await app.main()
        assert caught.group_contains(CannotListenError, match=r"0\.0\.0\.0:\d+: Address already in use")


# ---- hearing


@pytest.mark.parametrize(
    ("group", "interface"),
    [
        (GROUP, "lo"),
        (GROUP, 1),
        (GROUP, LOCAL),
        (GROUP, "::1"),
        pytest.param(GROUP6, WIRED6, marks=needs_ipv6),
        pytest.param(OTHER6, WIRED6 and socket.if_nametoindex(WIRED6), marks=needs_ipv6),
    ],
    # The groups are this process's own, and the name of a test is not.
    ids=["v4-name", "v4-number", "v4-address", "v4-by-v6", "v6-name", "v6-number"],
)
async def test_members_on_one_port_all_hear_and_others_hear_nothing(group: str, interface: Any) -> None:
    """Two members get a copy each, whatever the interface is called; a member of another group none."""
    one, two, stranger = Inbox(), Inbox(), Inbox()
    first = MulticastServer(0, one, groups=[(group, interface)], interface=interface, ttl=0)
    async with running(first) as (app, _):
        port = port_of(first)
        second = MulticastServer(port, two, groups=[group], interface=interface)
        other = MulticastServer(port, stranger, groups=[(OTHER, "lo")])
        await app.start_service(second)
        await app.start_service(other)
        await first.send(b"hello", (group, port))
        await eventually(lambda: one.got and two.got)
        await settled()
        assert (one.got, two.got, stranger.got) == ([b"hello"], [b"hello"], [])
        assert one.peers[0][1] == port  # type: ignore[index]


@needs_ipv6
async def test_one_server_is_a_member_in_both_families_and_is_answered() -> None:
    """A peer that is heard through a group is answered by unicast, from an address of our own."""
    inbox = Inbox()

    async def answer(data: bytes, peer: Address, server: DatagramServer) -> None:
        await server.send(data.upper(), peer)

    server = MulticastServer(0, answer, groups=[(GROUP, "lo"), (GROUP6, WIRED6)])
    async with running(server) as (app, _):
        four, six = (MulticastServer(0, inbox, interface=name, ttl=0) for name in ("lo", WIRED6))
        await app.start_service(four)
        await app.start_service(six)
        await four.send(b"four", (GROUP, port_of(server)))
        await eventually(lambda: inbox.got == [b"FOUR"])
        await six.send(b"six", (GROUP6, port_of(server)))
        await six.send(b"scoped", (f"{GROUP6}%{WIRED6}", port_of(server)))
        await eventually(lambda: inbox.got == [b"FOUR", b"SIX", b"SCOPED"])
        assert not any(str(host).startswith(("239.", "ff")) for host, _ in inbox.peers)  # type: ignore[misc]
        assert [peer[1] for peer in inbox.peers] == [port_of(server)] * 3  # type: ignore[index]


@needs_wire
async def test_loopback_can_be_turned_off() -> None:
    """Then nobody on this machine hears what is sent."""
    inbox = Inbox()
    server = MulticastServer(0, inbox, groups=[GROUP], interface=WIRED, ttl=0, loopback=False)
    async with running(server) as (app, _):
        await server.send(b"nobody", (GROUP, port_of(server)))
        loud = MulticastServer(0, Inbox(), interface=WIRED, ttl=0)
        await app.start_service(loud)
        await loud.send(b"somebody", (GROUP, port_of(server)))
        await eventually(lambda: inbox.got)
        assert inbox.got == [b"somebody"]


async def test_ttl_and_interface_are_told_to_the_sockets() -> None:
    """As many hops as were asked for, on IPv4 and on IPv6."""
    server = MulticastServer(0, Inbox(), ttl=7, interface="lo", loopback=False)
    async with running(server):
        for sock in (bound.sock for bound in server._sockets):
            if sock.family == socket.AF_INET:
                assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 7
                assert sock.getsockopt(socket.IPPROTO_IP, multicast._IP_MULTICAST_ALL) == 0
            else:
                assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS) == 7
                assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF) == 1
                assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP) == 0
                assert sock.getsockopt(socket.IPPROTO_IPV6, multicast._IPV6_MULTICAST_ALL) == 0


async def test_bound_to_a_group_it_hears_nothing_else() -> None:
    """What is sent to the machine itself then passes by."""
    inbox = Inbox()
    server = MulticastServer(0, inbox, host=GROUP, groups=[(GROUP, "lo")], interface="lo")
    async with running(server):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"unicast", (LOCAL, port_of(server)))
        await server.send(b"group", (GROUP, port_of(server)))
        await eventually(lambda: inbox.got)
        assert inbox.got == [b"group"]


# ---- joining and leaving


async def test_groups_are_joined_and_left_while_it_runs() -> None:
    """Twice joined is once joined; what is left is heard no more."""
    inbox = Inbox()
    server = MulticastServer(0, inbox, interface="lo", name="srv")
    async with running(server):
        port = port_of(server)
        await server.send(b"early", (GROUP, port))
        await server.join(GROUP)
        await server.join(GROUP, "lo")
        await server.join(GROUP, 1)
        await server.join(GROUP, LOCAL)
        assert server.groups == ((GROUP, None),)
        await server.send(b"heard", (GROUP, port))
        await eventually(lambda: inbox.got)
        await server.leave(GROUP, "lo")
        assert server.groups == ()
        await server.send(b"late", (GROUP, port))
        await settled()
        assert inbox.got == [b"heard"]
        with pytest.raises(MembershipError, match=f"'app/srv' cannot leave {GROUP}: it is a member of none"):
            await server.leave(GROUP)
        await server.join(OTHER)
        with pytest.raises(MembershipError, match=f"cannot leave {GROUP} on lo: it is a member of {OTHER}"):
            await server.leave(GROUP, "lo")
        assert await _refused(server.join, "192.0.2.1") == "'192.0.2.1' is no multicast group"
        assert await _refused(server.join, GROUP, "nope0") == (
            "there is no interface 'nope0' (No such device)"
        )


async def _refused(call: Any, *args: Any) -> str:
    try:
        await call(*args)
    except (ValueError, OSError) as error:
        return str(error).partition(";")[0]
    return "it was not"


async def test_membership_is_for_runs_and_survives_a_restart() -> None:
    """While it is stopped it is no member; started again it is, also of what it joined on its way."""
    inbox = Inbox()
    server = MulticastServer(0, inbox, groups=[GROUP], interface="lo", name="srv")
    async with running(server):
        port = port_of(server)
        await server.join(OTHER)
        await server.leave(GROUP)
        await server.stop()
        for verb in (server.join, server.leave):
            with pytest.raises(ServiceStateError, match=r"'app/srv' does not run, so it cannot .* groups="):
                await verb(GROUP)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOCAL))
            sender.sendto(b"stopped", (OTHER, port))
            await server.start()  # L3
            sender.sendto(b"left", (GROUP, port))
            sender.sendto(b"again", (OTHER, port))
        await eventually(lambda: inbox.got)
        assert inbox.got == [b"again"]
        assert port_of(server) == port  # L18


async def test_a_hundred_restarts_leave_no_membership_behind() -> None:
    """The kernel's list of groups is as before."""
    server = MulticastServer(0, Inbox(), groups=[GROUP, OTHER], interface="lo")
    async with running(server):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            await server.restart()
        await eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)
        assert _memberships() >= {GROUP, OTHER}
        await server.stop()
        assert not _memberships() & {GROUP, OTHER}


def _memberships() -> set[str]:
    with open("/proc/net/igmp") as table:
        words = (line.split()[0] for line in table if line.startswith("\t\t\t\t"))
        return {socket.inet_ntoa(struct.pack("=I", int(word, 16))) for word in words}


async def test_to_join_or_leave_while_it_stops_is_refused_in_words() -> None:
    """Whoever comes first."""
    said: list[str] = []

    async def try_to(verb: Any) -> None:
        try:
            await verb(GROUP)
        except ServiceStateError as error:
            said.append(str(error).partition(", so")[0])

    server = MulticastServer(0, Inbox(), interface="lo", host=LOCAL, name="srv")
    async with running(server):
        for verb in (server.join, server.leave):
            await server.join(GROUP)
            coroutine = try_to(verb)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stopped_within_the_checkpoint, coroutine, server)
            await server.start()
    assert said == ["'app/srv' does not run"] * 2


async def _stopped_within_the_checkpoint(coroutine: Any, server: MulticastServer) -> None:
    """Let *coroutine* come to its checkpoint, and go on when the server has stopped."""
    stopping = MulticastServer.stop

    async def checkpoint() -> None:
        await stopping(server)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multicast.trio.lowlevel, "checkpoint", checkpoint)
        await coroutine


async def test_a_group_of_a_family_without_a_socket_cannot_be_joined() -> None:
    """Said in the server's words, not in the kernel's."""
    server = MulticastServer(0, Inbox(), host=LOCAL)
    async with running(server):
        with pytest.raises(MembershipError, match=f"cannot join {GROUP6}: the server is bound to no address"):
            await server.join(GROUP6)


async def test_an_ipv6_address_of_our_own_names_its_interface() -> None:
    """Whatever the family of the group."""
    server = MulticastServer(0, Inbox(), groups=[(GROUP, "::1")])
    async with running(server):
        await server.leave(GROUP, "lo")
        assert server.groups == ()
        with pytest.raises(MembershipError, match="no interface '2001:db8::7'"):
            await server.join(GROUP, "2001:db8::7")
        with pytest.raises(MembershipError, match=r"cannot join .* on 192\.0\.2\.77: .*no such interface"):
            await server.join(GROUP, "192.0.2.77")


async def test_a_group_that_is_named_twice_is_left_at_once() -> None:
    """By two names of one interface it is one membership, in `groups` too."""
    server = MulticastServer(0, Inbox(), groups=[(GROUP, "lo"), (GROUP, 1), (GROUP, LOCAL)])
    async with running(server):
        assert server.groups == ((GROUP, "lo"),)
        await server.leave(GROUP, 1)
        assert server.groups == ()
        assert GROUP not in _memberships()


@needs_ipv6
async def test_an_ipv4_address_names_no_interface_for_ipv6() -> None:
    """As the server's own it is simply not used there; asked for by name it is a mistake."""
    server = MulticastServer(0, Inbox(), groups=[GROUP], interface=LOCAL)
    async with running(server):
        with pytest.raises(MembershipError, match=f"no interface '{LOCAL}'"):
            await server.join(GROUP6, LOCAL)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOBUFS, "igmp_max_memberships"),
        (errno.ENODEV, "name one"),
        (errno.EINVAL, "is the interface up"),
    ],
)
async def test_a_refusal_of_the_system_has_its_mend(
    number: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The likely reasons, in the operator's words."""

    def refuse(self: Any) -> None:
        raise OSError(number, os.strerror(number))

    server = MulticastServer(0, Inbox(), interface="lo")
    async with running(server):
        monkeypatch.setattr(multicast._Membership, "join", refuse)
        with pytest.raises(MembershipError, match=f"cannot join {GROUP}: .*{said}") as caught:
            await server.join(GROUP)
        assert caught.value.errno == number
        assert server.groups == ()


async def test_a_socket_of_another_program_hears_nothing_of_ours() -> None:
    """A plain UDP server on another port is not disturbed."""
    inbox, heard = Inbox(), Inbox()
    server = MulticastServer(0, inbox, groups=[GROUP], interface="lo")
    async with running(server, UDPServer(0, heard)):
        await server.send(b"hello", (GROUP, port_of(server)))
        await eventually(lambda: inbox.got)
        await settled()
        assert heard.got == []
