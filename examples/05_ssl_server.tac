"""A TLS server: it tells each client how their connection is protected.

Run it:        trioservice run examples/05_ssl_server.tac
Talk to it:    printf 'hello\n' | openssl s_client -quiet -connect 127.0.0.1:7005
Stop it:       Ctrl-C

OpenSSL's client complains "self-signed certificate", and it is right: the server has made its certificate
itself, and nobody vouches for it.  That will do to try TLS, and for nothing else.
"""

import shutil
import ssl
import subprocess
import tempfile

from trioservice import Application, SSLServer


async def tell(stream):
    greeting = await stream.receive_some()
    name, version, bits = stream.cipher()
    await stream.send_all(greeting + f"We speak {version}, by {name} with {bits} bits.\n".encode())


def self_signed():
    """A context with a certificate made for this run; its key is kept in memory only."""
    if shutil.which("openssl") is None:
        raise RuntimeError("this example needs the program openssl for its certificate: apt install openssl")
    with tempfile.TemporaryDirectory() as folder:
        cert, key = f"{folder}/localhost.crt", f"{folder}/localhost.key"
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost"
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        subprocess.run(
            [*command.split(), "-addext", names, "-out", cert, "-keyout", key],
            check=True,
            capture_output=True,
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
    return context


# This is the important bit.  With a certificate of your own, CertificateFiles("shop.crt", "shop.key") from
# trioservice.net.tls takes the place of self_signed(), and can be renewed while the server runs.
server = SSLServer(7005, tell, self_signed(), host="127.0.0.1", name="tls")
application = Application("safe", server)
