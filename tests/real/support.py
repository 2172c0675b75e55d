"""Applications as files, and clients without trio."""

from __future__ import annotations

import socket
from pathlib import Path

LOCAL = "127.0.0.1"
LIMIT = 20.0

IMPORTS = "import logging\nimport trio\nfrom trioservice import *\n"

ECHO = (
    IMPORTS
    + """
async def echo(stream):
    async for data in stream:
        await stream.send_all(data)

application = Application("app", TCPServer(0, echo, host="127.0.0.1", name="srv"))
"""
)

# A request is two lines: after the first it is in flight, and the second is what it waits for.
TWO_LINES = (
    IMPORTS
    + """
async def handler(stream):
    one = await stream.receive_some()
    logging.warning("in flight")
    two = await stream.receive_some()
    await stream.send_all(one + two)

server = TCPServer(0, handler, host="127.0.0.1", name="srv", drain_timeout=3600)
application = Application("app", server, shutdown_timeout=3600)
"""
)


def write(folder: Path, text: str, name: str = "app.tac") -> Path:
    """A file of *text* in *folder*."""
    path = folder / name
    path.write_text(text)
    return path


def connect(port: int) -> socket.socket:
    """A client."""
    return socket.create_connection((LOCAL, port), timeout=LIMIT)


def ask(client: socket.socket, question: bytes, size: int | None = None) -> bytes:
    """Send *question* and wait for an answer of *size* (by default its own) bytes, or the end."""
    client.sendall(question)
    answer = b""
    while len(answer) < (len(question) if size is None else size):
        more = client.recv(65536)
        if not more:
            break
        answer += more
    return answer


def is_refused(port: int) -> bool:
    """Whether nobody listens there."""
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False
