"""An application that runs for as long as a block of a test, and is judged in the end."""

from __future__ import annotations

import pytest
import trio

from trioservice import Application, MultiService, Service, ServicesFailed, TaskService
from trioservice.testing import running


async def test_it_is_ready_within_and_gone_after(autojump_clock) -> None:
    app = Application("app", Service(name="one"), handle_signals=False)
    async with running(app) as same:
        assert same is app
        assert app["one"].running
    assert not app["one"].running


async def test_what_fails_comes_out(autojump_clock) -> None:
    async def fails() -> None:
        await trio.sleep(1)
        raise KeyError("nobody")

    app = Application("app", TaskService(fails), handle_signals=False)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with running(app):
            await trio.sleep_forever()
    assert caught.group_contains(ServicesFailed)


async def test_a_broken_rule_is_an_assertion(autojump_clock) -> None:
    class Liar(Service):
        def __init__(self) -> None:
            super().__init__(name="liar", stop_timeout=1)

        async def run(self, task_status) -> None:
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                with trio.move_on_after(10, shield=True):
                    await trio.sleep_forever()

    app = Application("app", Liar(), handle_signals=False)
    app._events.emit = _without("StopOverdue", app._events.emit)  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="L11: app/liar stayed after its cancellation; told 0 times"):
        async with running(app):
            pass


class Lingering(Service):
    async def drain(self) -> None:
        await trio.sleep_forever()


async def test_nobody_has_to_be_punctual_by_a_real_clock() -> None:
    brief = [MultiService(TaskService(trio.sleep, 0.01), name=f"brief {number}") for number in range(5)]
    app = Application("app", *brief, Lingering(name="lingering", drain_timeout=0.02), handle_signals=False)
    async with running(app):
        await trio.sleep(0.03)


def _without(kind: str, emit):
    return lambda event: None if type(event).__name__ == kind else emit(event)
