"""How both contestants of asyncio run: on asyncio's own loop, or on uvloop's."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


def run(main: Coroutine[object, object, None], loop: str) -> None:
    if loop == "uvloop":
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
    else:
        asyncio.run(main)
