"""ASGI's lifespan: an application is told that its server starts, and that it stops.

The application's part is one task, which lives longer than all requests: it is shielded from the
server's cancellation, so that it can put away what it holds when nobody uses it any more, and from
then on the shield has an end.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from ..errors import ServiceError, users_frames
from ..events import Event
from ..records import record
from .asgi_messages import ASGIApplication, Message, Scope

__all__ = ["LifespanCut", "LifespanError", "LifespanIgnored", "lifespan"]


class LifespanError(ServiceError):
    """An application says that it cannot start, or that it could not stop.

    If it has raised as well, that is the ``__cause__``, and where it did so is told.
    """

    def __str__(self) -> str:
        cause = self.__cause__
        if cause is None:
            return super().__str__()
        frames = users_frames(cause.__traceback__).format()
        return "\n".join([super().__str__(), *frames, *getattr(cause, "__notes__", ())]).rstrip()


@record
class LifespanIgnored(Event):
    """An application has raised *error* when told to start; it is served all the same, as ASGI says."""

    error: Exception

    @property
    def level(self) -> int:
        """It may not have made what its requests need."""
        return logging.WARNING

    def __str__(self) -> str:
        said = f"{type(self.error).__name__}: {self.error}"
        return f"the application raised {said} when it was told to start, and is served without a lifespan"


@record
class LifespanCut(Event):
    """An application was told to stop, did not say that it has, and was cut off."""

    @property
    def level(self) -> int:
        """It may have had something to put away."""
        return logging.WARNING

    def __str__(self) -> str:
        return "the application did not end its lifespan in time, and was cut off"


@asynccontextmanager
async def lifespan(
    app: ASGIApplication, patience: float, tell_ignored: Callable[[Exception | None], object]
) -> AsyncIterator[dict[str, Any]]:
    """For the length of an ``async with``, let *app* know that its server runs.

    Args:
        app: one that does not know what a lifespan is may raise, or return, when it is asked.
        patience: seconds for its ``lifespan.shutdown``.
        tell_ignored: is called with what it raised after it was told to start, without having said more;
            and with ``None`` if its task had to be cut.

    Returns:
        what the application wants each request to know, its *state*.

    Raises:
        LifespanError: the application says that it has failed.
    """
    course = _Lifespan(app, tell_ignored)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(course.run)
        try:
            await course.started.wait()
            if course.failure is not None:
                raise course.failure
            yield course.state
        finally:
            course.stop(patience)
    if course.failure is not None:
        raise course.failure


# An application that has said its last word may go on to receive, as ASGI's own example does, for so long.
_LAST_WAIT = 1.0


class _Lifespan:
    """One application's, from ``lifespan.startup`` to ``lifespan.shutdown.complete``."""

    def __init__(self, app: ASGIApplication, tell_ignored: Callable[[Exception | None], object]) -> None:
        self._app = app
        self._tell_ignored = tell_ignored
        self._scope = trio.CancelScope(shield=True)
        self._stopping = trio.Event()
        self._told = 0
        self._has_begun = False  # the application knows what a lifespan is
        self._has_ended = False  # and has said so
        self.state: dict[str, Any] = {}
        self.started = trio.Event()
        self.failure: Exception | None = None

    async def run(self) -> None:
        """Be the application's task."""
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            with self._scope:
                await self._app(scope, self._receive, self._send)
        except Exception as error:
            if self.failure is not None:  # it has said so, and this is why
                self.failure.__cause__ = error
            elif self._has_begun:
                raise
            elif self._told:
                self._tell_ignored(error)
        finally:
            self.started.set()
        if self._scope.cancelled_caught and self._has_begun and not self._has_ended:
            self._tell_ignored(None)

    def stop(self, patience: float) -> None:
        """Let it end."""
        self._end_within(patience if self.failure is None else min(patience, _LAST_WAIT))
        self._stopping.set()

    def _end_within(self, seconds: float) -> None:
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + seconds)

    async def _receive(self) -> Message:
        self._told += 1
        if self._told == 1:
            await trio.lowlevel.checkpoint()
            return {"type": "lifespan.startup"}
        await self._stopping.wait()
        if self._told > 2 or self.failure is not None:
            await trio.sleep_forever()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        match message["type"]:
            case "lifespan.startup.complete":
                self._has_begun = True
                self.started.set()
            case "lifespan.startup.failed":
                self.failure = LifespanError(_said("could not start", message))
                self.started.set()
            case "lifespan.shutdown.complete":
                self._has_ended = True
                self._end_within(_LAST_WAIT)
            case "lifespan.shutdown.failed":
                self._has_ended = True
                self.failure = LifespanError(_said("could not stop as it should", message))
                self._end_within(_LAST_WAIT)


def _said(what: str, message: Message) -> str:
    """In one line: some applications send a whole traceback."""
    lines = str(message.get("message", "")).strip().splitlines()
    return f"the application {what}" + (f": {lines[-1]}" if lines else "")
