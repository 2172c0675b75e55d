"""The services as PEP 3156 writes them, for asyncio's Protocol and for our fast lane.

They inherit from nothing, so that our fast lane need not import asyncio.
"""

from __future__ import annotations

from typing import Any

from . import DOTS, MEBIBYTE


class Echo:
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def eof_received(self) -> None:
        pass  # and so the transport closes

    def connection_lost(self, error: Exception | None) -> None:
        pass

    def pause_writing(self) -> None:
        pass  # whoever does not read what he asked for is asked for nothing more

    def resume_writing(self) -> None:
        pass


class Sink(Echo):
    received = 0

    def data_received(self, data: bytes) -> None:
        chunks, self.received = divmod(self.received + len(data), MEBIBYTE)
        if chunks:
            self.transport.write(b"." * chunks)


class Source(Echo):
    def data_received(self, data: bytes) -> None:
        for _ in data:
            self.transport.write(DOTS)


class EchoDatagrams:
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, peer: Any) -> None:
        self.transport.sendto(data, peer)

    def error_received(self, error: Exception) -> None:
        pass

    def connection_lost(self, error: Exception | None) -> None:
        pass

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass


PROTOCOLS = {"echo": Echo, "sink": Sink, "source": Source}
