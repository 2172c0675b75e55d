"""asyncio's protocols: callbacks from the loop, without a task."""

from __future__ import annotations

import asyncio

from . import BACKLOG, HOST
from .asyncio_loops import run
from .protocols import PROTOCOLS, EchoDatagrams


def serve(transport: str, service: str, address: str, certificate: str, loop: str = "asyncio") -> None:
    run(main(transport, service, address, certificate), loop)


async def main(transport: str, service: str, address: str, certificate: str) -> None:
    loop = asyncio.get_running_loop()
    protocol = PROTOCOLS[service]
    if transport == "udp":
        await loop.create_datagram_endpoint(EchoDatagrams, local_addr=(HOST, int(address)))
        await asyncio.Event().wait()
    elif transport == "unix":
        server = await loop.create_unix_server(protocol, address, backlog=BACKLOG)
    elif transport == "tls":
        from .certificates import context

        secured = context(certificate)
        server = await loop.create_server(protocol, HOST, int(address), backlog=BACKLOG, ssl=secured)
    else:
        server = await loop.create_server(protocol, HOST, int(address), backlog=BACKLOG)
    await server.serve_forever()
