"""Simulated stream sockets, TCP and UNIX: how they meet, what crosses between them, how they part.

Each end has a *pipe*, of what it has sent that has not landed yet, in order: bytes, the end, a reset,
and the handshake's two steps, which are sent like anything else and can be held up like anything
else.  A :class:`~trioservice.testing.links.Link` says when the next of them lands; whatever it
thinks of their order, they land in the order in which they were sent.

The receiver's buffer is the only one: what was sent and is not read yet fills it, wherever it is.  So
a slow reader is felt at once, and what takes the kernel megabytes a test sees after a few lines.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from functools import partial
from operator import index
from typing import Any

from .hosts import ANY, LOOPBACK, Host, refusal
from .links import Link
from .sim_sockets import SimSocket, refuse_flags

__all__ = ["StreamSocket"]

# How long Linux tries: to connect (tcp_syn_retries), and to send what nobody acknowledges (tcp_retries2).
_CONNECT_TIMEOUT = 127.0
_SEND_TIMEOUT = 924.6

# After so long TCP asks again a listener whose queue was full, then after twice that, and so on.
_KNOCKS_AGAIN = 1.0

# What is in a pipe, besides bytes.
_SYN, _ACCEPTED, _END, _RESET = "SYN", "accepted", "end", "reset"

_Item = bytes | str


class StreamSocket(SimSocket):
    """A socket of a stream: it listens, or it is one end of a connection."""

    def __init__(self, host: Host, family: int, kind: int = socket.SOCK_STREAM) -> None:
        super().__init__(host, family, kind)
        self.far: StreamSocket | None = None
        self.has_shut_writing = False
        self.wants_reset = False
        self._link: Link | None = None
        self._pipe: deque[_Item] = deque()
        self._last_due = 0.0
        self._held_since: float | None = None
        self._inbox = bytearray()
        self._load = 0  # bytes that are in the inbox, or on their way to it
        self._sender_waits = False
        self._has_ended = False
        self._has_shut_reading = False
        self._is_broken = False
        self._is_connecting = False
        self._backlog: int | None = None  # of one that listens
        self._queue: deque[StreamSocket] = deque()

    def _note(self, what: str) -> None:
        self.network.note(
            f"{'unix' if self.is_unix else 'tcp'} {self.label} > {self._show(self.peername)} {what}"
        )

    def setsockopt(self, level: int, option: int, value: Any, length: int | None = None) -> None:
        """Remember an option; SO_LINGER of 0 seconds makes closing a reset."""
        super().setsockopt(level, option, value, length)
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER) and not self.is_unix:
            self.wants_reset = struct.unpack("ii", value) == (1, 0)

    def getpeername(self) -> Any:
        """Whom it is connected to, until both have said goodbye."""
        if self._is_over or self._is_connecting:
            self._require_open()
            raise refusal(errno.ENOTCONN)
        return super().getpeername()

    @property
    def _is_over(self) -> bool:
        return not self.is_unix and (self._is_broken or (self._has_ended and self.has_shut_writing))

    # ---- listening

    def listen(self, backlog: int = 128) -> None:
        """Take connections, so many of which may wait."""
        self._require_open()
        if self.peername is not None:
            raise refusal(errno.EINVAL)
        if not self.is_unix:
            self._bind_somewhere(ANY)
        self._backlog = backlog

    def accept(self) -> tuple[StreamSocket, Any]:
        """The next connection that waits."""
        self._require_open()
        if not self._queue:
            raise refusal(errno.EINVAL if self._backlog is None else errno.EAGAIN)
        self.host.admit(self._queue[0])
        sock = self._queue.popleft()
        return sock, sock.peername

    def _told(self, option: int) -> Any:
        if option == socket.SO_ACCEPTCONN:
            return int(self._backlog is not None)
        return super()._told(option)

    @property
    def _is_full(self) -> bool:
        return self._backlog is not None and len(self._queue) > self._backlog

    def _let_in(self, client: StreamSocket) -> None:
        """A client has come; it waits to be accepted, and is connected already."""
        server = StreamSocket(self.host, self.family)
        server.sockaddr = self.sockaddr if self.is_unix else client.peername
        server.peername = client.sockaddr
        server._options.update(self._options)
        server._meet(client)
        client._meet(server)
        self._queue.append(server)
        self.changed()

    def _meet(self, far: StreamSocket) -> None:
        self.far = far
        self._link = None if self.is_unix else self.host.link_to(far.host)

    # ---- connecting

    def connect(self, address: Any) -> None:
        """Connect; over TCP that takes until it is writable, and then SO_ERROR tells how it went."""
        self._require_open()
        if self.peername is not None:
            raise refusal(errno.EISCONN)
        if self.is_unix:
            self._connect_by_path(address)
        else:
            self._set_out_for(address)

    def _connect_by_path(self, path: str | bytes) -> None:
        listener = self.host.at_path(path, self.kind)
        assert isinstance(listener, StreamSocket)
        if listener._backlog is None:
            raise refusal(errno.ECONNREFUSED)
        if listener._is_full:
            raise refusal(errno.EAGAIN)
        self.peername = listener.sockaddr
        listener._let_in(self)
        self._note("connects")

    def _set_out_for(self, address: tuple[str, int]) -> None:
        there = self.host.find(address[0])
        self._bind_somewhere(address[0])
        self.peername = LOOPBACK if address[0] == ANY else address[0], address[1]
        self._link = self.host.link_to(there)
        self._is_connecting = True
        self._send_item(_SYN)
        if self._is_connecting:
            attempt = self.peername
            self.network.at(self.network.now + _CONNECT_TIMEOUT, lambda: self._give_up(attempt))
            raise refusal(errno.EINPROGRESS)
        self._raise_trouble()

    def _knock(self, again: float = _KNOCKS_AGAIN) -> None:
        """We have got to where somebody should listen."""
        if self.is_closed or not self._is_connecting:
            return
        address, port = self.peername
        there = self.host.find(address)
        listeners = [
            sock
            for sock in there.those_at(self.kind, address, port)
            if isinstance(sock, StreamSocket) and sock._backlog is not None
        ]
        if not listeners:
            self._note("refused")
            there.link_to(self.host).carry(partial(self._fail_to_connect, errno.ECONNREFUSED))
            return
        # Those who share a port share its clients (SO_REUSEPORT).
        listener = min(listeners, key=lambda sock: len(sock._queue))
        if listener._is_full:
            self._note("finds the queue full")
            self.network.at(self.network.now + again, partial(self._knock, 2 * again))
            return
        listener._let_in(self)
        assert self.far is not None
        self.far._send_item(_ACCEPTED)

    def _give_up(self, attempt: object) -> None:
        if self.peername is attempt:
            self._fail_to_connect(errno.ETIMEDOUT)

    def _fail_to_connect(self, number: int) -> None:
        if self._is_connecting and not self.is_closed:
            self._is_connecting = False
            self._pipe.clear()
            self._held_since = None
            self.peername = None
            self.trouble = number
            self.changed()

    def _be_connected(self) -> None:
        if self.is_closed:  # it did not want to wait any longer
            self._send_item(_RESET)
            return
        self._is_connecting = False
        self.changed()

    # ---- what crosses

    def _send_item(self, item: _Item) -> None:
        """Send one thing after all that was sent before."""
        link = self._link
        if link is None:  # one machine: it is there
            self._land_item(item)
            return
        self._pipe.append(item)
        taken, lost = link.segment()
        if lost:
            self._note(f"{_shown(item)} lost {lost}x, sent again")
        due = self._last_due = max(self.network.now + taken, self._last_due)
        if len(self._pipe) == 1 and due <= self.network.now:
            self._land()
        else:
            self.network.at(due, self._land)

    def _land(self) -> None:
        """The way of the first thing in the pipe is over."""
        if not self._pipe:  # a reset, or despair, has emptied it
            return
        assert self._link is not None
        if self._link.is_cut:
            self._hold(self._link)
        else:
            self._land_item(self._pipe.popleft())

    def _hold(self, link: Link) -> None:
        if self._held_since is None:
            self._note("held up")
            self._held_since = since = self.network.now
            self.network.at(since + _SEND_TIMEOUT, lambda: self._despair(since))
        link.hold(self._set_out_again)

    def _despair(self, since: float) -> None:
        if self._held_since == since:
            self.break_off(errno.ETIMEDOUT)

    def _set_out_again(self) -> None:
        assert self._link is not None
        self._held_since = None
        due = self._last_due = max(self.network.now + self._link.segment()[0], self._last_due)
        self.network.at(due, self._land)

    def _land_item(self, item: _Item) -> None:
        if item == _SYN:
            self._note("connects")
            self._knock()
            return
        far = self.far
        assert far is not None
        self._note(_shown(item))
        if item == _ACCEPTED:
            far._be_connected()
        elif item == _RESET:
            far.break_off(errno.ECONNRESET)
        elif far.is_closed or far._is_broken:
            # To somebody who is no more, and who says so, unless both have said goodbye.
            if not self.is_closed and (far._is_broken or item != _END):
                far._send_item(_RESET)
        elif item == _END:
            far._has_ended = True
            far.changed()
        elif far._has_shut_reading and far.has_shut_writing and not self.is_unix:
            far.reset()  # there is nothing more to say
        else:
            assert isinstance(item, bytes)
            far._inbox += item
            far.changed()

    # ---- receiving

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Up to *size* bytes; ``b""`` at the end."""
        refuse_flags(flags)
        self._require_open()
        size = index(size)
        if self._inbox:
            data = bytes(self._inbox[:size])
            del self._inbox[: len(data)]
            self._make_room(len(data))
            return data
        if self._has_ended and not self.is_unix:
            return b""
        self._raise_trouble()
        if self.has_ended():
            return b""
        if self.far is None:
            raise refusal(errno.ENOTCONN)
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        """As :meth:`recv`, into *buffer*; how many bytes that were."""
        with memoryview(buffer) as whole, whole.cast("B") as room:
            data = self.recv(size or len(room), flags)
            room[: len(data)] = data
        return len(data)

    def _make_room(self, size: int) -> None:
        self._load -= size
        far = self.far
        if far is not None and far._sender_waits and self._room > 0:
            far._sender_waits = False
            far.changed()

    @property
    def _room(self) -> int:
        return self.capacity - self._load

    # ---- sending

    def send(self, data: bytes | bytearray | memoryview, flags: int = 0) -> int:
        """Send what there is room for, and say how much that was."""
        refuse_flags(flags)
        self._require_open()
        far = self.far
        if self.is_unix and far is not None and (far.is_closed or far._has_shut_reading):
            raise refusal(errno.EPIPE)  # what the other end has said is for those who read
        self._raise_trouble()
        if self.has_shut_writing or self._is_broken:
            raise refusal(errno.EPIPE)
        if far is None or self._is_connecting:
            raise refusal(errno.ENOTCONN)
        with memoryview(data) as whole, whole.cast("B") as all_of_it:
            fits = min(len(all_of_it), max(0, far._room))
            if not fits and len(all_of_it):
                self._sender_waits = True
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
            self._sender_waits = fits < len(all_of_it)
            far._load += fits
            most = fits if self._link is None else self._link.conditions.segment
            for begin in range(0, fits, max(1, most)):
                self._send_item(bytes(all_of_it[begin : min(begin + most, fits)]))
        return fits

    # ---- ending

    def shutdown(self, how: int) -> None:
        """End our half, or both, or stop listening."""
        self._require_open()
        if self._backlog is not None:
            self._stop_listening()
            return
        if self.far is None or self._is_over:
            raise refusal(errno.ENOTCONN)
        if how in (socket.SHUT_WR, socket.SHUT_RDWR) and not self.has_shut_writing:
            self.has_shut_writing = True
            self._send_item(_END)
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self._has_shut_reading = True
            self.changed()

    def _stop_listening(self) -> None:
        self._backlog = None
        if not self.is_unix:  # of UNIX those who wait can still be taken
            self._send_away()
        self.changed()

    def _send_away(self) -> None:
        while self._queue:
            sock = self._queue.popleft()
            sock.wants_reset = True
            sock.close()

    def _leave(self) -> None:
        if self._backlog is not None or self._queue:
            self._backlog = None
            self._send_away()
        if self._is_connecting and self._held_since is not None:
            self._pipe.clear()  # nobody knocks again for somebody who has left
        if self.far is None or self._is_broken or self._is_connecting:
            return
        if self._inbox or self.wants_reset:
            self._is_broken = True
            self._send_item(_RESET)  # for what was sent here in vain
        elif not self.has_shut_writing:
            self.has_shut_writing = True
            self._send_item(_END)

    def reset(self) -> None:
        """Break off at this end, and tell the other."""
        self.break_off(errno.ECONNRESET)
        self._send_item(_RESET)

    def break_off(self, number: int) -> None:
        """The connection is no more, at this end."""
        self._pipe.clear()
        if self.is_closed or self._is_broken:
            return
        # Linux has another word for a reset after the end: there was nothing to be read any more.
        is_late = number == errno.ECONNRESET and self._has_ended and not self.is_unix
        self.trouble = errno.EPIPE if is_late else number
        self._is_broken = True
        self._is_connecting = False
        self.changed()

    # ---- what is so

    def is_readable(self) -> bool:
        """Whether there are bytes, an end, an error or a connection."""
        if self._backlog is not None or self._queue:
            return bool(self._queue)
        return bool(self._inbox or self.has_ended() or self.trouble or self.peername is None)

    def is_writable(self) -> bool:
        """Whether there is room, or an error."""
        if self._is_connecting or self._backlog is not None:
            return False
        far = self.far
        if far is None or self._is_broken or self.trouble is not None or self.has_shut_writing:
            return True  # to try is to be told
        return far._room > 0 or (self.is_unix and far.is_closed)

    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self._has_ended or self._has_shut_reading or self._is_broken


def _shown(item: _Item) -> str:
    return item if isinstance(item, str) else f"{len(item)} bytes"
