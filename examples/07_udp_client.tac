"""A UDP client: it asks a server for the time until it is told.

A datagram may be lost, so whoever wants an answer asks again. The server here, on port 7006, loses every
second question to show it.

Run it:        trioservice run examples/07_udp_client.tac
Stop it:       Ctrl-C
"""

import logging

import trio

from trioservice import Application, TaskService, UDPClient, UDPServer

log = logging.getLogger(__name__)
port = 7006


async def forgetful(data, peer, server):
    if server.statistics().received % 2 == 0:
        await server.send(b"12:00, as you ask in your %s" % data, peer)


async def hear(data, peer, client):
    log.info("the time is %s", data.decode())
    answered.set()


async def ask():
    for attempt in range(1, 6):
        await client.send(b"question %d" % attempt)
        with trio.move_on_after(0.5):
            await answered.wait()
            return
    raise TimeoutError("nobody answers")


answered = trio.Event()
server = UDPServer(port, forgetful, host="127.0.0.1", name="server")
client = UDPClient("127.0.0.1", port, hear, name="client")

# In this order: when the client starts, the server is ready, and when anybody asks, both are.
application = Application("time", server, client, TaskService(ask))
