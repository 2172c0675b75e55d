"""The socket at which systemd listens to a service: sd_notify(3), its side of the wire.

One datagram is one message, lines of ``NAME=value``.  Nobody answers.  So whatever goes wrong here must not
matter to the service: nothing blocks, nothing raises, and what is wrong is logged, once.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from contextlib import suppress

__all__ = ["NotifySocket"]

logger = logging.getLogger("trioservice")


class NotifySocket:
    """Sends messages to systemd.

    It is connected as it is made, because a process that has moved into a new root, or has become another
    user, may not reach the address any more.

    Args:
        address: the value of ``NOTIFY_SOCKET``: a path, or ``@name`` for an abstract name.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._unsent: deque[str] = deque()
        self._socket: socket.socket | None = None
        self._trouble: Exception | None = None  # kept for the first message: as this is made, there is no log
        self._has_complained = False
        try:
            self._socket = _connected(address)
        except (OSError, ValueError) as error:
            self._trouble = error

    @property
    def is_behind(self) -> bool:
        """Whether something is still to be sent, since systemd was slow to read."""
        return bool(self._unsent)

    def send(self, message: str) -> None:
        """Send *message*; if systemd does not take it now, keep it until :meth:`catch_up`."""
        self._unsent.append(message)
        self.catch_up()

    def send_if_free(self, message: str) -> None:
        """Send *message* unless others are waiting: one that is as good, or better, will come later."""
        self.catch_up()
        if not self.is_behind:
            self.send(message)

    def catch_up(self) -> None:
        """Send what is waiting, as far as that can be done."""
        with suppress(BlockingIOError):
            while self._unsent:
                self._deliver(self._unsent[0])
                self._unsent.popleft()

    def close(self) -> None:
        """There is nothing more to say."""
        self._unsent.clear()
        if self._socket is not None:
            self._socket.close()

    def _deliver(self, message: str) -> None:
        if self._socket is None:
            self._complain()
            return
        try:
            self._socket.send(message.encode("utf-8", "replace"))
        except BlockingIOError:
            raise
        except OSError as error:
            self._trouble = error
            self._complain()

    def _complain(self) -> None:
        if not self._has_complained:
            self._has_complained = True
            logger.warning("systemd cannot be told: NOTIFY_SOCKET=%s: %s", self._address, self._trouble)


def _connected(address: str) -> socket.socket:
    if not address.startswith(("/", "@")) or len(address) < 2:
        raise ValueError("it has to be a path from the root, or @ and a name")
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.connect("\0" + address[1:] if address.startswith("@") else address)
    except BaseException:
        made.close()
        raise
    return made
