"""A TCP server in the fast lane: a protocol of asyncio's kind, called straight from the server's event poll.

It numbers the lines that come, for each connection from 1.

Run it:        trioservice run examples/14_protocol.tac
Talk to it:    printf 'apples\npears\n' | nc -q1 127.0.0.1 7014
Stop it:       Ctrl-C
"""

from trioservice import Application, TCPServer

LONGEST_LINE = 1000  # bytes


class NumberLines:
    """Made once for each connection."""

    def connection_made(self, transport):
        self.transport = transport
        self.count = 0
        self.rest = b""  # of a line whose end has not come yet

    def data_received(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.count += 1
            self.transport.write(b"%d: %s\n" % (self.count, line))
        if len(self.rest) > LONGEST_LINE:
            raise ValueError(f"a line of more than {LONGEST_LINE} bytes")  # the end of this connection only


application = Application("lines", TCPServer(7014, protocol=NumberLines, host="127.0.0.1", name="front"))
