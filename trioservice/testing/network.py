"""A network that lives in memory, and does what a test tells it to.

::

    async def test_the_shop_outlives_its_bank(autojump_clock):
        with SimNetwork(hosts=["shop", "bank"], seed=7, latency=(0.001, 0.02)) as network:
            async with trio.open_nursery() as nursery:
                with network.on("bank"):
                    await nursery.start(bank.main)
                with network.on("shop"):
                    await nursery.start(shop.main)
                network.partition("shop", "bank")
                await trio.sleep(60)
                network.heal("shop", "bank")

Within the ``with``, every socket that trio, or a service of ours, makes in this :func:`trio.run` is
simulated: the code under test is the code that runs in production.  It uses the hooks that trio
offers for this (:func:`trio.socket.set_custom_socket_factory`,
:func:`trio.socket.set_custom_hostname_resolver`) and that of ``trioservice.net.system``.

Nothing here asks the machine or the wall clock for anything, and whatever is left to chance is drawn
from the seed.  With a virtual clock and a schedule that is the same each time, :attr:`SimNetwork.log`
is the same each time, byte for byte.
"""

from __future__ import annotations

import errno
import heapq
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Unpack, cast

import trio

from ..net import system
from .hosts import Host, Names, refusal
from .links import PERFECT, Changes, Link, changed
from .sim_datagrams import DatagramSocket
from .sim_polls import SimEpoll
from .sim_sockets import NotSimulatedError, SimSocket
from .sim_streams import StreamSocket
from .trio_sockets import TrioSocket, TrioSockets

__all__ = ["SimNetwork"]

_HERE: ContextVar[Host | None] = ContextVar("the host of this task", default=None)

# No system has so many, so that a number that strays into a real call is refused there.
_FIRST_DESCRIPTOR = 1 << 30

_KINDS = {socket.SOCK_STREAM: StreamSocket, socket.SOCK_DGRAM: DatagramSocket}

# Flags in a socket's kind, which Linux has.
_KIND = 0xF


class SimNetwork(system.System):
    """Hosts, the ways between them, and everything that can happen to those.

    Where no host is said, code runs on one named ``localhost``.  What is said of a link holds for
    both of its ways, and also for that from a host to itself, so that a test of one host can have them, too.

    Args:
        hosts: names of further hosts; each can be found by its name.
        seed: whatever is left to chance comes of it.
        **conditions: what every link is like, unless :meth:`link_between` says something else: ``latency``
            in seconds (two for a range), ``loss``, ``duplicate``, ``reorder`` as shares from 0 to 1,
            ``segment`` in bytes.

    Attributes:
        log: what has happened, a line each, with its time since the beginning.
        seed: as it was given.
    """

    def __init__(self, *, hosts: Iterable[str] = (), seed: int = 0, **conditions: Unpack[Changes]) -> None:
        self.seed = seed
        self.log: list[str] = []
        self._conditions = changed(PERFECT, **conditions)
        self._hosts: dict[str, Host] = {}
        for name in ("localhost", *hosts):
            self.add_host(name)
        self._links: dict[tuple[str, str], Link] = {}
        self._descriptors = count(_FIRST_DESCRIPTOR)
        self._sockets: dict[int, SimSocket] = {}
        self._order = count()
        self._calendar: list[tuple[float, int, Callable[[], object]]] = []
        self._alarm = trio.CancelScope()
        self._restore: list[Callable[[], object]] = []
        self._begun = 0.0

    # ---- being there

    def __enter__(self) -> SimNetwork:
        factory = trio.socket.set_custom_socket_factory(TrioSockets(self))
        resolver = trio.socket.set_custom_hostname_resolver(Names(self))
        real = system.use(self)
        self._restore = [
            lambda: trio.socket.set_custom_socket_factory(factory),
            lambda: trio.socket.set_custom_hostname_resolver(resolver),
            lambda: system.use(real),
        ]
        self._begun = trio.current_time()
        self._running = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._keep_time, name="the simulated network")
        return self

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if error is not None:
            error.add_note(f"within SimNetwork(seed={self.seed!r})")
        for restore in self._restore:
            restore()
        self._running.cancel(reason="the simulated network has gone")

    @property
    def open_sockets(self) -> Sequence[str]:
        """Those that are open, as ``host:port`` or ``host:path``; none, if everybody has tidied up."""
        return [sock.label for host in self._hosts.values() for sock in host.sockets]

    # ---- hosts

    def add_host(self, name: str) -> Host:
        """One more host.

        Raises:
            ValueError: there is one of that name.
        """
        if name in self._hosts:
            raise ValueError(f"there is a host {name!r} already; choose another name")
        self._hosts[name] = Host(self, name, len(self._hosts))
        return self._hosts[name]

    def host(self, name: str) -> Host:
        """The host of a name.

        Raises:
            ValueError: there is none.
        """
        if name not in self._hosts:
            known = ", ".join(self._hosts)
            raise ValueError(f"there is no host {name!r}, only {known}; name it: SimNetwork(hosts=[...])")
        return self._hosts[name]

    @contextmanager
    def on(self, name: str) -> Iterator[Host]:
        """Within the ``with``, this task, and those that it starts, are on a host."""
        host = self.host(name)
        token = _HERE.set(host)
        try:
            yield host
        finally:
            _HERE.reset(token)

    @property
    def here(self) -> Host:
        """The host that the current task is on."""
        host = _HERE.get()
        return host if host is not None and host.network is self else self._hosts["localhost"]

    def find_host(self, name: str) -> Host | None:
        """The host of a name, if there is one."""
        return self._hosts.get(name)

    def host_at(self, address: str) -> Host | None:
        """The host that has *address*."""
        return next((host for host in self._hosts.values() if host.address == address), None)

    # ---- the ways between them

    def link(self, source: str, target: str) -> Link:
        """The one way from *source* to *target*."""
        link = self._links.get((source, target))
        if link is None:
            link = Link(self, self.seed, self.host(source).name, self.host(target).name, self._conditions)
            self._links[source, target] = link
        return link

    def link_between(self, a: str, b: str, **changes: Unpack[Changes]) -> None:
        """Say what the link between two hosts is like from now on; what is not said stays.

        Raises:
            ValueError: a host that there is not, or conditions that cannot be.
        """
        for link in self._both_ways(a, b):
            link.conditions = changed(link.conditions, **changes)

    def _both_ways(self, a: str, b: str) -> list[Link]:
        return [self.link(a, b)] if a == b else [self.link(a, b), self.link(b, a)]

    # ---- what happens to them

    def partition(self, a: str, b: str, *, one_way: bool = False) -> None:
        """Let nothing get across between two hosts, or from *a* to *b* only, and nobody be told.

        Streams wait, and give up after a quarter of an hour as they do on Linux; datagrams are lost.
        """
        self.note(f"partition {a} {'>' if one_way else '|'} {b}")
        for link in self._both_ways(a, b)[: 1 if one_way else 2]:
            link.cut()

    def heal(self, a: str, b: str) -> None:
        """Undo one :meth:`partition`; what waits sets out again."""
        self.note(f"heal {a} - {b}")
        for link in self._both_ways(a, b):
            link.mend()

    def isolate(self, name: str) -> None:
        """Partition a host from all others."""
        for other in self._others(name):
            self.partition(name, other)

    def rejoin(self, name: str) -> None:
        """Undo :meth:`isolate`."""
        for other in self._others(name):
            self.heal(name, other)

    def _others(self, name: str) -> list[str]:
        return [other for other in self._hosts if other != self.host(name).name]

    def reset(self, a: str | None = None, b: str | None = None) -> int:
        """Break off connections at both ends, as a firewall may.

        Args:
            a: those of this host; ``None`` for all.
            b: those of *a* with this host only.

        Returns:
            how many ends of connections they had.
        """
        ends = self._connections(a, b)
        for sock in ends:
            self.note(f"reset {sock.label}")
            sock.break_off(errno.ECONNRESET)
        return len(ends)

    def half_open(self, name: str) -> int:
        """Break off all connections of a host at its end only, as when it loses its power.

        The other ends hear of it when they send something, and, if they do not, never.

        Returns:
            how many ends it had.
        """
        ends = [sock for sock in self._connections(name) if sock.host.name == name]
        for sock in ends:
            self.note(f"half open {sock.label}")
            sock.break_off(errno.ETIMEDOUT)
        return len(ends)

    def _connections(self, a: str | None = None, b: str | None = None) -> list[StreamSocket]:
        """The ends of connections over TCP between two hosts, or of all of one, or of all."""
        wanted = {self.host(name).name for name in (a, b) if name is not None}
        return [
            sock
            for sock in self._sockets.values()
            if isinstance(sock, StreamSocket) and not sock.is_unix and sock.far is not None
            if wanted <= {sock.host.name, sock.far.host.name}
        ]

    # ---- time

    @property
    def now(self) -> float:
        """The time on the clock of this run."""
        return trio.current_time()

    def at(self, due: float, act: Callable[[], object]) -> None:
        """Call *act* when it is *due*; of two that are due together, the one asked for first is first."""
        heapq.heappush(self._calendar, (due, next(self._order), act))
        if due < self._alarm.deadline:
            self._alarm.deadline = due

    async def _keep_time(self) -> None:
        with self._running:
            while True:
                due = self._calendar[0][0] if self._calendar else float("inf")
                with trio.CancelScope(deadline=due) as self._alarm:
                    await trio.sleep_forever()
                while self._calendar and self._calendar[0][0] <= self.now:
                    heapq.heappop(self._calendar)[2]()

    def note(self, what: str) -> None:
        """Write a line into the log."""
        self.log.append(f"{trio.current_time() - self._begun:.6f} {what}")

    # ---- what trio and the room net ask for

    def next_descriptor(self) -> int:
        """A number that nobody has."""
        return next(self._descriptors)

    def know(self, sock: SimSocket) -> int:
        """Give *sock* a number by which it is found, until it is forgotten."""
        descriptor = self.next_descriptor()
        self._sockets[descriptor] = sock
        return descriptor

    def forget(self, descriptor: int) -> None:
        """It is closed."""
        del self._sockets[descriptor]

    def socket_with(self, descriptor: int) -> SimSocket | None:
        """The socket that has a descriptor."""
        return self._sockets.get(descriptor)

    def open_socket(self, family: int, kind: int) -> socket.socket:
        """A socket as the standard library has them."""
        return cast("socket.socket", self.new_socket(family, kind))

    def new_socket(self, family: int, kind: int) -> SimSocket:
        """A socket, on the host that the current task is on.

        Raises:
            OSError: it is one of IPv6, or the host has no descriptor left.
            NotSimulatedError: it is one of a kind that is not simulated.
        """
        if family == getattr(socket, "AF_INET6", None):
            raise refusal(errno.EAFNOSUPPORT, "SimNetwork has IPv4 and UNIX sockets, and no IPv6")
        make = _KINDS.get(socket.SocketKind(kind & _KIND))
        if make is None or family not in (socket.AF_INET, getattr(socket, "AF_UNIX", None)):
            raise NotSimulatedError(f"SimNetwork has TCP, UDP and UNIX sockets, not {family!r} of {kind!r}")
        sock = make(self.here, family)
        sock.host.admit(sock)
        return sock

    def open_epoll(self) -> SimEpoll:
        """An event poll."""
        return SimEpoll(self)

    def detached(self, sock: trio.socket.SocketType) -> socket.socket:
        """What is below a socket of trio's."""
        assert isinstance(sock, TrioSocket)
        return cast("socket.socket", sock.below)
