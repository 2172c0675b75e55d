"""Clients of a UNIX socket and of a TLS server, with a small server for each.

    pairs
    ├─ clock            tells the time to whoever connects to a UNIX socket
    ├─ vault            tells a secret, over TLS only
    ├─ watch            a UNIX client: it knows which process it speaks to, as the kernel vouches for it
    └─ spy              a TLS client: it believes only a server whose certificate it can verify

Run it:        trioservice run examples/13_unix_and_ssl_clients.tac
Talk to it:    socat - ABSTRACT-CONNECT:example-13
               openssl s_client -quiet -connect 127.0.0.1:7013
Stop it:       Ctrl-C
"""

import logging
import ssl
import subprocess
import tempfile

import trio

from trioservice import Application, SSLClient, SSLServer, UNIXClient, UNIXServer
from trioservice.net.tls import client_context
from trioservice.retry import Retry

log = logging.getLogger(__name__)


def contexts():
    """Of a server with a certificate made for this run, and of a client that trusts this one alone."""
    with tempfile.TemporaryDirectory() as folder:
        cert, key = f"{folder}/localhost.crt", f"{folder}/localhost.key"
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost"
        extensions = ("subjectAltName=DNS:localhost", "keyUsage=digitalSignature,keyCertSign")
        added = [word for extension in extensions for word in ("-addext", extension)]
        subprocess.run(
            [*command.split(), *added, "-out", cert, "-keyout", key], check=True, capture_output=True
        )
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(cert, key)
        return server, client_context(trust_roots=cert)


async def tell_time(stream):
    await stream.send_all(b"it is %d\n" % trio.current_time())


async def tell_secret(stream):
    await stream.send_all(b"the secret is 42\n")


async def listen(stream):
    """The handler of both clients: a connection is over when the server has said what it has to say."""
    async for data in stream:
        log.info("%s says: %s", stream.peer, data.decode().strip())


servers, clients = contexts()
now_and_then = Retry(delay=5, factor=1)  # also how soon to come back after a connection that went well

application = Application(
    "pairs",
    UNIXServer("@example-13", tell_time, name="clock"),  # the @ makes it a name instead of a file
    SSLServer(7013, tell_secret, servers, host="127.0.0.1", name="vault"),
    UNIXClient("@example-13", listen, retry=now_and_then, name="watch"),
    # The context says whom to trust; without it, those whom the system trusts.  That the certificate is
    # for "localhost" is verified too, and there is no quiet way to verify nothing.
    SSLClient("localhost", 7013, listen, clients, retry=now_and_then, name="spy"),
)
