"""What the tests of the web share: a folder, a site of it, and a client that says exactly what it is told."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from net.http_support import Answer, Client
from net.support import connect, running

from trioservice.plugins.web import StaticSite

HELLO = b"hello, world\n"


def filled(folder: Path) -> Path:
    """A site with something of everything, and a secret beside it."""
    site = folder / "site"
    for name in ("empty", "docs/deep", ".hidden", ".well-known"):
        (site / name).mkdir(parents=True)
    (site / "hello.txt").write_bytes(HELLO)
    (site / "docs/index.html").write_bytes(b"<p>docs</p>")
    (site / "docs/deep/a b.css").write_bytes(b"p {}")
    (site / ".hidden/key").write_bytes(b"secret")
    (site / ".env").write_bytes(b"secret")
    (site / ".well-known/security.txt").write_bytes(b"Contact: us\n")
    (site / "large.bin").write_bytes(os.urandom(1_000_000))
    (folder / "outside.txt").write_bytes(b"secret")
    (site / "out").symlink_to(folder / "outside.txt")
    (site / "outfolder").symlink_to(folder)
    (site / "within").symlink_to("hello.txt")
    (site / "nowhere").symlink_to("nothing")
    os.mkfifo(site / "pipe")
    return site


@asynccontextmanager
async def serving(site: Path, **options) -> AsyncIterator[Client]:
    """A client of a site that runs."""
    server = StaticSite(site, "tcp:0:interface=127.0.0.1", **options)
    async with running(server), await connect(server.addresses[0]) as stream:
        yield Client(stream)


async def get(client: Client, path: str | bytes, *headers: str, method: str = "GET") -> Answer:
    """What the site answers."""
    path = path.encode() if isinstance(path, str) else path
    lines = b"".join(header.encode() + b"\r\n" for header in headers)
    await client.say(method.encode() + b" " + path + b" HTTP/1.1\r\nHost: here\r\n" + lines + b"\r\n")
    return await client.hear(head_only=method == "HEAD")
