"""The services as trio writes them, for raw trio's streams and for ours."""

from __future__ import annotations

import trio

from . import DOTS, MEBIBYTE


async def echo(stream: trio.abc.Stream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def sink(stream: trio.abc.Stream) -> None:
    received = 0
    async for data in stream:
        chunks, received = divmod(received + len(data), MEBIBYTE)
        if chunks:
            await stream.send_all(b"." * chunks)


async def source(stream: trio.abc.Stream) -> None:
    async for requests in stream:
        for _ in requests:
            await stream.send_all(DOTS)


HANDLERS = {"echo": echo, "sink": sink, "source": source}
