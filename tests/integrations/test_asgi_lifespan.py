"""A lifespan by itself; test_asgi has it around a server."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trioservice.integrations.asgi_lifespan import LifespanError, lifespan
from trioservice.integrations.asgi_messages import Receive, Scope, Send


async def test_it_waits_for_the_application_and_hands_out_its_state() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["x"] = 1
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        await send({"type": "lifespan.shutdown.complete"})
        await receive()  # some applications do, and wait for ever

    with trio.fail_after(5):
        async with lifespan(app, 0.1, pytest.fail) as state:
            assert state == {"x": 1}


async def test_a_cancelled_start_leaves_nothing_behind(autojump_clock: trio.testing.MockClock) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await trio.sleep_forever()

    with trio.move_on_after(1) as scope:
        async with lifespan(app, 5, pytest.fail):
            pytest.fail("it has not started")
    assert scope.cancelled_caught
    assert trio.current_time() < 10


async def test_an_application_that_goes_on_to_receive_after_its_last_word_holds_nobody_up(
    autojump_clock,
) -> None:
    """As the example of ASGI's specification does."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.{outcome}"})

    outcome = "complete"
    async with lifespan(app, 100, pytest.fail):
        pass
    assert trio.current_time() < 2
    outcome = "failed"
    with pytest.RaisesGroup(pytest.RaisesExc(LifespanError, match="could not start"), flatten_subgroups=True):
        async with lifespan(app, 100, pytest.fail):
            pytest.fail("it has not started")
    assert trio.current_time() < 4


async def test_a_failure_without_a_message_is_one_all_the_same() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.failed"})

    with pytest.RaisesGroup(
        pytest.RaisesExc(LifespanError, match="^the application could not start$"), flatten_subgroups=True
    ):
        async with lifespan(app, 1, pytest.fail):
            pytest.fail("it has not started")
