"""Ours, for files; with ``afresh``, nothing is kept in memory."""

from __future__ import annotations

from trioservice import Application
from trioservice.plugins.web import StaticSite
from trioservice.process.runner import run

from . import BACKLOG, HOST
from .static_files import folder


def serve(transport: str, service: str, address: str, certificate: str, memory: str = "") -> None:
    endpoint = f"tcp:{address}:interface={HOST}:backlog={BACKLOG}"
    options = {"memory": 0} if memory == "afresh" else {}
    run(
        lambda: Application(
            "benchmark", StaticSite(folder(certificate), endpoint, drain_timeout=0, **options)
        )
    )
