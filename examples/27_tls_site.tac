"""A web site over TLS, whose certificate is renewed while connections stay open.

    site
    └─ web              listens on port 7027

Run it:           trioservice run examples/27_tls_site.tac
Look at it:       curl --insecure https://127.0.0.1:7027/menu/today.txt
Renew:            kill -HUP to the process, and ask again: curl -vk shows another "expire date" and serial
Stop it:          Ctrl-C; what is being sent is sent to its end

A program such as certbot would write the files, and tell the server by `trioservice reload`.  Here the
application itself makes a certificate, for which nobody vouches.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from trioservice import Application
from trioservice.plugins.web import StaticSite

folder = Path(tempfile.mkdtemp(prefix="tls-site-"))
certificate, key = folder / "site.crt", folder / "site.key"


def renew(application=None):
    """Write a new certificate and its key, as whoever you have them from would."""
    if shutil.which("openssl") is None:
        raise RuntimeError("this example needs the program openssl for its certificate: apt install openssl")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run(
        [*command.split(), "-addext", names, "-out", certificate, "-keyout", key],
        check=True,
        capture_output=True,
    )


renew()

web = StaticSite(
    Path(__file__).parent,
    f"ssl:7027:interface=127.0.0.1:certKey={certificate}:privateKey={key}",
    name="web",
)

# A reload first calls on_reload; then the site reads its files again.
application = Application("site", web, on_reload=renew)
