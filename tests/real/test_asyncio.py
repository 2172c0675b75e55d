"""Two that Twisted's page names as typical services, by asyncio's libraries: an FTP server, an SSH client.

The FTP server's clients are curl and lftp; the SSH client's server is OpenSSH's, itself a leaf.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import aioftp
import asyncssh
import pytest
import trio
from programs import foreign

from trioservice import Application, ProcessService, TaskService
from trioservice.events import StateChanged
from trioservice.integrations.asyncio import AsyncioService
from trioservice.lifecycle import State

pytestmark = pytest.mark.real


class FilesByFTP:
    """An FTP server for one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0

    async def serve(self, task_status: trio.TaskStatus[int]) -> None:
        user = aioftp.User(base_path=self.folder)
        server = aioftp.Server([user], path_io_factory=aioftp.PathIO)
        await server.start("127.0.0.1", 0)
        self.port = server.server.sockets[0].getsockname()[1]
        task_status.started(self.port)
        try:
            await asyncio.Event().wait()
        finally:
            await server.close()


async def output_of(*command: str, data: bytes = b"") -> bytes:
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, stdin=data, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_an_ftp_server_is_a_leaf(tmp_path: Path) -> None:
    curl, lftp = foreign("curl"), foreign("lftp")
    (tmp_path / "menu.txt").write_text("soup\n")
    ftp = FilesByFTP(tmp_path)
    app = Application("app", AsyncioService(ftp.serve, name="ftp"), handle_signals=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        url = f"ftp://127.0.0.1:{ftp.port}"
        with trio.fail_after(30):
            assert await output_of(curl, "-sS", f"{url}/menu.txt") == b"soup\n"
            await output_of(curl, "-sS", "-T", "-", f"{url}/new.txt", data=b"stew\n")
            assert (tmp_path / "new.txt").read_text() == "stew\n"
            listing = await output_of(lftp, "-c", f"set net:max-retries 1; open {url}; cls -1; cat new.txt")
            assert listing.split() == [b"menu.txt", b"new.txt", b"stew"]
        await app.stop()
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", ftp.port)


def sshd(folder: Path, port: int) -> ProcessService:
    """OpenSSH's server, for whoever has the key in *folder*."""
    program = foreign("sshd")
    for name in ("host", "key"):
        command = [foreign("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    config = folder / "config"
    config.write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/key.pub\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\n"
    )
    if os.getuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # Debian's wants it, and a container has none
    ready = f"Server listening on 127.0.0.1 port {port}"
    return ProcessService([program, "-D", "-e", "-f", str(config)], ready=ready, name="sshd")


async def test_an_ssh_client_is_a_leaf_that_needs_its_server(tmp_path: Path) -> None:
    """The server is ready first and stopped last, so the client can say goodbye."""
    with trio.socket.socket() as attempt:
        await attempt.bind(("127.0.0.1", 0))
        port = attempt.getsockname()[1]
    said: list[str] = []

    async def ssh(task_status: trio.TaskStatus[None]) -> None:
        async with asyncssh.connect(
            "127.0.0.1", port, client_keys=[str(tmp_path / "key")], known_hosts=None, config=None
        ) as connection:
            said.append(str((await connection.run("echo hello", check=True)).stdout))
            task_status.started()
            try:
                await asyncio.Event().wait()
            finally:
                said.append(str((await connection.run("echo goodbye", check=True)).stdout))

    app = Application(
        "app",
        sshd(tmp_path, port),
        AsyncioService(ssh, name="ssh"),
        TaskService(trio.sleep_forever, name="last"),
        handle_signals=False,
    )
    changes: list[tuple[str, State]] = []
    app.subscribe(
        lambda event: changes.append((event.path, event.new)) if isinstance(event, StateChanged) else None
    )
    async with trio.open_nursery() as nursery:
        with trio.fail_after(30):
            await nursery.start(app.main)
            await app.stop()
    assert said == ["hello\n", "goodbye\n"]
    running = [path for path, state in changes if state is State.RUNNING]
    stopped = [path for path, state in changes if state is State.STOPPED]
    assert running == ["app/sshd", "app/ssh", "app/last", "app"]  # L5
    assert stopped == ["app/last", "app/ssh", "app/sshd", "app"]  # L6
