"""aiomisc's services; it runs on uvloop where that is installed, and so it does here."""

from __future__ import annotations

from asyncio import StreamReader, StreamWriter

import aiomisc
from aiomisc.service import TCPServer, TLSServer, UDPServer

from . import HOST
from .asyncio_streams import HANDLERS


class Streams(TCPServer):
    async def handle_client(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self.handler(reader, writer)


class SecuredStreams(TLSServer):
    async def handle_client(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self.handler(reader, writer)


class Datagrams(UDPServer):
    async def handle_datagram(self, data: bytes, addr: tuple[str, int]) -> None:
        self.sendto(data, addr)


def serve(transport: str, service: str, address: str, certificate: str) -> None:
    place = {"address": HOST, "port": int(address)}
    if transport == "udp":
        server = Datagrams(**place)
    elif transport == "tls":
        pair = {"cert": certificate, "key": certificate}
        server = SecuredStreams(handler=HANDLERS[service], **place, **pair, ca=None)
    else:
        server = Streams(handler=HANDLERS[service], **place)
    with aiomisc.entrypoint(server, log_config=False) as loop:
        loop.run_forever()
