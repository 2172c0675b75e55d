"""asyncio's streams: a task, a reader and a writer for each connection."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter

from . import BACKLOG, DOTS, HOST, MEBIBYTE
from .asyncio_loops import run


async def echo(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def sink(reader: StreamReader, writer: StreamWriter) -> None:
    received = 0
    while data := await reader.read(65536):
        chunks, received = divmod(received + len(data), MEBIBYTE)
        if chunks:
            writer.write(b"." * chunks)
            await writer.drain()
    writer.close()


async def source(reader: StreamReader, writer: StreamWriter) -> None:
    while requests := await reader.read(65536):
        for _ in requests:
            writer.write(DOTS)
            await writer.drain()
    writer.close()


HANDLERS = {"echo": echo, "sink": sink, "source": source}


def serve(transport: str, service: str, address: str, certificate: str, loop: str = "asyncio") -> None:
    run(main(transport, service, address, certificate), loop)


async def main(transport: str, service: str, address: str, certificate: str) -> None:
    handler = HANDLERS[service]
    if transport == "unix":
        server = await asyncio.start_unix_server(handler, address, backlog=BACKLOG)
    elif transport == "tls":
        from .certificates import context

        secured = context(certificate)
        server = await asyncio.start_server(handler, HOST, int(address), backlog=BACKLOG, ssl=secured)
    else:
        server = await asyncio.start_server(handler, HOST, int(address), backlog=BACKLOG)
    await server.serve_forever()
