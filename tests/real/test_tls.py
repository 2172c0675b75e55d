"""TLS servers in a process of their own, and OpenSSL's client, which knows nothing of Python."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from certificates import certificate, stranger, write_authority, write_pair, write_pem
from programs import Process, foreign, running, trioservice

from .support import IMPORTS, LIMIT, LOCAL, write

pytestmark = pytest.mark.real

NAME = "shop.example"

# Answers one line by what the handler knows of the connection, and ends it.
FACTS = (
    IMPORTS
    + """
from trioservice.net.servers import SSLServer
from trioservice.net.tls import CertificateFiles, CertificateFolder

async def handler(stream):
    await stream.receive_some()
    shown = (stream.getpeercert() or {}).get("subjectAltName")
    facts = stream.version(), stream.selected_alpn_protocol(), stream.server_name, shown
    await stream.send_all(f"facts: {facts}\\n".encode())

certificates = %s
server = SSLServer(0, handler, certificates, host="127.0.0.1", name="srv", handshake_timeout=5)
application = Application("app", server)
"""
)


@contextmanager
def serving(folder: Path, certificates: str) -> Iterator[Process]:
    """The server, with the files that *certificates* may name."""
    write_pair(folder, certificate(NAME))
    write_authority(folder / "ca.crt")
    with running(trioservice("run", write(folder, FACTS % certificates)), cwd=folder) as app:
        app.port("app/srv")
        yield app


def s_client(app: Process, folder: Path, *options: str | Path) -> tuple[str, str]:
    """What OpenSSL's client prints, and what it complains of."""
    command = [
        *(foreign("openssl"), "s_client", "-connect", f"{LOCAL}:{app.port('app/srv')}"),
        *("-CAfile", folder / "ca.crt", "-verify_return_error", "-quiet", *options),
    ]
    got = subprocess.run(command, input=b"hello\n", capture_output=True, timeout=LIMIT)
    return got.stdout.decode(), got.stderr.decode()


def names_seen(app: Process, folder: Path, *options: str | Path) -> set[str]:
    """The names in the certificate that OpenSSL's client is shown."""
    command = [foreign("openssl"), "s_client", "-connect", f"{LOCAL}:{app.port('app/srv')}", *options]
    client = subprocess.run(command, input=b"", capture_output=True, timeout=LIMIT)
    show = [foreign("openssl"), "x509", "-noout", "-ext", "subjectAltName"]
    shown = subprocess.run(show, input=client.stdout, capture_output=True, timeout=LIMIT, check=True)
    return set(re.findall(r"DNS:([^\s,]+)", shown.stdout.decode()))


@pytest.mark.parametrize(("option", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_both_versions_are_spoken_and_ended_in_order(tmp_path: Path, option: str, version: str) -> None:
    """The client verifies us, gets its answer, and hears TLS's own end."""
    with serving(tmp_path, "CertificateFiles('server.crt', 'server.key')") as app:
        out, err = s_client(app, tmp_path, option, "-verify_hostname", NAME)
        assert out == f"facts: ('{version}', None, None, None)\n", err
        assert "unexpected eof" not in err
        assert app.stops() == -15
        assert "Traceback" not in app.err


def test_old_versions_are_refused_and_told_so(tmp_path: Path) -> None:
    """TLS 1.1 gets an alert, and so does 1.2 where 1.3 is demanded."""
    usage = subprocess.run([foreign("openssl"), "s_client", "-help"], capture_output=True, timeout=LIMIT)
    if b"-tls1_1" in usage.stderr:
        with serving(tmp_path, "CertificateFiles('server.crt', 'server.key')") as app:
            out, err = s_client(app, tmp_path, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
            assert out == ""
            assert "alert protocol version" in err
            app.says(r"INFO +app/srv: connection from \S+ got no further than its handshake: .*unsupported")
    only_13 = "CertificateFiles('server.crt', 'server.key', minimum_version='1.3')"
    with serving(tmp_path, only_13) as app:
        assert "alert protocol version" in s_client(app, tmp_path, "-tls1_2")[1]
        assert "TLSv1.3" in s_client(app, tmp_path)[0]


def test_the_name_that_is_asked_for_chooses_the_certificate(tmp_path: Path) -> None:
    """Known names, a wildcard, and one that nobody has."""
    folder = tmp_path / "hosts"
    folder.mkdir()
    for file, name in (("one.example", "one.example"), ("_.wild.example", "*.wild.example")):
        write_pem(folder / f"{file}.pem", certificate(name))
    with serving(tmp_path, "CertificateFolder('hosts')") as app:
        assert names_seen(app, tmp_path, "-servername", "one.example") == {"one.example"}
        assert names_seen(app, tmp_path, "-servername", "A.Wild.example") == {"*.wild.example"}
        assert "'one.example'" in s_client(app, tmp_path, "-servername", "one.example")[0]
        for asked in (["-servername", "three.example"], ["-servername", "../one"], ["-noservername"]):
            out, err = s_client(app, tmp_path, *asked)
            assert out == ""
            assert "unrecognized name" in err
        app.says(r"handshake: it asked for 'three\.example', and there is no certificate for that")
        app.says(r"handshake: it asked for '\.\./one', and")
        app.says(r"handshake: it asked for no name, and")
        assert "Traceback" not in app.err


def test_a_client_shows_its_certificate(tmp_path: Path) -> None:
    """The right one is known to the handler; a stranger's and none are refused and told so."""
    cert, key = write_pair(tmp_path, certificate("client.example"), "client")
    bad_cert, bad_key = write_pair(tmp_path, certificate("client.example", by=stranger()), "bad")
    demanding = "CertificateFiles('server.crt', 'server.key', client_ca='ca.crt')"
    with serving(tmp_path, demanding) as app:
        assert "'client.example'" in s_client(app, tmp_path, "-cert", cert, "-key", key)[0]
        for version in ("-tls1_2", "-tls1_3"):
            out, err = s_client(app, tmp_path, version, "-cert", bad_cert, "-key", bad_key)
            assert (out, "alert unknown ca" in err) == ("", True), err
            out, err = s_client(app, tmp_path, version)
            assert out == ""
            assert re.search("alert (certificate required|handshake failure)", err), err
        app.says(r"INFO +app/srv: .* got no further than its handshake: .*certificate verify failed", 2)
        app.says(r"INFO +app/srv: .* got no further than its handshake: .*did not return a certificate", 2)


def test_the_server_chooses_among_the_protocols_that_are_offered(tmp_path: Path) -> None:
    """In its own order."""
    both = "CertificateFiles('server.crt', 'server.key', alpn=('h2', 'http/1.1'))"
    with serving(tmp_path, both) as app:
        assert "'h2'" in s_client(app, tmp_path, "-alpn", "http/1.1,h2")[0]
        assert "'http/1.1'" in s_client(app, tmp_path, "-alpn", "http/1.1")[0]
        assert "None" in s_client(app, tmp_path, "-alpn", "ftp")[0]


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 5000, b"\n"]
)
def test_garbage_by_netcat_is_one_line(tmp_path: Path, garbage: bytes) -> None:
    """And the next client is served."""
    with serving(tmp_path, "CertificateFiles('server.crt', 'server.key')") as app:
        command = [foreign("nc"), "-N", LOCAL, str(app.port("app/srv"))]
        subprocess.run(command, input=garbage, capture_output=True, timeout=LIMIT)
        app.says(r"got no further than its handshake")
        assert "facts" in s_client(app, tmp_path)[0]
        assert app.err.count("connection from") == 1  # L16
        assert "Traceback" not in app.err  # L16


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(tmp_path: Path) -> None:
    """A service that waits at a terminal nobody looks at would never start, and never say why."""
    _, key = write_pair(tmp_path, certificate(NAME))
    locked = tmp_path / "locked.key"
    command = [foreign("openssl"), "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    write(tmp_path, FACTS % "CertificateFiles('server.crt', 'locked.key')")
    # `script` gives it a terminal, where OpenSSL would ask.
    argv = " ".join(trioservice("run", tmp_path / "app.tac"))
    with running([foreign("script"), "-qec", argv, "/dev/null"], cwd=tmp_path) as app:
        assert app.ends() != 0
        assert "PEM pass phrase" not in app.out
        assert re.search(r"app/srv: the private key in \S+/locked\.key is encrypted", app.out)
