"""A UDP server: each datagram comes back, with a number that tells how many there were.

Run it:        trioservice run examples/06_udp_server.tac
Talk to it:    printf hello | nc -u -w1 127.0.0.1 7006
Stop it:       Ctrl-C
"""

from trioservice import Application, UDPServer


async def number(data, peer, server):
    count = server.statistics().received
    # Peers that have gone, and networks that refuse, need no `try`: that is one line of the log.
    await server.send(b"%d: %s" % (count, data), peer)


# No datagram of a sane client is longer; longer ones are dropped and counted.
application = Application("numbers", UDPServer(7006, number, host="127.0.0.1", max_datagram=1200, name="udp"))
