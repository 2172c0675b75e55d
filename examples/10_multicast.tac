"""Multicast: services find each other, without a server that knows them all.

Whoever looks for a clock asks the group; every clock answers the one who asked.

Run it:        trioservice run examples/10_multicast.tac
Talk to it:    printf 'clock?' | socat -t1 - UDP4-DATAGRAM:239.255.70.10:7010,ip-multicast-if=127.0.0.1
Stop it:       Ctrl-C
"""

import logging

from trioservice import Application, MulticastServer, TaskService

log = logging.getLogger(__name__)
group = "239.255.70.10"
port = 7010


async def answer(data, peer, server):
    if data == b"clock?":
        await server.send(b"%s is a clock" % server.name.encode(), peer)


async def hear(data, peer, server):
    log.info("found: %s", data.decode())


async def seek():
    await seeker.send(b"clock?", (group, port))


# Two members share the port, and both hear the question. Here the group is on the loopback interface, for
# everybody on this machine; with interface="eth0", or none, it is the local network's.
clocks = [
    MulticastServer(port, answer, groups=[group], host="0.0.0.0", interface="127.0.0.1", name=name)
    for name in ("tower", "kitchen")
]
seeker = MulticastServer(0, hear, host="0.0.0.0", interface="127.0.0.1", name="seeker")

application = Application("clocks", *clocks, seeker, TaskService(seek))
