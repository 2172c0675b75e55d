"""Another program in the tree: a file server in Python's own library, and a service that needs it.

    office
    ├─ files      the program; ready when it says that it serves
    └─ reader     starts after that, and asks it

Run it:        trioservice run examples/17_program.tac
See it:        curl http://127.0.0.1:7017/
Stop it:       Ctrl-C; the reader stops first, then the program is sent SIGTERM, and awaited
"""

import logging
import sys
from pathlib import Path

import trio

from trioservice import Application, ProcessService, TaskService

log = logging.getLogger(__name__)

files = ProcessService(
    # -u, since a program whose output goes into a pipe would keep the line that we wait for to itself.
    [sys.executable, "-u", "-m", "http.server", "7017", "--bind", "127.0.0.1"],
    name="files",
    cwd=Path(__file__).parent / "menu",
    ready="Serving HTTP",
    start_timeout=10,
)


async def reader():
    """It need not try again and again: what it asks is there."""
    async with await trio.open_tcp_stream("127.0.0.1", 7017) as stream:
        await stream.send_all(b"GET /today.txt HTTP/1.0\r\n\r\n")
        answer = b"".join([data async for data in stream])
    log.info("today: %s", answer.rpartition(b"\r\n\r\n")[2].decode().split())
    await trio.sleep_forever()


application = Application("office", files, TaskService(reader))
