"""A client of lines.tac: it looks whom it has met, talks, and stays connected."""

import logging

import trio

from trioservice import Application
from trioservice.net.clients import TCPClient
from trioservice.retry import Retry

log = logging.getLogger(__name__)


async def introduce(stream):
    """Called first on each connection; to raise is to decline it."""
    with trio.fail_after(5):
        await stream.send_all(b"ping\n")
        if await stream.receive_some() != b"PING\n":
            raise ValueError("this server does not shout")


async def call(stream):
    """Then this one has the connection, until it returns or the connection breaks."""
    while True:
        await stream.send_all(b"dinner is ready\n")
        answer = await stream.receive_some()
        if not answer:
            return  # the server has ended the connection
        log.info("heard %s", answer.decode().strip())
        await trio.sleep(10)


kitchen = TCPClient(
    "127.0.0.1",
    7004,
    call,
    prepare=introduce,
    retry=Retry(delay=0.5, delay_max=10),
    name="call",
)
application = Application("kitchen", kitchen)
