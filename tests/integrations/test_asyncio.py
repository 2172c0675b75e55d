"""asyncio functions as leaves: in a real loop, beside trio."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio
import trio.testing
from applications import Hear, running

from trioservice import (
    Application,
    ServiceError,
    ServicesFailed,
    State,
    TaskService,
    current_service,
)
from trioservice.integrations.asyncio import AsyncioService


def staying(diary: list[str], name: str) -> Callable[..., object]:
    """An asyncio function that is ready late, and needs some time to close."""

    async def stay(task_status: trio.TaskStatus[str]) -> None:
        diary.append(f"{name} starts")
        await asyncio.sleep(0.01)
        diary.append(f"{name} is ready")
        task_status.started(name)
        try:
            await asyncio.Event().wait()
        finally:
            diary.append(f"{name} stops")
            await asyncio.sleep(0.01)
            diary.append(f"{name} is gone")

    return stay


async def test_leaves_of_both_worlds_start_in_order_and_stop_in_reverse() -> None:
    diary: list[str] = []

    async def stay(task_status: trio.TaskStatus[None]) -> None:
        diary.append("two is ready")
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            diary.append("two is gone")

    one, three = (AsyncioService(staying(diary, name), name=name) for name in ("one", "three"))  # type: ignore[arg-type]
    async with running(one, TaskService(stay), three):
        assert diary == ["one starts", "one is ready", "two is ready", "three starts", "three is ready"]  # L5
        diary.clear()
    assert diary == ["three stops", "three is gone", "two is gone", "one stops", "one is gone"]  # L6


async def test_it_takes_arguments_and_finishes_when_it_returns() -> None:
    got: list[object] = []

    async def add(one: int, two: int) -> None:
        await asyncio.sleep(0)
        got.append((one + two, type(asyncio.get_running_loop()).__name__, current_service()))

    leaf = AsyncioService(add, 1, 2)
    async with running(leaf):
        await leaf.wait_stopped()
    assert got == [(3, "TrioEventLoop", leaf)]  # L20
    assert leaf.state is State.FINISHED  # L15
    assert leaf.name == "add"


async def test_what_it_raises_is_a_failure_of_the_service() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    with pytest.raises(ServicesFailed) as caught:
        await Application("app", AsyncioService(fail), handle_signals=False).main()
    (error,) = caught.value.exceptions
    assert isinstance(error, ValueError)
    assert "in service app/fail" in error.__notes__


async def test_it_can_be_started_again_in_a_loop_of_its_own() -> None:
    loops: list[object] = []

    async def stay() -> None:
        loops.append(asyncio.get_running_loop())
        await asyncio.Event().wait()

    leaf = AsyncioService(stay)
    async with running(leaf):
        await trio.testing.wait_all_tasks_blocked()
        await leaf.restart()
        await trio.testing.wait_all_tasks_blocked()
    assert len({id(loop) for loop in loops}) == 2  # L3


async def test_a_drain_finishes_what_there_is_to_finish() -> None:
    diary: list[str] = []

    async def stay() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            diary.append("cancelled")

    async def finish() -> None:
        await asyncio.sleep(0.01)
        diary.append("drained")

    async with running(AsyncioService(stay, drain=finish)):
        pass
    assert diary == ["drained", "cancelled"]  # L10


async def test_a_drain_that_takes_too_long_is_cut() -> None:
    async def stay() -> None:
        await asyncio.Event().wait()

    async def finish() -> None:
        await asyncio.sleep(60)

    with trio.fail_after(5):
        async with running(AsyncioService(stay, drain=finish, drain_timeout=0.01)):
            pass


async def test_tasks_that_are_left_lying_about_end_with_the_service() -> None:
    ended: list[str] = []

    async def lie_about() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("task")

    async def stay(task_status: trio.TaskStatus[None]) -> None:
        task = asyncio.create_task(lie_about())
        await asyncio.sleep(0)
        task_status.started()
        await asyncio.Event().wait()
        task.cancel()

    async with running(AsyncioService(stay)):
        assert ended == []
    assert ended == ["task"]


async def test_an_error_that_nobody_awaits_is_logged_and_ends_nothing() -> None:
    async def stay(task_status: trio.TaskStatus[None]) -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0.01)
        task_status.started()
        await asyncio.Event().wait()

    hear = Hear()
    logging.getLogger("asyncio").addHandler(hear)
    try:
        leaf = AsyncioService(stay, name="leaf")
        async with running(leaf):
            assert leaf.state is State.RUNNING  # L16
    finally:
        logging.getLogger("asyncio").removeHandler(hear)
    assert [path for path, text in hear.said if "ZeroDivisionError" in text] == ["app/leaf"]


async def test_cancellation_from_outside_reaches_it() -> None:
    diary: list[str] = []
    app = Application("app", AsyncioService(staying(diary, "one"), name="one"), handle_signals=False)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        nursery.cancel_scope.cancel()
    assert diary[-2:] == ["one stops", "one is gone"]


def test_a_drain_that_is_no_function_is_refused() -> None:
    async def stay() -> None: ...

    with pytest.raises(TypeError, match="drain is an asyncio function, or None, not 5"):
        AsyncioService(stay, drain=5)  # type: ignore[arg-type]


def test_without_the_library_the_extra_and_the_other_way_are_named() -> None:
    lines = (
        "import sys",
        "sys.modules['trio_asyncio'] = None",
        "from trioservice.integrations.asyncio import AsyncioService",
        "AsyncioService(print)",
    )
    told = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=30
    )
    assert "pip install 'trioservice[asyncio]'" in told.stderr
    assert "with trio as its guest" in told.stderr


def test_a_python_that_the_library_does_not_know_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    with pytest.raises(ServiceError, match=r"does not know Python 3\.14 and later.*trio be its guest"):
        AsyncioService(print)  # type: ignore[arg-type]


async def test_a_function_may_be_given_to_an_executor_of_the_users() -> None:
    """As libraries do that keep a thread of their own, such as asgiref."""
    threads = []

    async def work(task_status: trio.TaskStatus[None]) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
            for given in (executor, None):
                threads.append(await loop.run_in_executor(given, lambda: threading.current_thread().name))
        task_status.started()
        await asyncio.Event().wait()

    async with running(AsyncioService(work)):
        assert threads[0] == "mine_0"
        assert threads[1] not in ("mine_0", threading.main_thread().name)


async def test_who_has_imported_asyncio_s_functions_by_name_finds_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As aiofiles has, which nobody imports after trio-asyncio."""
    _asyncio = pytest.importorskip("_asyncio")  # where they are written in C
    early = types.ModuleType("early")
    early.get_running_loop = _asyncio.get_running_loop  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "early", early)
    found: list[object] = []

    async def work() -> None:
        found.extend([asyncio.get_running_loop(), early.get_running_loop()])  # type: ignore[attr-defined]

    service = AsyncioService(work)
    async with running(service):
        await service.wait_stopped()
    assert found[0] is found[1]
