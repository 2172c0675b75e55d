"""A TCP server with a line protocol: limits, a peer's address, and a polite end."""

import logging

import trio

from trioservice import Application, TCPServer

log = logging.getLogger(__name__)

LONGEST_LINE = 1000  # bytes
PATIENCE = 30  # seconds to wait for a line


async def lines_of(stream):
    """The lines that come in, each without its end; what is left over at the end is no line."""
    waiting = bytearray()
    async for data in stream:
        waiting += data
        *lines, waiting = waiting.split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r").decode(errors="replace")
        if len(waiting) > LONGEST_LINE:
            raise ValueError(f"a line of more than {LONGEST_LINE} bytes")


async def shout(stream):
    host, port = stream.peer
    log.info("hello %s, port %d", host, port)
    with trio.move_on_after(PATIENCE) as patience:
        async for line in lines_of(stream):
            await stream.send_all(f"{line.upper()}\n".encode())
            patience.deadline = trio.current_time() + PATIENCE


server = TCPServer(
    7004,
    shout,
    host="127.0.0.1",
    name="shout",
    max_connections=100,
    drain_timeout=3,
)
application = Application("lines", server)
