"""uvicorn, with the quicker of its parsers; the loop is asyncio's, or uvloop."""

from __future__ import annotations

import uvicorn

from . import BACKLOG, HOST
from .asgi_hello import app


def serve(transport: str, service: str, address: str, certificate: str, loop: str = "asyncio") -> None:
    uvicorn.run(
        app,
        host=HOST,
        port=int(address),
        backlog=BACKLOG,
        http="httptools",
        loop=loop,  # type: ignore[arg-type]
        access_log=False,
        log_level="critical",
    )
