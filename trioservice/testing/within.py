"""An application that runs for as long as a block of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ..application import Application
from .clocks import is_virtual
from .contract import check_contract
from .diary import Diary

__all__ = ["running"]


@asynccontextmanager
async def running(app: Application) -> AsyncIterator[Application]:
    """Have *app* ready within the block, stop it in the end, and judge its life by the contract.

    ::

        async with running(app):
            stream = await trio.open_tcp_stream("localhost", 80)

    On a host of a simulated network, it has to be entered there: ``with network.on("shop"):`` around it.
    What is raised in the block comes out in a group, as out of every nursery, and the life is not judged.

    Raises:
        AssertionError: a rule was broken.
        ServicesFailed: services failed.
    """
    diary = Diary(app)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        yield app
        await app.stop()
    breaches = check_contract(diary.events, slack=0 if is_virtual(trio.lowlevel.current_clock()) else 1)
    assert not breaches, "\n".join(map(str, breaches))
