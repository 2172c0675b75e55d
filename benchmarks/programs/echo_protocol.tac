"""The lifecycle of ours, with a protocol: ``trioservice run``."""

import os

from trioservice import Application, TCPServer


class Echo:
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def eof_received(self):
        pass

    def connection_lost(self, error):
        pass

    def pause_writing(self):
        pass

    def resume_writing(self):
        pass


server = TCPServer(int(os.environ["PORT"]), protocol=Echo, host="127.0.0.1", backlog=1024, drain_timeout=0)
application = Application("echo", server)
