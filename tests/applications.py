"""An application around the services of a test: ready when it begins with them, stopped at its end."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import trio

from trioservice import Application, Service, current_service
from trioservice.events import Event

E = TypeVar("E", bound=Event)


class Events(list[Event]):
    """All that happened, in order."""

    def of(self, kind: type[E]) -> list[E]:
        """Those of one kind."""
        return [event for event in self if isinstance(event, kind)]


class Hear(logging.Handler):
    """A handler that keeps what is logged, and the path of the service in whose name."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str | None, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        leaf = current_service()
        self.said.append((leaf.path if leaf else None, self.format(record)))


@asynccontextmanager
async def running(
    *services: Service, within: float = math.inf, keep_running: bool = True, **options: Any
) -> AsyncIterator[tuple[Application, Events]]:
    """An application named ``app`` of *services*, and what happens in it.

    Args:
        services: its children.
        within: seconds that the start may take, and the stop.
        keep_running: as for an application; here one is there until the test has seen what it wants.
        options: more arguments of the application.
    """
    app = Application("app", *services, handle_signals=False, keep_running=keep_running, **options)
    events = Events()
    app.subscribe(events.append)
    async with trio.open_nursery() as nursery:
        with trio.fail_after(within):
            await nursery.start(app.main)
        yield app, events
        with trio.fail_after(within):
            await app.stop()
