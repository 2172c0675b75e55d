"""A UDP server in the fast lane: a protocol of asyncio's kind, called straight from the task that hears.

Run it:        trioservice run examples/15_udp_protocol.tac
Talk to it:    printf hello | nc -u -w1 127.0.0.1 7015
Stop it:       Ctrl-C
"""

from trioservice import Application, UDPServer
from trioservice.net.datagram_protocols import DatagramProtocol


class Number(DatagramProtocol):
    """Made once for each socket that the server is bound to; here, that is one."""

    def connection_made(self, transport):
        self.transport = transport
        self.count = 0

    def datagram_received(self, data, addr):
        self.count += 1
        self.transport.sendto(b"%d: %s" % (self.count, data), addr)


application = Application("numbers", UDPServer(7015, protocol=Number, host="127.0.0.1", name="udp"))
