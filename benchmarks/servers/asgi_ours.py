"""Ours, for ASGI."""

from __future__ import annotations

from trioservice import Application
from trioservice.integrations.asgi import ASGIServer
from trioservice.process.runner import run

from . import BACKLOG, HOST
from .asgi_hello import app


def serve(transport: str, service: str, address: str, certificate: str) -> None:
    endpoint = f"tcp:{address}:interface={HOST}:backlog={BACKLOG}"
    run(lambda: Application("benchmark", ASGIServer(app, endpoint, drain_timeout=0)))
