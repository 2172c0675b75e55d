"""The end of patience.  A real end of a process is in tests/real/test_stuck.py."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

import pytest
import trio

from trioservice import Application, MultiService, TaskService
from trioservice.process.exits import Exit
from trioservice.process.stuck import StopLimit


class Ended(BaseException):
    """Stands in for the end of the process, in the thread that ends it."""


async def stubborn() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(0.5)  # the line that keeps it


async def blocking() -> None:
    try:
        await trio.sleep_forever()
    finally:
        time.sleep(1.5)  # noqa: ASYNC251 - the very mistake


def life(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], object], timeout: float
) -> tuple[list[object], list[str]]:
    """What an application with a service that does *work* comes to, and what was said about it."""
    done: list[object] = []
    monkeypatch.setattr(os, "_exit", done.append)
    monkeypatch.setattr(logging, "shutdown", lambda: done.append("the log is closed"))
    leaf = TaskService(work, name="till")  # type: ignore[arg-type]
    app = Application("shop", MultiService(leaf, name="front"), shutdown_timeout=0, handle_signals=False)

    async def stop_it() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(app.main)
            await app.stop()

    with StopLimit(app, timeout, lambda: done.append("last words")):
        trio.run(stop_it)
    return done, [thread.name for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


@pytest.mark.parametrize(
    ("work", "where"), [(stubborn, "the line that keeps it"), (blocking, "the very mistake")]
)
def test_who_is_waited_for_and_where_it_is_is_told_before_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, work: Callable[[], object], where: str
) -> None:
    """Whether the event loop still turns or not."""
    done, _ = life(monkeypatch, work, 0.05)
    assert done == ["last words", "the log is closed", Exit.STUCK]
    first, second = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert first == (
        "shop: not stopped after 0.05 s, so the process is ended with status 79; "
        "it waited for shop/front/till"
    )
    assert where in second


def test_who_stops_in_time_is_left_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no thread stays behind."""
    done, timers = life(monkeypatch, stubborn, 3600)
    assert done == []
    assert timers == []
