"""The lifecycle of Twisted: ``twistd -noy``."""

import os

from twisted.application.internet import TCPServer
from twisted.application.service import Application
from twisted.internet.protocol import Factory, Protocol


class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


application = Application("echo")
server = TCPServer(int(os.environ["PORT"]), Factory.forProtocol(Echo), backlog=1024, interface="127.0.0.1")
server.setServiceParent(application)
