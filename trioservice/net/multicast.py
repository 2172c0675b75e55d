"""Multicast: a datagram server that is a member of groups.

A group is an address (224.0.0.0 to 239.255.255.255, or ff00::/8) that many listen to.  What is sent to
it is copied to every member, but membership is a matter of one *interface*: a machine joins a
group on the network behind ``eth0``, and hears it from there.  So most of what there is to say to the
system is about interfaces, and the one name that it has for each of them is its index.

Three habits of the system would surprise, and are put right here:

*Several listeners on one port* are what multicast is for, and have to be asked for (SO_REUSEADDR;
on BSD SO_REUSEPORT as well).  All of them get a copy of what is sent to a group; what is sent to
the machine itself only one of them gets.

*On Linux a socket hears every group that any program has joined*, if only the port is the same.
It is told not to (IP_MULTICAST_ALL).

*A multicast datagram leaves by one interface*, by default the one that the routing prefers, and
comes back to the members on this machine.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import ClassVar, TypeAlias, Unpack

import trio

from ..errors import MembershipError, ServiceStateError
from ..records import record
from . import system
from .addresses import Address
from .binding import SockAddr, bind_everywhere, cannot_listen, hosts
from .datagram_sockets import DatagramSocket, bind_datagrams
from .datagrams import DatagramHandler, DatagramOptions, DatagramServer
from .endpoints import UDPServerEndpoint

__all__ = ["Interface", "MulticastServer"]

#: The name of an interface, its index, or an address of our own on it; ``None`` is the system's choice.
Interface: TypeAlias = str | int | None

_Family: TypeAlias = int

# Linux's numbers, which the socket module does not have.
_IP_MULTICAST_ALL = 49
_IPV6_MULTICAST_ALL = 29
_SIOCGIFADDR = 0x8915
_LINUX = sys.platform == "linux"


class MulticastServer(DatagramServer):
    """A leaf that is a member of multicast groups and has a handler called for each datagram.

    ::

        async def hear(data, peer, server):
            print(peer, data)

        server = MulticastServer(5353, hear, groups=["224.0.0.251", ("ff02::fb", "eth0")])
        ...
        await server.send(b"who is there?", ("224.0.0.251", 5353))

    It hears what is sent to the groups, and what is sent to the machine's own addresses at the
    port.  It is a member while it runs: it joins before it is ready, and leaves when it stops.  A restart
    joins again, also what was joined by :meth:`join`.

    Args:
        port: 0 to 65535; shared with others who listen to groups at it.
        handler: ``async def handler(data, peer, server)``, as for
            :class:`~trioservice.net.datagrams.DatagramServer`; ``None`` with ``protocol=``.
        groups: the groups to join, of IPv4 or IPv6, each as an address or as ``(address, interface)``;
            ``"ff02::fb%eth0"`` is ``("ff02::fb", "eth0")``.
        host: addresses to be bound to; ``None`` for all.  A group is one too: then nothing else is heard.
        interface: where datagrams to groups leave, and where groups are joined that name no other: a name, an
            index, or an address of our own.  An address of IPv4 says nothing for IPv6.
        ttl: how many routers may pass a datagram on, plus 1: with 1 it stays in the local network,
            with 0 on this machine.
        loopback: what is sent comes to the members on this machine too, this server among them.
        **options: those of :class:`~trioservice.net.datagrams.DatagramService`.

    Raises:
        TypeError: *groups*, an interface or *loopback* is something else altogether.
        ValueError: a group that is none, or that names two interfaces; a *ttl* outside 0 to 255.
        CannotListenError: out of ``main``, if the port cannot be had.
        MembershipError: out of ``main``, if a group cannot be joined.
    """

    def __init__(
        self,
        port: int,
        handler: DatagramHandler | None = None,
        *,
        groups: Sequence[str | tuple[str, Interface]] = (),
        host: str | Sequence[str] | None = None,
        interface: Interface = None,
        ttl: int = 1,
        loopback: bool = True,
        **options: Unpack[DatagramOptions],
    ) -> None:
        wanted = [_group(*entry) for entry in _entries(groups)]
        if not (isinstance(ttl, int) and 0 <= ttl <= 255):
            raise ValueError(f"ttl is a number from 0 to 255, not {ttl!r}")
        if not isinstance(loopback, bool):
            raise TypeError(f"loopback is True or False, not {loopback!r}")
        _require_interface(interface)
        super().__init__(_SharedPort(port, hosts(host)), handler, **options)
        self.interface = interface
        self.ttl = ttl
        self.loopback = loopback
        self._wanted = wanted
        self._memberships: dict[_Membership, _Group] | None = None  # None while it is not running

    @property
    def groups(self) -> tuple[tuple[str, Interface], ...]:
        """The groups that it is a member of while it runs, each with its interface."""
        return tuple((group.address, group.interface) for group in self._wanted)

    async def run(self, task_status: trio.TaskStatus[tuple[Address, ...]]) -> None:
        """Join, hear and handle until drained or cancelled, and leave."""
        for sock in self._sockets:
            self._set_options(sock)
        self._memberships = {}
        try:
            # However often and by whatever names, a group on an interface is joined once.
            self._wanted = list(dict.fromkeys([self._enter(group) for group in self._wanted]))
            await super().run(task_status)
        finally:
            for membership in self._memberships:
                membership.leave()
            self._memberships = None

    async def join(self, group: str, interface: Interface = None) -> None:
        """Become a member of *group*, from now on.  A member that joins again stays one.

        Args:
            group: its address.
            interface: where; by default that of the server.

        Raises:
            ValueError: *group* is no address of a group.
            MembershipError: there is no such interface, or the system refuses; it says why.
            ServiceStateError: the server does not run.
        """
        await trio.lowlevel.checkpoint()
        self._require_running("join")
        self._wanted.append(self._enter(_group(group, interface)))
        self._wanted = list(dict.fromkeys(self._wanted))

    async def leave(self, group: str, interface: Interface = None) -> None:
        """Be a member of *group* no longer.

        Args:
            group: its address.
            interface: as it was joined with.

        Raises:
            ValueError: *group* is no address of a group.
            MembershipError: the server is no member of it there.
            ServiceStateError: the server does not run.
        """
        await trio.lowlevel.checkpoint()
        memberships = self._require_running("leave")
        unwanted = _group(group, interface)
        membership = self._membership(unwanted)
        if membership not in memberships:
            joined = ", ".join(map(str, memberships.values())) or "none"
            raise MembershipError(
                errno.EADDRNOTAVAIL, f"{self.path!r} cannot leave {unwanted}: it is a member of {joined}"
            )
        self._wanted.remove(memberships.pop(membership))
        membership.leave()

    # ---- membership

    def _require_running(self, verb: str) -> dict[_Membership, _Group]:
        if self._memberships is None:
            raise ServiceStateError(
                f"{self.path!r} does not run, so it cannot {verb} a group; name it in groups= instead"
            )
        return self._memberships

    def _enter(self, group: _Group) -> _Group:
        """Join *group*, unless that is done already; the one that stands for it."""
        assert self._memberships is not None
        membership = self._membership(group)
        if membership not in self._memberships:
            try:
                membership.join()
            except OSError as error:
                raise _cannot_join(group, error) from None
            self._memberships[membership] = group
        return self._memberships[membership]

    def _membership(self, group: _Group) -> _Membership:
        for sock in self._sockets:
            if sock.family == group.family:
                interface = self._default(group.family) if group.interface is None else group.interface
                return _Membership(sock, group.packed, *_found(interface, group.family))
        raise MembershipError(
            errno.EAFNOSUPPORT, f"cannot join {group}: the server is bound to no address of its family"
        )

    def _default(self, family: _Family) -> Interface:
        """The server's interface, if it means something in *family*."""
        packed = _own_address(self.interface)
        return None if len(packed) == 4 and family == socket.AF_INET6 else self.interface

    def _set_options(self, sock: DatagramSocket) -> None:
        """Say how what is sent to groups leaves."""
        index, address = _found(self._default(sock.family), sock.family)
        if sock.family == socket.AF_INET:
            sock.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, self.ttl)
            sock.sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, self.loopback)
            level, option, value = socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _mreqn(bytes(4), index, address)
        else:
            sock.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, self.ttl)
            sock.sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, self.loopback)
            level, option, value = socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, struct.pack("@I", index)
        try:
            sock.sock.setsockopt(level, option, value)
        except OSError as error:
            raise _no_interface(self.interface, error) from None


# ---- the port ----------------------------------------------------------------------------------


@record
class _SharedPort(UDPServerEndpoint):
    """A UDP port at which several may listen to groups."""

    kind: ClassVar[str] = "udp"


@bind_datagrams.register
async def _(endpoint: _SharedPort) -> list[DatagramSocket]:
    return await bind_everywhere(endpoint, socket.SOCK_DGRAM, _shared_socket)


def _shared_socket(family: socket.AddressFamily, sockaddr: SockAddr) -> DatagramSocket:
    with ExitStack() as undo:
        try:
            sock = undo.enter_context(system.open_socket(family, socket.SOCK_DGRAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if not _LINUX and hasattr(socket, "SO_REUSEPORT"):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _hear_own_groups_only(sock)
            sock.bind(sockaddr)
        except OSError as error:
            address = str(sockaddr[0]), int(str(sockaddr[1]))
            raise cannot_listen(error, address, socket.SOCK_DGRAM) from None
        undo.pop_all()
        return DatagramSocket(sock)


def _hear_own_groups_only(sock: socket.socket) -> None:
    if not _LINUX:
        return
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    else:
        with suppress(OSError):  # from Linux 4.20 on
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)


# ---- groups ------------------------------------------------------------------------------------


@record
class _Group:
    """A group as somebody has named it."""

    address: str
    interface: Interface
    family: _Family
    packed: bytes

    def __str__(self) -> str:
        return self.address if self.interface is None else f"{self.address} on {self.interface}"


def _entries(groups: object) -> Iterator[tuple[str] | tuple[str, Interface]]:
    if isinstance(groups, str):
        raise TypeError(f"groups is a list of groups, not {groups!r}; write [{groups!r}]")
    if not isinstance(groups, Iterable):
        raise TypeError(f"groups is a list of groups, not {groups!r}")
    for entry in groups:
        match entry:
            case str(address):
                yield (address,)
            case (str(address), str() | int() | None as interface):
                yield address, interface
            case _:
                raise TypeError(
                    f"a group is an address such as '239.1.2.3', or ('239.1.2.3', 'eth0'), not {entry!r}"
                )


def _require_interface(interface: object) -> None:
    if not isinstance(interface, str | int | None):
        raise TypeError(
            f"an interface is its name, its index, or an address of our own on it, not {interface!r}"
        )


def _group(address: str, interface: Interface = None) -> _Group:
    import ipaddress  # seldom needed, and slow to import

    _require_interface(interface)
    try:
        found = ipaddress.ip_address(str(address))
    except ValueError:
        found = None
    if found is None or not found.is_multicast:
        raise ValueError(
            f"{address!r} is no multicast group; a group is an address from 224.0.0.0 to 239.255.255.255, "
            "or one that begins with ff"
        )
    if found.version == 6 and found.scope_id is not None:
        if interface is not None:
            raise ValueError(
                f"{address!r} names an interface, and {interface!r} is another; give one of them"
            )
        scope = found.scope_id
        return _group(str(address).partition("%")[0], int(scope) if scope.isdecimal() else scope)
    family = socket.AF_INET if found.version == 4 else socket.AF_INET6
    return _Group(str(found), interface, family, found.packed)


@record
class _Membership:
    """A group as the system knows it: however the interface was named, it is the same membership."""

    sock: DatagramSocket
    group: bytes
    index: int
    address: bytes

    def join(self) -> None:
        self._set(socket.IP_ADD_MEMBERSHIP, socket.IPV6_JOIN_GROUP)

    def leave(self) -> None:
        with suppress(OSError):  # its interface has gone, and the membership with it
            self._set(socket.IP_DROP_MEMBERSHIP, socket.IPV6_LEAVE_GROUP)

    def _set(self, option4: int, option6: int) -> None:
        if self.sock.family == socket.AF_INET:
            value = _mreqn(self.group, self.index, self.address)
            self.sock.sock.setsockopt(socket.IPPROTO_IP, option4, value)
        else:
            value = self.group + struct.pack("@I", self.index)
            self.sock.sock.setsockopt(socket.IPPROTO_IPV6, option6, value)


def _mreqn(group: bytes, index: int, address: bytes) -> bytes:
    """``struct ip_mreqn``: the index counts, if there is one."""
    return struct.pack("@4s4si", group, address, index)


def _cannot_join(group: _Group, error: OSError) -> MembershipError:
    mend = {
        errno.ENOBUFS: "a socket may join so many groups only (sysctl net.ipv4.igmp_max_memberships)",
        errno.ENOMEM: "a socket may join so many groups only (sysctl net.core.optmem_max)",
        errno.ENODEV: "there is no such interface, or none on the way to it; name one, `ip link` lists them",
    }.get(error.errno or 0, "is the interface up, and can it multicast? `ip link` tells")
    return MembershipError(error.errno or 0, f"cannot join {group}: {error.strerror}; {mend}")


# ---- interfaces --------------------------------------------------------------------------------


def _found(interface: Interface, family: _Family) -> tuple[int, bytes]:
    """The index of *interface*, or, where only the system can find it, our IPv4 address on it.

    Raises:
        MembershipError: there is no such interface.
    """
    if interface is None:
        return 0, bytes(4)
    try:
        if isinstance(interface, int):
            socket.if_indextoname(interface)
            return interface, bytes(4)
        packed = _own_address(interface)
        if len(packed) == 16:
            return next(_indexes_of(packed)), bytes(4)
        if packed and family == socket.AF_INET:
            index = next(_indexes_of4(packed), 0)
            return index, bytes(4) if index else packed
        return socket.if_nametoindex(interface), bytes(4)
    except (OSError, OverflowError, StopIteration) as error:
        raise _no_interface(interface, error) from None


def _own_address(interface: Interface) -> bytes:
    """The bytes of an interface that is named by an address; none for other names."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            return socket.inet_pton(family, str(interface).partition("%")[0])
    return b""


def _indexes_of(address: bytes) -> Iterator[int]:
    """The interfaces that have this IPv6 address; only Linux tells, without a library."""
    with suppress(FileNotFoundError), open("/proc/net/if_inet6", encoding="ascii") as table:
        for line in table:
            packed, index, *_ = line.split()
            if packed == address.hex():
                yield int(index, 16)


def _indexes_of4(address: bytes) -> Iterator[int]:
    """The interfaces whose first IPv4 address this is; by others the system finds them itself."""
    if not _LINUX:
        return
    import fcntl  # not everywhere

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for index, name in socket.if_nameindex():
            with suppress(OSError):  # it has none
                request = struct.pack("@16s24x", name.encode())  # struct ifreq
                if fcntl.ioctl(sock, _SIOCGIFADDR, request)[20:24] == address:
                    yield index


def _no_interface(interface: Interface, error: BaseException) -> MembershipError:
    number = getattr(error, "errno", None) or errno.ENODEV
    known = ", ".join(name for _, name in socket.if_nameindex())
    return MembershipError(
        number, f"there is no interface {interface!r} ({os.strerror(number)}); there are {known}"
    )
