"""Small applications, each with one mistake that somebody could really make.

``trioservice check tests/testing/planted.py:NAME`` has to find each of them; ``make mutants`` tries all.  The
docstring says what the mistake is.
"""

from __future__ import annotations

import itertools
import os
import queue
import time

import trio

from trioservice import Application, MultiService, Service, TaskService, TCPServer, TimerService

IDLE = trio.sleep_forever


def app(*services) -> Application:
    return Application("shop", TaskService(IDLE, name="first"), *services)


# ---- what is not tidied up


def no_finally():
    """What was taken at the start is given back at the end, unless it is cancelled."""

    class Desk(Service):
        taken = False

        async def run(self, task_status):
            if Desk.taken:
                raise RuntimeError("somebody sits here")
            Desk.taken = True
            task_status.started()
            await IDLE()
            Desk.taken = False

    return app(Desk())


def lock_that_is_kept():
    """A lock is acquired without `async with`, so the next run waits for it for ever."""
    lock = trio.Semaphore(1)

    async def work(task_status):
        await lock.acquire()
        task_status.started()
        await IDLE()
        lock.release()

    return app(TaskService(work))


def port_that_is_kept():
    """It listens on a port and never closes it; what is kept is found when it wants it again."""

    class Door(Service):
        async def run(self, task_status):
            self.sock = trio.socket.socket()
            await self.sock.bind(("127.0.0.1", 7001))
            self.sock.listen()
            task_status.started()
            await IDLE()

    return app(Door())


def connection_that_leaks():
    """For each client it opens a connection that it does not close."""
    kept = []

    async def store(stream):
        await IDLE()

    async def front(stream):
        kept.append(await trio.open_tcp_stream("127.0.0.1", 7001))

    return app(
        TCPServer(7001, store, host="127.0.0.1", name="store"),
        TCPServer(7002, front, host="127.0.0.1", name="front"),
    )


def task_that_leaks():
    """A task is started beside the tree, where nobody ends it."""

    async def work():
        trio.lowlevel.spawn_system_task(IDLE)
        await IDLE()

    return app(TaskService(work))


def bound_and_forgotten():
    """It binds early, and pushes nothing on the stack."""

    class Early(Service):
        async def privileged_start(self, stack):
            self.sock = trio.socket.socket()
            await self.sock.bind(("127.0.0.1", 80))

    return app(Early())


def spent_channel():
    """The channel that it was given is closed by its first run."""
    send, receive = trio.open_memory_channel(0)

    async def consume(task_status):
        async with receive:
            task_status.started()
            async for _ in receive:
                pass

    server = app(TaskService(consume))
    server.send = send
    return server


def spent_generator():
    """What it reads from is read once, and empty in its second run."""
    numbers = itertools.takewhile(lambda number: number < 1, itertools.count())

    async def work(task_status):
        await trio.sleep(next(numbers))
        task_status.started()
        await IDLE()

    return app(TaskService(work))


def child_for_each_start():
    """Whenever it starts it adds the same helper to its parent."""

    class Chief(Service):
        async def run(self, task_status):
            task_status.started()
            self.parent.add_service(Service(name="helper"))
            await IDLE()

    return app(MultiService(Chief(), name="office"))


def scope_that_is_used_twice():
    """The cancel scope of its work is made once, and trio wants a new one for each `with`."""

    class Worker(Service):
        def __init__(self):
            super().__init__(name="work")
            self.scope = trio.CancelScope()

        async def run(self, task_status):
            with self.scope:
                task_status.started()
                await IDLE()

    return app(Worker())


def flag_that_stays_up():
    """It is told to end by an event, which is still set when it is to begin again."""

    class Worker(Service):
        def __init__(self):
            super().__init__(name="work")
            self.closing = trio.Event()

        async def run(self, task_status):
            while not self.closing.is_set():
                task_status.started()
                await self.closing.wait()

        async def drain(self):
            self.closing.set()

    return app(Worker())


def nursery_of_somebody_else():
    """It starts its tasks in the nursery of another service, which may be closed."""

    class Pool(Service):
        async def run(self, task_status):
            async with trio.open_nursery() as self.nursery:
                task_status.started()
                await IDLE()

    pool = Pool(name="pool")

    async def work():
        await trio.sleep(1)
        pool.nursery.start_soon(trio.sleep, 0)
        await IDLE()

    # It should stand after it.
    return app(TaskService(work), pool)


def peer_map_that_grows():
    """Each client has its place, which only who says goodbye gives back."""
    places = []

    async def serve(stream):
        if len(places) > 2:
            raise RuntimeError("all places are taken")
        places.append(stream)
        async for data in stream:
            if data == b"goodbye\n":
                places.remove(stream)
                return

    async def watch():
        while True:
            await trio.sleep(1)
            if len(places) > 2:
                raise RuntimeError("nobody can come any more")

    return app(TCPServer(7001, serve, host="127.0.0.1"), TaskService(watch))


# ---- cancellation


def swallowed_in_a_loop():
    """The loop that outlives every error outlives its cancellation, too."""

    async def work():
        while True:
            try:
                await trio.sleep(1)
            except BaseException:  # noqa: BLE001
                pass

    return app(TaskService(work))


def handler_that_swallows():
    """The handler of one connection catches everything, and asks again."""

    async def serve(stream):
        while True:
            try:
                await stream.send_all(b"who is there?\n")
                await trio.sleep(1)
            except BaseException:  # noqa: BLE001
                await trio.lowlevel.cancel_shielded_checkpoint()

    return app(TCPServer(7001, serve, host="127.0.0.1", name="door"))


def shield_without_a_deadline():
    """A last word is said behind a shield, and nobody hears it."""
    send, receive = trio.open_memory_channel(0)

    async def work():
        try:
            await IDLE()
        finally:
            with trio.CancelScope(shield=True):
                await send.send("bye")

    shop = app(TaskService(work))
    shop.receive = receive
    return shop


def cleanup_that_needs_a_later_one():
    """At its end it hands its rest to a service that stands after it, and so is gone."""
    send, receive = trio.open_memory_channel(0)

    async def produce():
        try:
            while True:
                await trio.sleep(1)
                await send.send("apple")
        finally:
            with trio.CancelScope(shield=True):
                await send.send("the rest")

    async def consume():
        async for _ in receive.clone():
            pass

    shop = app(TaskService(produce), TaskService(consume))
    shop.receive = receive
    return shop


def cancelled_becomes_an_error():
    """Whatever ends the work is wrapped, its cancellation included."""

    async def work():
        try:
            await IDLE()
        except BaseException as error:
            raise RuntimeError("the worker has died") from error

    return app(TaskService(work))


def waits_for_a_thread():
    """It waits for a thread that takes for ever, and cannot be cancelled meanwhile."""

    async def work():
        await trio.sleep(1)
        await trio.to_thread.run_sync(time.sleep, 3600)

    return app(TaskService(work))


# ---- the start


def ready_too_early():
    """It says that it is ready before it has opened what others use."""

    class Store(Service):
        async def run(self, task_status):
            task_status.started()
            await trio.sleep(0.1)
            self.shelf = {}
            await IDLE()

    store = Store()

    async def use():
        store.shelf["apples"] = 1
        await IDLE()

    return app(store, TaskService(use))


def ready_beside_its_start():
    """What others use is opened by a task of its own, and that it is done is not awaited."""

    class Store(Service):
        async def run(self, task_status):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.open)
                task_status.started()

        async def open(self):
            self.shelf = {}
            await IDLE()

    store = Store()

    async def use():
        store.shelf["apples"] = 1
        await IDLE()

    return app(store, TaskService(use))


def never_ready():
    """It forgets to say that it is ready."""

    class Silent(Service):
        async def run(self, task_status):
            await IDLE()

    return app(Silent())


def gone_before_ready():
    """There is nothing to do, so it returns, and has not said that it was ready."""

    class Lazy(Service):
        async def run(self, task_status):
            await trio.sleep(0.1)

    return app(Lazy())


def ready_twice():
    """It says so again when it has connected again."""

    class Eager(Service):
        async def run(self, task_status):
            while True:
                task_status.started()
                await trio.sleep(10)

    return app(Eager())


def wrong_order():
    """The one that is used stands after the one that uses it."""

    class Store(Service):
        async def run(self, task_status):
            await trio.sleep(0.5)
            self.shelf = {}
            task_status.started()
            await IDLE()

    store = Store()

    async def use():
        await trio.sleep(0.1)
        store.shelf["apples"] = 1
        await IDLE()

    return app(TaskService(use), store)


def waits_for_itself():
    """Before it is ready it waits for its parent to be ready."""

    class Knot(Service):
        async def run(self, task_status):
            await self.parent.wait_running()
            task_status.started()
            await IDLE()

    return app(Knot())


# ---- work


def blocking_sleep():
    """It sleeps as if it were alone in its process."""

    async def work():
        while True:
            await trio.sleep(5)
            time.sleep(0.2)

    return app(TaskService(work))


def blocking_loop():
    """It waits for something in a loop that does not wait."""

    async def work():
        await trio.sleep(1)
        while True:
            pass

    return app(TaskService(work))


def blocking_queue():
    """It reads from a queue that was made for threads."""
    jobs: queue.Queue = queue.Queue()

    async def work():
        await trio.sleep(1)
        jobs.get()

    return app(TaskService(work))


def blocking_handler():
    """What it does for each client blocks all of them."""

    async def answer(stream):
        async for data in stream:
            time.sleep(0.1)
            await stream.send_all(data)

    return app(TCPServer(7001, answer, host="127.0.0.1"))


def spinning():
    """It yields to the others, and never waits."""

    async def work():
        while True:
            await trio.lowlevel.checkpoint()

    return app(TaskService(work))


def reconnect_storm():
    """It tries again at once, whatever happens."""

    async def stay_connected():
        while True:
            try:
                async with await trio.open_tcp_stream("127.0.0.1", 9):
                    await IDLE()
            except OSError:
                continue

    return app(TaskService(stay_connected))


def overlapping_timer():
    """Every second it starts what takes longer than a second, and does not wait for it."""
    oven = trio.Lock()

    async def bake():
        oven.acquire_nowait()
        await trio.sleep(1.5)
        oven.release()

    async def work():
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(bake)
                await trio.sleep(1)

    return app(TaskService(work))


def lost_update():
    """Between the look at the shelf and the change of it, others have their turn."""
    shelf = {"apples": 10}

    async def sell():
        while True:
            apples = shelf["apples"]
            await trio.lowlevel.checkpoint()
            shelf["apples"] = apples - 1
            assert shelf["apples"] == apples - 1
            await trio.lowlevel.checkpoint()
            if shelf["apples"] != apples - 1:
                raise AssertionError("somebody else has sold the same apple")
            shelf["apples"] = 10
            await trio.sleep(1)

    return app(TaskService(sell, name="sell"), TaskService(sell, name="sell too"))


def server_that_believes_everything():
    """It takes connections by hand, and what a client says can end it."""

    async def serve(task_status):
        sock = trio.socket.socket()
        with sock:
            await sock.bind(("127.0.0.1", 7001))
            sock.listen()
            task_status.started()
            while True:
                client, _ = await sock.accept()
                with client:
                    int((await client.recv(100)).decode())

    return app(TaskService(serve))


def timer_that_fails_in_the_end():
    """It divides by what has become nothing after some calls."""
    left = [3]

    def tick():
        left[0] -= 1
        return 1 / left[0]

    return app(TimerService(1, tick))


# ---- the stop


def raises_in_its_cleanup():
    """It removes at the end what was never put there."""
    seats: dict = {}

    async def work():
        try:
            await IDLE()
        finally:
            del seats["me"]

    return app(TaskService(work))


def drain_that_raises():
    """Its drain looks at a client that there is only if one came."""

    class Desk(Service):
        clients: tuple = ()

        async def drain(self):
            await trio.sleep(0.1)
            self.clients[0].close()

    return app(Desk())


def closes_before_its_users():
    """Its drain closes what is used until the very end of those before it."""

    class Store(Service):
        async def run(self, task_status):
            self.open = True
            task_status.started()
            await IDLE()

        async def drain(self):
            self.open = False

    store = Store()

    async def use():
        while True:
            await trio.sleep(0)
            await trio.sleep(0.5)
            if not store.open:
                raise RuntimeError("the store is closed")

    return app(MultiService(TaskService(use), TaskService(trio.sleep, 0.0, name="brief"), store))


def exits():
    """It ends the process, and with it everybody else."""

    async def work():
        await trio.sleep(2)
        os._exit(3)

    return app(TaskService(work))


def leaves_by_sys_exit():
    """It ends the program when it has nothing to do."""

    async def work():
        await trio.sleep(2)
        raise SystemExit(1)

    return app(TaskService(work))
