"""PROXY headers from programs that nobody here wrote."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from programs import foreign, running, trioservice

from .support import IMPORTS, LIMIT, write

pytestmark = pytest.mark.real

# An HTTP server of three lines, which answers with the client that it sees and the first line that it hears.
WHO = (
    IMPORTS
    + """
async def who(stream):
    request = await stream.receive_some()
    body = f"{stream.peer[0]} {stream.local[1]} {request.splitlines()[0].decode()}"
    await stream.send_all(f"HTTP/1.0 200 OK\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}".encode())

srv = StreamServer("haproxy:tcp:0:interface=127.0.0.1", who, name="srv")
application = Application("app", srv)
"""
)


def curl(*args: str) -> tuple[int, str]:
    argv = [foreign("curl"), "--silent", "--max-time", str(LIMIT), *args]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT)
    return done.returncode, done.stdout


def test_curl_introduces_itself_by_a_proxy_header(tmp_path: Path) -> None:
    """`curl --haproxy-protocol` is heard, and its request begins where its header ends."""
    with running(trioservice("run", write(tmp_path, WHO))) as app:
        port = app.port("app/srv")
        status, answer = curl("--haproxy-protocol", f"http://127.0.0.1:{port}/hello")
        assert (status, answer) == (0, f"127.0.0.1 {port} GET /hello HTTP/1.1")
        assert app.stops() == -15


def test_curl_without_a_header_is_turned_away_at_once(tmp_path: Path) -> None:
    """A browser that came past the proxy is one line in the log, and gets no answer."""
    with running(trioservice("run", write(tmp_path, WHO))) as app:
        port = app.port("app/srv")
        status, answer = curl(f"http://127.0.0.1:{port}/")
        assert status != 0
        assert answer == ""
        line = app.says(r"app/srv: connection from 127\.0\.0\.1:\d+ got no further than its handshake: .*")[0]
        assert "PROXY" in line
        assert curl("--haproxy-protocol", f"http://127.0.0.1:{port}/")[0] == 0  # L16
        assert app.stops() == -15
        assert "Traceback" not in app.err  # L16
