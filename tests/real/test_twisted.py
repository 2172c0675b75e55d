"""Files that were written for twistd, run by `trioservice run` as they are.

The first three are the listings of Twisted's page about its Application framework, in the spelling of
today's Twisted, with ports that are free.
"""

from __future__ import annotations

import re
import socket
import struct
import urllib.request
from pathlib import Path

import pytest
from programs import outcome, running, trioservice

from .support import LOCAL, ask, connect, is_refused, write

pytestmark = pytest.mark.real

ECHO = """
from twisted.application import internet, service
from twisted.internet import protocol, reactor

class Echo(protocol.Protocol):
    def dataReceived(self, data):
        if data == b"fail":
            raise ValueError("a mistake of mine")
        if data == b"stop":
            reactor.callLater(0, reactor.stop)
        self.transport.write(data)

class EchoFactory(protocol.Factory):
    protocol = Echo

port = {port}
factory = EchoFactory()

# this is the important bit
application = service.Application("echo")  # create the Application
echoService = internet.TCPServer(port, factory) # create the service
# add the service to the application
echoService.setServiceParent(application)
"""

WEB = """
import os
from twisted.application import service, internet
from twisted.web import static, server

def getWebService():
    # create a resource to serve static files
    fileServer = server.Site(static.File(os.getcwd()))
    return internet.TCPServer({port}, fileServer)

# this is the core part of any tac file, the creation of the root-level
# application object
application = service.Application("Demo application")

# attach the service to its parent application
service = getWebService()
service.setServiceParent(application)
"""

DNS = """
from twisted.application import internet, service
from twisted.names import server, dns, hosts

port = {port}

# Create a MultiService, and hook up a TCPServer and a UDPServer to it as
# children.
dnsService = service.MultiService()
hostsResolver = hosts.Resolver('/etc/hosts')
tcpFactory = server.DNSServerFactory([hostsResolver])
internet.TCPServer(port, tcpFactory).setServiceParent(dnsService)
udpFactory = dns.DNSDatagramProtocol(tcpFactory)
internet.UDPServer(port, udpFactory).setServiceParent(dnsService)

# Create an application as normal
application = service.Application("DNSExample")

# Connect our MultiService to the application, just like a normal service.
dnsService.setServiceParent(application)
"""


def with_port(folder: Path, text: str) -> tuple[Path, int]:
    """A file of *text*, with a port that was free a moment ago."""
    with socket.socket() as attempt:
        attempt.bind((LOCAL, 0))
        port = attempt.getsockname()[1]
    return write(folder, text.format(port=port)), port


def test_the_echo_of_twisteds_page_runs_and_stops(tmp_path: Path) -> None:
    path, port = with_port(tmp_path, ECHO)
    with running(trioservice("run", path)) as app:
        app.says(r"echo/twisted: EchoFactory starting on \d+")
        app.says(r"echo: running")
        with connect(port) as client:
            assert ask(client, b"hello") == b"hello"
            assert app.stops() == -15
        app_log = re.findall(r" (echo\S*): stopped", app.err)
        assert app_log == ["echo/twisted", "echo"]  # L6
        assert "Traceback" not in app.err
    assert is_refused(port)


def test_a_mistake_in_a_callback_has_the_path_of_its_service_and_ends_one_connection(tmp_path: Path) -> None:
    path, port = with_port(tmp_path, ECHO)
    with running(trioservice("run", path)) as app:
        app.says(r"echo: running")
        with connect(port) as client:
            client.sendall(b"fail")
            assert client.recv(100) == b""
        app.says(r"CRITICAL echo/twisted: Unhandled Error\n(.*\n)+.*ValueError: a mistake of mine")
        with connect(port) as client:
            assert ask(client, b"hello") == b"hello"
        assert app.stops() == -15


def test_reactor_stop_in_their_code_ends_the_application(tmp_path: Path) -> None:
    path, port = with_port(tmp_path, ECHO)
    with running(trioservice("run", path)) as app:
        app.says(r"echo: running")
        with connect(port) as client:
            client.sendall(b"stop")
            assert app.ends() == 0
        assert "echo/twisted: finished" in app.err


def test_the_static_web_of_twisteds_page_serves_its_folder(tmp_path: Path) -> None:
    path, port = with_port(tmp_path, WEB)
    with running(trioservice("run", path), cwd=tmp_path) as app:
        app.says(r"Demo application: running")
        with urllib.request.urlopen(f"http://{LOCAL}:{port}/{path.name}", timeout=20) as answer:
            assert answer.read() == path.read_bytes()
        assert app.stops() == -15
        assert "Traceback" not in app.err


def test_the_dns_of_twisteds_page_knows_this_host(tmp_path: Path) -> None:
    path, port = with_port(tmp_path, DNS)
    question = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + b"\x09localhost\x00" + struct.pack("!2H", 1, 1)
    with running(trioservice("run", path)) as app, socket.socket(type=socket.SOCK_DGRAM) as client:
        app.says(r"DNSExample: running")
        client.settimeout(20)
        client.sendto(question, (LOCAL, port))
        assert socket.inet_aton("127.0.0.1") in client.recv(512)
        with connect(port) as stream:
            stream.sendall(struct.pack("!H", len(question)) + question)
            assert socket.inet_aton("127.0.0.1") in stream.recv(512)
        assert app.stops() == -15
        assert "Traceback" not in app.err


def test_plan_draws_it(tmp_path: Path) -> None:
    path, _ = with_port(tmp_path, ECHO)
    status, out, _ = outcome(trioservice("plan", path))
    assert status == 0
    assert re.match(r"echo .*\n└─ twisted  \(TwistedService", out)


def test_a_file_that_has_chosen_another_reactor_is_told_so(tmp_path: Path) -> None:
    choice = "from twisted.internet import epollreactor\nepollreactor.install()\n"
    path, _ = with_port(tmp_path, choice + ECHO)
    status, _, err = outcome(trioservice("run", path))
    assert status == 65
    assert "trioservice: Twisted has one reactor per process, and it is EPollReactor" in err
    assert "Traceback" not in err
