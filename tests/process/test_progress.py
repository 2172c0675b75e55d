"""Whom a start or a stop waits for, in a line."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trioservice import Application, MultiService, Service, TaskService
from trioservice.process.progress import progress


class Slow(Service):
    """Takes its time to start, to drain and to clean up, and says what it has to finish."""

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        await trio.sleep(10)
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(deadline=trio.current_time() + 10, shield=True):
                await trio.sleep_forever()

    async def drain(self) -> None:
        await trio.sleep_forever()

    @property
    def in_progress(self) -> str:
        return "3 connections"


def shop(drain_timeout: float | None = 40, shutdown_timeout: float | None = None) -> Application:
    front = MultiService(Slow(name="web", drain_timeout=drain_timeout), name="front")
    return Application(
        "shop", TaskService(trio.sleep_forever, name="db"), front, shutdown_timeout=shutdown_timeout
    )


def said(app: Application) -> str:
    return progress(app, trio.current_time())


async def test_the_innermost_that_is_not_done_is_named(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A branch waits for its children, so it is they whom a person wants to hear of."""
    app = shop()
    assert said(app) == "stopped"
    nursery.start_soon(app.main)
    await trio.sleep(1)
    assert said(app) == "starting shop/front/web"
    await trio.sleep(10)
    assert said(app) == "running"
    nursery.start_soon(app.stop)
    await trio.sleep(10)
    assert said(app) == "waiting for shop/front/web: 3 connections, 30 s left"
    await trio.sleep(35)
    assert said(app) == "waiting for shop/front/web: 3 connections"  # the drain is cut


@pytest.mark.parametrize(
    ("own", "whole", "left"), [(40, 20, ", 19 s left"), (20, 40, ", 19 s left"), (None, None, "")]
)
async def test_the_time_that_is_left_is_the_least_that_anybody_grants(
    nursery: trio.Nursery,
    autojump_clock: trio.testing.MockClock,
    own: float | None,
    whole: float | None,
    left: str,
) -> None:
    """Without a limit there is none to tell."""
    app = shop(own, whole)
    await nursery.start(app.main)
    nursery.start_soon(app.stop)
    await trio.sleep(1)
    assert said(app) == f"waiting for shop/front/web: 3 connections{left}"
    nursery.cancel_scope.cancel()


async def test_before_and_after_the_children_it_is_the_branch_itself(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """An application that binds, for one."""

    class Binding(Service):
        async def privileged_start(self, stack: object) -> None:
            await trio.sleep(5)

    app = Application("shop", Binding())
    nursery.start_soon(app.main)
    await trio.sleep(1)
    assert said(app) == "starting shop"
    nursery.cancel_scope.cancel()


async def test_of_several_that_stop_it_is_the_one_whose_turn_it_is(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """The first was stopped by itself, and nobody waits for it until the last has gone."""
    first, last = Slow(name="first", drain_timeout=60), Slow(name="last", drain_timeout=5)
    app = Application("shop", first, last)
    await nursery.start(app.main)
    nursery.start_soon(first.stop)
    await trio.sleep(1)
    nursery.start_soon(app.stop)
    await trio.sleep(1)
    assert said(app).startswith("waiting for shop/last: ")
    nursery.cancel_scope.cancel()
