"""Code that is annotated with trio-typing's types runs under trioservice unchanged.

These tests have an environment of their own (``make test-trio-typing``), for the reason told in
docs/reference/trio-typing.md.  Annotations are evaluated here, not kept as text: a name that
trio-typing no longer has, or that cannot be subscripted, is to be noticed.
"""

import inspect

import trio
from trio_typing import Nursery, TaskStatus

from trioservice import Application, MultiService, Service, State, TaskService, TCPServer
from trioservice.net.addresses import Address
from trioservice.net.streams import SocketStream


class Pool(Service):
    """A leaf with a nursery of its own, annotated throughout."""

    def __init__(self) -> None:
        super().__init__(name="pool")
        self.nursery: Nursery | None = None
        self.status: TaskStatus[int] | None = None

    async def run(self, task_status: TaskStatus[int]) -> None:
        self.status = task_status
        async with trio.open_nursery() as self.nursery:
            await self._begin(self.nursery)
            task_status.started(7)

    async def _begin(self, nursery: Nursery) -> None:
        await nursery.start(self._work)

    async def _work(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        assert isinstance(task_status, TaskStatus)  # trio's own, from the nursery
        task_status.started()
        await trio.sleep_forever()


async def job(service: Pool, *, task_status: TaskStatus[str]) -> None:
    assert service.running
    task_status.started("job")
    await trio.sleep_forever()


async def test_a_leaf_says_that_it_is_ready_through_a_status_of_trio_typings_type(nursery: Nursery) -> None:
    pool = Pool()
    value: int = await nursery.start(pool.main)
    assert value == 7  # L2
    assert isinstance(pool.nursery, Nursery)
    await pool.stop()
    assert pool.state is State.STOPPED


async def test_a_function_with_an_annotated_status_is_a_service(nursery: Nursery) -> None:
    pool = Pool()
    tree = MultiService(pool, TaskService(job, pool))
    await nursery.start(tree.main)
    assert [child.state for child in tree] == [State.RUNNING, State.RUNNING]  # L5
    await tree.stop()


async def test_main_takes_what_is_declared_as_a_status_of_trio_typings_type(nursery: Nursery) -> None:
    async def around(service: Service, *, task_status: TaskStatus[object]) -> None:
        await service.main(task_status=task_status)

    pool = Pool()
    assert await nursery.start(around, pool) == 7
    await pool.stop()


async def test_a_handler_may_use_a_nursery_of_trio_typings_type(nursery: Nursery) -> None:
    async def answer(stream: SocketStream, *, task_status: TaskStatus[None]) -> None:
        task_status.started()
        async for data in stream:
            await stream.send_all(data)

    async def echo(stream: SocketStream) -> None:
        async with trio.open_nursery() as inner:
            annotated: Nursery = inner
            assert isinstance(annotated, Nursery)
            await annotated.start(answer, stream)

    class Server(TCPServer):
        async def run(self, task_status: TaskStatus[tuple[Address, ...]]) -> None:
            await super().run(task_status)

    server = Server(0, echo, host="127.0.0.1")
    app = Application("shop", server, handle_signals=False)
    await nursery.start(app.main)
    async with await trio.open_tcp_stream(*server.addresses[0][:2]) as client:
        await client.send_all(b"hello")
        assert await client.receive_some() == b"hello"
    await app.stop()


async def test_what_isinstance_says_of_our_status(nursery: Nursery) -> None:
    """Ours does what a TaskStatus does, and is no instance of that ABC.

    Trio-typing registers trio's own classes only, and to register ours the library would have
    to know trio-typing.  Trio's type is a Protocol without run-time checks, so it cannot be asked.
    """
    pool = Pool()
    await nursery.start(pool.main)
    assert isinstance(trio.TASK_STATUS_IGNORED, TaskStatus)
    assert not isinstance(pool.status, TaskStatus)
    ours, trios = (inspect.signature(type_.started) for type_ in (type(pool.status), trio.TaskStatus))
    assert list(ours.parameters) == list(trios.parameters)
    await pool.stop()
