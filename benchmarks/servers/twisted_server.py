"""Twisted, with the reactor that it chooses by itself: on Linux, epoll."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from . import BACKLOG, DOTS, HOST, MEBIBYTE


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Sink(Protocol):
    received = 0

    def dataReceived(self, data: bytes) -> None:
        chunks, self.received = divmod(self.received + len(data), MEBIBYTE)
        if chunks:
            self.transport.write(b"." * chunks)


class Source(Protocol):
    def dataReceived(self, data: bytes) -> None:
        for _ in data:
            self.transport.write(DOTS)


class EchoDatagrams(DatagramProtocol):
    def datagramReceived(self, data: bytes, peer: tuple[str, int]) -> None:
        self.transport.write(data, peer)


PROTOCOLS = {"echo": Echo, "sink": Sink, "source": Source}


def serve(transport: str, service: str, address: str, certificate: str) -> None:
    if transport == "udp":
        reactor.listenUDP(int(address), EchoDatagrams(), interface=HOST)
        reactor.run()
        return
    factory = Factory.forProtocol(PROTOCOLS[service])
    factory.noisy = False
    if transport == "unix":
        reactor.listenUNIX(address, factory, backlog=BACKLOG)
    elif transport == "tls":
        from twisted.internet.ssl import PrivateCertificate

        with open(certificate, encoding="ascii") as file:
            options = PrivateCertificate.loadPEM(file.read()).options()
        reactor.listenSSL(int(address), factory, options, backlog=BACKLOG, interface=HOST)
    else:
        reactor.listenTCP(int(address), factory, backlog=BACKLOG, interface=HOST)
    reactor.run()
