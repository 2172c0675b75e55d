"""Small applications that look odd, and keep every promise: `trioservice check` is silent."""

from __future__ import annotations

import random

import trio

from trioservice import Application, MultiService, Service, TaskService, TCPServer, TimerService, UDPServer
from trioservice.retry import Retry

IDLE = trio.sleep_forever


def app(*services, **options) -> Application:
    return Application("shop", TaskService(IDLE, name="first"), *services, **options)


def nothing_at_all():
    """An application without services."""
    return Application("empty")


def all_have_finished():
    """Everything is done before anybody looks."""
    return Application("brief", TaskService(trio.sleep, 0), TaskService(trio.sleep, 0.1))


def long_farewell():
    """It needs ten seconds behind a shield, and says so."""

    async def work():
        try:
            await IDLE()
        finally:
            with trio.move_on_after(10, shield=True):
                await IDLE()

    return app(TaskService(work, stop_timeout=20))


def cancelled_and_raised_again():
    """It catches its cancellation, and lets it go on."""

    async def work():
        try:
            await IDLE()
        except trio.Cancelled:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise

    return app(TaskService(work))


def stops_itself():
    """It asks for its own end."""

    class Tired(Service):
        async def run(self, task_status):
            task_status.started()
            await trio.sleep(3)
            await self.stop()
            await IDLE()

    return app(Tired())


def stops_everybody():
    """It asks for the end of the application."""

    class Chief(Service):
        async def run(self, task_status):
            task_status.started()
            await trio.sleep(3)
            await self.parent.stop()

    return app(Chief())


def restarts_its_neighbour():
    """Now and then it restarts the one before it."""
    first = Service(name="old")

    async def work():
        while True:
            await trio.sleep(7)
            if first.running:
                await first.restart()

    return Application("shop", MultiService(first, name="back"), TaskService(work))


def helpers_that_come_and_go():
    """It adds a helper for each job, and the helper leaves when it is done."""

    class Chief(Service):
        async def run(self, task_status):
            task_status.started()
            while True:
                await trio.sleep(2)
                helper = TaskService(trio.sleep, 1, name=None)
                await self.parent.start_service(helper)
                await helper.wait_stopped()
                if helper.parent is not None:
                    await helper.disown_service_parent()

    return app(MultiService(Chief(), name="office"))


def jobs_in_the_pool():
    """Its jobs live in the nursery of another service, which ends them."""

    class Pool(Service):
        async def run(self, task_status):
            async with trio.open_nursery() as self.nursery:
                task_status.started()
                await IDLE()

    pool = Pool()

    async def work():
        while True:
            await trio.sleep(1)
            pool.nursery.start_soon(trio.sleep, 3)

    return app(pool, TaskService(work))


def nap_after_nap():
    """It wakes a hundred times a second."""

    async def work():
        while True:
            await trio.sleep(0.01)

    return app(TaskService(work))


def busy_for_a_moment():
    """It handles a thousand things at once, and yields between them."""

    async def work():
        while True:
            for _ in range(1000):
                await trio.lowlevel.checkpoint()
            await trio.sleep(5)

    return app(TaskService(work))


def lots_of_chance():
    """It does something else each time."""

    async def work(task_status):
        await trio.sleep(random.random())
        task_status.started()
        while True:
            await trio.sleep(random.expovariate(1))

    return app(TaskService(work))


def patient_client():
    """It tries again, later and later, though nobody ever answers."""

    async def stay_connected():
        retry = Retry(delay=0.5)
        delay = 0.5
        while True:
            try:
                async with await trio.open_tcp_stream("127.0.0.1", 9):
                    await IDLE()
            except OSError:
                await trio.sleep(delay)
                delay = min(delay * retry.factor, 60)

    return app(TaskService(stay_connected))


def impatient_start():
    """What it needs is not there, so it is not ready; that is what it waits for."""

    async def connect(task_status):
        while True:
            try:
                async with await trio.open_tcp_stream("nowhere", 9):
                    task_status.started()
                    await IDLE()
            except OSError:
                await trio.sleep(5)

    return app(TaskService(connect))


def handler_that_raises():
    """Whoever says what it does not know is thrown out, with a traceback."""

    async def answer(stream):
        async for data in stream:
            await stream.send_all(b"%d" % int(data))

    return app(TCPServer(7001, answer, host="127.0.0.1"))


def handler_that_stays():
    """A client that says nothing is never asked to leave."""

    async def listen(stream):
        await IDLE()

    return app(TCPServer(7001, listen, host="127.0.0.1", drain_timeout=None), shutdown_timeout=None)


def drain_without_a_limit():
    """Its drain waits for whatever is in progress, however long that takes."""

    class Desk(Service):
        async def drain(self):
            await trio.sleep(40)

    return app(Desk(drain_timeout=None), shutdown_timeout=None)


def own_nursery_own_server():
    """It serves by trio's own means."""

    async def echo(stream):
        try:
            async for data in stream:
                await stream.send_all(data)
        except trio.BrokenResourceError:
            pass

    async def serve(task_status):
        await trio.serve_tcp(echo, 7001, host="127.0.0.1", task_status=task_status)

    return app(TaskService(serve))


def work_in_a_thread():
    """It asks a thread, for a moment."""

    async def work():
        for _ in range(3):
            await trio.sleep(1)
            await trio.to_thread.run_sync(sum, range(10))
        await IDLE()

    return app(TaskService(work))


def fails_when_its_base_is_gone():
    """It relies on what stands before it, and says so loudly."""
    base = Service(name="base")

    async def work():
        while True:
            if not base.running:
                raise RuntimeError("the base is gone")
            await trio.sleep(0.5)

    return Application("shop", base, TaskService(work))


def tries_and_tells():
    """Its timer fails each time, and is told to go on."""

    def look():
        raise LookupError("it is dark")

    return app(TimerService(3, look, on_error="log"))


def silent_datagrams():
    """It hears, and never answers."""

    async def hear(data, peer, server):
        await trio.sleep(100)

    return app(UDPServer(7001, hear, host="127.0.0.1"))
