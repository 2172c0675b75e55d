"""Datagrams on one machine: a counter in which programs count, through a file.

UNIX datagrams are neither lost nor mixed up: whoever sends waits while the server is busy. The mode of the
file says who may send.

Run it:        trioservice run examples/08_unix_datagram.tac
Talk to it:    printf apples | socat -t1 - UNIX-SENDTO:$PWD/counter.sock,bind=me.sock
Stop it:       Ctrl-C
"""

import logging
from collections import Counter

import trio

from trioservice import Application, TaskService, UNIXDatagramClient, UNIXDatagramServer

log = logging.getLogger(__name__)
path = "counter.sock"  # in the folder where this is run
counts = Counter()


async def count(data, peer, server):
    counts[data] += 1
    if peer:  # a client that has no name of its own does not want an answer
        await server.send(b"%d %s" % (counts[data], data), peer)


async def hear(data, peer, client):
    log.info("the counter says: %s", data.decode())


async def pick():
    for fruit in (b"pears", b"apples", b"pears"):
        await client.send(fruit)
        await trio.sleep(0.1)


client = UNIXDatagramClient(path, hear, name="client")
application = Application(
    "counter", UNIXDatagramServer(path, count, mode=0o600, name="counter"), client, TaskService(pick)
)
