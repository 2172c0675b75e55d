"""Clients that are not ours, at UNIX sockets; and servers that are not ours, in our way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from programs import foreign, outcome, running, trioservice, until

from .support import IMPORTS, LIMIT, write

pytestmark = pytest.mark.real


def app(endpoint: str, name: str = "srv") -> str:
    """An application that answers in capitals at *endpoint*."""
    return (
        IMPORTS
        + f"""
async def shout(stream):
    async for data in stream:
        await stream.send_all(data.upper())

application = Application("app", StreamServer({endpoint!r}, shout, name={name!r}))
"""
    )


def through(argv: list[str], said: bytes) -> bytes:
    """What a client program prints, when *said* is its input."""
    return subprocess.run(argv, input=said, capture_output=True, timeout=LIMIT, check=True).stdout


def test_socat_and_nc_are_answered_at_a_path(tmp_path: Path) -> None:
    """Both ends of the conversation are seen by both, and the file goes with the server."""
    socat, nc = foreign("socat"), foreign("nc")
    path = tmp_path / "s"
    with running(trioservice("run", write(tmp_path, app(f"unix:{path}:mode=660")))) as server:
        server.says(rf"app/srv: listening on {path}\n")
        assert path.stat().st_mode & 0o777 == 0o660
        assert through([socat, "-t10", "-", f"UNIX-CONNECT:{path}"], b"hello") == b"HELLO"
        assert through([nc, "-U", "-N", str(path)], b"hello") == b"HELLO"
        assert server.stops() == -signal.SIGTERM
        assert "Traceback" not in server.err
    assert [name for name in os.listdir(tmp_path) if name.startswith("s")] == []


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_socat_is_answered_at_an_abstract_name(tmp_path: Path) -> None:
    """What we write as @name is socat's ABSTRACT name."""
    socat = foreign("socat")
    name = f"trioservice-real-{os.getpid()}"
    with running(trioservice("run", write(tmp_path, app(f"unix:@{name}")))) as server:
        server.says(rf"app/srv: listening on @{name}\n")
        assert through([socat, "-t10", "-", f"ABSTRACT-CONNECT:{name}"], b"hello") == b"HELLO"


def test_a_path_that_socat_listens_on_is_refused_and_socat_is_not_disturbed(tmp_path: Path) -> None:
    """It has no lock, and would serve one client only, which must not be us."""
    socat, path = foreign("socat"), tmp_path / "s"
    with running([socat, f"UNIX-LISTEN:{path}", "PIPE"]) as other:
        until(path.exists, "socat listens")
        status, out, err = outcome(trioservice("run", write(tmp_path, app(f"unix:{path}"))))
        assert (status, out) == (69, "")
        assert f"app/srv: cannot listen on {path}: Address already in use; a server listens there" in err
        assert "Traceback" not in err
        assert other.alive
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT)
            client.connect(str(path))
            client.sendall(b"hello")
            assert client.recv(10) == b"hello"


def test_a_second_copy_is_refused_and_a_killed_first_one_is_succeeded(tmp_path: Path) -> None:
    """The message names the process; after SIGKILL the files that it left are no obstacle."""
    path = tmp_path / "s"
    file = write(tmp_path, app(f"unix:{path}"))
    with running(trioservice("run", file)) as first:
        first.says(r"app: running")
        status, _, err = outcome(trioservice("run", file))
        assert status == 69
        assert f"process {first.pid} has it; stop that one or choose another path" in err
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT)
            client.connect(str(path))
            client.sendall(b"hello")
            assert client.recv(10) == b"HELLO"
        first.stops(signal.SIGKILL)
    assert path.exists()
    with running(trioservice("run", file)) as second:
        second.says(r"app: running")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT)
            client.connect(str(path))
            client.sendall(b"hello")
            assert client.recv(10) == b"HELLO"
        second.stops()
    assert not path.exists()
    assert not Path(f"{path}.lock").exists()


def test_a_missing_folder_is_one_line_with_path_and_hint(tmp_path: Path) -> None:
    """As every address that cannot be had."""
    file = write(tmp_path, app(f"unix:{tmp_path}/no/s"))
    status, out, err = outcome(trioservice("run", file))
    assert status != 0
    assert out == ""
    assert f"app/srv: cannot listen on {tmp_path}/no/s: No such file or directory; there is no folder" in err
    assert "Traceback" not in err
