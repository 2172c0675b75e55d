"""Hypercorn on trio: what there was for ASGI on trio."""

from __future__ import annotations

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_app

from . import BACKLOG, HOST
from .asgi_hello import app


def serve(transport: str, service: str, address: str, certificate: str) -> None:
    config = Config()
    config.bind = [f"{HOST}:{address}"]
    config.backlog = BACKLOG
    trio.run(serve_app, app, config)
