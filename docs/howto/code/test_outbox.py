"""Tests of a service, under a clock that jumps ahead whenever everybody sleeps."""

import pytest
import trio
import trio.testing

from trioservice import Application, Service, StartTimeoutError, State
from trioservice.events import DrainCut


class Outbox(Service):
    """The service under test: it sends what it has before it goes."""

    async def run(self, task_status):
        self.sent = []
        self.put, letters = trio.open_memory_channel(100)
        async with self.put, letters:
            task_status.started()
            async for letter in letters:
                await trio.sleep(2)
                self.sent.append(letter)

    async def drain(self):
        self.put.close()
        await trio.sleep_forever()


@pytest.mark.trio
async def test_it_sends_what_it_has(nursery, autojump_clock):
    outbox = Outbox(drain_timeout=10)
    await nursery.start(outbox.main)
    await outbox.put.send("letter")

    await outbox.stop()

    assert outbox.sent == ["letter"]
    assert outbox.state is State.STOPPED


@pytest.mark.trio
async def test_its_drain_has_an_end(nursery, autojump_clock):
    outbox = Outbox(drain_timeout=3)
    application = Application("test", outbox, handle_signals=False)
    events = []
    application.subscribe(events.append)
    await nursery.start(application.main)
    for letter in "abc":
        await outbox.put.send(letter)

    await application.stop()

    assert outbox.sent == ["a"]
    assert [event.path for event in events if isinstance(event, DrainCut)] == ["test/Outbox"]


@pytest.mark.trio
async def test_a_slow_start_fails(autojump_clock):
    class Slow(Service):
        async def run(self, task_status):
            await trio.sleep_forever()

    with pytest.RaisesGroup(StartTimeoutError):
        await Slow(start_timeout=60).main()
