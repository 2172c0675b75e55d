"""What trio itself offers: ``serve_tcp`` and its kin, and a loop over ``recvfrom`` for datagrams."""

from __future__ import annotations

import socket
from functools import partial

import trio

from . import BACKLOG, HOST
from .task_handlers import HANDLERS


def serve(transport: str, service: str, address: str, certificate: str) -> None:
    if transport == "udp":
        trio.run(echo_datagrams, int(address))
        return
    handler = HANDLERS[service]
    if transport == "unix":
        trio.run(serve_unix, handler, address)
    elif transport == "tls":
        from .certificates import context

        secured = partial(trio.serve_ssl_over_tcp, host=HOST, backlog=BACKLOG)
        trio.run(secured, handler, int(address), context(certificate))
    else:
        trio.run(partial(trio.serve_tcp, handler, int(address), host=HOST, backlog=BACKLOG))


async def serve_unix(handler: object, path: str) -> None:
    listener = trio.socket.socket(socket.AF_UNIX)
    await listener.bind(path)
    listener.listen(BACKLOG)
    await trio.serve_listeners(handler, [trio.SocketListener(listener)])


async def echo_datagrams(port: int) -> None:
    sock = trio.socket.socket(type=socket.SOCK_DGRAM)
    await sock.bind((HOST, port))
    while True:
        data, peer = await sock.recvfrom(65536)
        await sock.sendto(data, peer)
