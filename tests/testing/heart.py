"""A tree with something of everything, by which a mistake in the heart itself would show."""

from __future__ import annotations

import trio

from trioservice import (
    Application,
    MultiService,
    Service,
    ServicesFailed,
    ServiceStateError,
    State,
    TaskService,
    TCPServer,
    TreeError,
    current_service,
)


class Slow(Service):
    """Becomes ready in its time, and goes in its time."""

    cleanup = 0.3

    async def run(self, task_status):
        try:
            await trio.sleep(0.5)
            task_status.started()
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(self.cleanup, shield=True):
                await trio.sleep_forever()


class Slower(Slow):
    """Takes most of the time that all have together."""

    cleanup = 3.5


class Drained(Slow):
    """Has something to finish, and knows whose that is."""

    async def drain(self):
        assert current_service() is self
        await trio.sleep(1)


class Endless(Slow):
    """Would never have finished."""

    async def drain(self):
        await trio.sleep_forever()


class Chief(Service):
    """Does what is refused, or goes wrong, and sees that nothing has come of it."""

    async def run(self, task_status):
        task_status.started()
        await trio.sleep(1)
        try:
            await self.hire_a_failure()
            self.hire_a_namesake()
            await self.start_a_colleague_twice()
            await trio.sleep_forever()
        finally:
            self.hire_too_late()

    async def hire_a_failure(self):
        before = list(self.parent)
        try:
            await self.parent.start_service(TaskService(fails, name="failure"))
        except ServicesFailed:
            assert list(self.parent) == before

    def hire_a_namesake(self):
        namesake = Service(name="colleague")
        try:
            self.parent.add_service(namesake)
        except TreeError:
            assert namesake.parent is None

    async def start_a_colleague_twice(self):
        colleague = self.parent["colleague"]
        if colleague.running:
            try:
                await colleague.main()
            except ServiceStateError:
                return
            raise AssertionError("it has a second life")

    def hire_too_late(self):
        if self.parent.state is State.STOPPING:
            try:
                self.parent.add_service(Service(name="latecomer"))
            except ServiceStateError:
                return
            raise AssertionError("somebody was hired while all went")


async def fails(task_status):
    await trio.sleep(0.1)
    raise ValueError("nobody would hire it")


class Leaver(Service):
    """Stops itself, again and again, and does not wait for that."""

    async def run(self, task_status):
        task_status.started()
        await trio.sleep(2)
        await self.stop()
        await trio.sleep_forever()

    async def drain(self):
        with trio.move_on_after(1) as patience:
            await self.stop()
        assert not patience.cancelled_caught


async def echo(stream):
    async for data in stream:
        await stream.send_all(data)


def tree() -> Application:
    """Leaves and branches, slow and quick, with drains and without, and one that finishes."""
    return Application(
        "heart",
        Slow(name="slow", start_timeout=2, stop_timeout=0.1),
        MultiService(
            Drained(name="one"), Slower(name="two", start_timeout=1), Drained(name="three"), name="inner"
        ),
        TCPServer(80, echo, name="door"),
        TCPServer(81, echo, name="back door"),
        MultiService(TaskService(trio.sleep, 4), TaskService(trio.sleep, 8, name="nap"), name="brief"),
        MultiService(TaskService(trio.sleep, 1), keep_running=True, name="kept"),
        MultiService(Chief(name="chief"), Service(name="colleague"), name="office"),
        MultiService(Leaver(name="leaver"), Service(name="rest"), name="departures"),
        MultiService(
            Endless(name="endless", drain_timeout=2), Endless(name="too"), name="bound", drain_timeout=3
        ),
        shutdown_timeout=4,
    )
