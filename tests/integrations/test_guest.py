"""A tree whose trio is the guest of asyncio: each test is an asyncio program."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from programs import running

from trioservice import Application, Service, ServicesFailed, StartInterrupted, State, TaskService, TCPServer
from trioservice.integrations.guest import run_as_guest

LIMIT = 20.0


def asyncio_program(main: Callable[[], object]) -> None:
    """Run it; what hangs is a failure."""

    async def limited() -> None:
        async with asyncio.timeout(LIMIT):
            await main()  # type: ignore[misc]

    # Not asyncio.run: where another test has imported trio-asyncio, that takes a loop of trio's.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(limited())


class Told(Service):
    """A leaf that tells what becomes of it."""

    def __init__(self, name: str, diary: list[str], patience: float = 0.0) -> None:
        super().__init__(name=name, drain_timeout=60)
        self.diary = diary
        self.patience = patience
        self.drains = asyncio.Event()  # in one thread, each world may wake the other's tasks

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        self.diary.append(f"{self.name} runs")
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.diary.append(f"{self.name} is gone")

    async def drain(self) -> None:
        self.diary.append(f"{self.name} drains")
        self.drains.set()
        await trio.sleep(self.patience)
        self.diary.append(f"{self.name} has drained")


def application(diary: list[str], patience: float = 0.0) -> Application:
    leaves = Told("one", diary), Told("two", diary, patience)
    return Application("app", *leaves, handle_signals=False)


def test_asyncios_clients_reach_a_server_of_the_tree() -> None:
    async def echo(stream: trio.abc.HalfCloseableStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    async def main() -> None:
        bound = asyncio.get_running_loop().create_future()
        server = TCPServer(0, echo, host="127.0.0.1")
        task = asyncio.create_task(
            run_as_guest(server, ready=lambda _: bound.set_result(server.addresses[0]))
        )
        host, port = await bound
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio_program(main)


def test_to_cancel_the_task_is_a_polite_stop_in_order() -> None:
    diary: list[str] = []

    async def main() -> None:
        ready = asyncio.Event()
        task = asyncio.create_task(run_as_guest(application(diary), ready=lambda _: ready.set()))
        await ready.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        diary.append("over")

    asyncio_program(main)
    ends = [f"{name} {what}" for name in ("two", "one") for what in ("drains", "has drained", "is gone")]
    assert diary == ["one runs", "two runs", *ends, "over"]  # L6, L10


def test_to_cancel_it_again_cuts_the_drains() -> None:
    diary: list[str] = []

    async def main() -> None:
        ready = asyncio.Event()
        app = application(diary, patience=60)
        task = asyncio.create_task(run_as_guest(app, ready=lambda _: ready.set()))
        await ready.wait()
        task.cancel()
        await app["two"].drains.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio_program(main)
    assert "two has drained" not in diary
    assert diary[-1] == "one is gone"  # L12


def test_a_task_that_is_cancelled_at_once_runs_nothing() -> None:
    diary: list[str] = []

    async def main() -> None:
        task = asyncio.create_task(run_as_guest(application(diary)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio_program(main)
    assert diary.count("one runs") == diary.count("one is gone")


@pytest.mark.parametrize("with_ready", [True, False])
def test_a_start_that_is_cancelled_is_cancelled_and_nothing_else(with_ready: bool) -> None:
    async def slow(task_status: trio.TaskStatus[None]) -> None:
        begun.set()
        await trio.sleep_forever()

    begun = asyncio.Event()

    async def main() -> None:
        app = Application("app", TaskService(slow), handle_signals=False)
        task = asyncio.create_task(run_as_guest(app, ready=print if with_ready else None))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio_program(main)


def test_a_stop_before_it_is_ready_is_told_to_whoever_wants_to_know() -> None:
    async def stops(task_status: trio.TaskStatus[None]) -> None:
        await app.stop()
        await trio.sleep_forever()

    app = Application("app", TaskService(stops), handle_signals=False)

    async def main() -> None:
        with pytest.raises(StartInterrupted):
            await run_as_guest(app, ready=print)
        await run_as_guest(app)

    asyncio_program(main)


def test_a_failure_comes_out_of_the_task_when_all_is_stopped() -> None:
    diary: list[str] = []

    async def fail() -> None:
        raise ValueError("no")

    async def main() -> None:
        app = Application("app", Told("one", diary), TaskService(fail), handle_signals=False)
        with pytest.raises(ServicesFailed) as caught:
            await run_as_guest(app)
        assert caught.group_contains(ValueError, match="no")
        assert diary[-1] == "one is gone"
        assert app.state is State.FAILED

    asyncio_program(main)


def test_asyncio_on_trio_is_told_that_it_cannot_be_the_host() -> None:
    lines = (
        "import asyncio, trio_asyncio",
        "from trioservice import Application",
        "from trioservice.integrations.guest import run_as_guest",
        "asyncio.run(run_as_guest(Application('app')))",
    )
    command = [sys.executable, "-c", "\n".join(lines)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert "ServiceError: asyncio runs on trio here, since trio-asyncio has been imported" in told.stderr


PROGRAM = """
import asyncio, sys
import trio
from trioservice import Application, Service
from trioservice.integrations.guest import run_as_guest

def say(what):
    print(what, file=sys.stderr, flush=True)

class Leaf(Service):
    async def run(self, task_status):
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            say("gone")

    async def drain(self):
        say("drains")
        await trio.sleep({patience})
        say("has drained")

async def main():
    app = Application("app", Leaf(drain_timeout=60), handle_signals={handle_signals})
    task = asyncio.create_task(run_as_guest(app, ready=lambda _: say("ready")))
    {more}
    try:
        await task
    except asyncio.CancelledError:
        say("cancelled")
    say(f"over: {{app.stop_signal and app.stop_signal.name}}")

asyncio.run(main())
"""


def program(folder: Path, *, handle_signals: bool, patience: float = 0.0, more: str = "") -> list[str]:
    path = folder / "program.py"
    path.write_text(PROGRAM.format(handle_signals=handle_signals, patience=patience, more=more))
    return [sys.executable, str(path)]


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_application_obeys_a_signal_while_asyncio_sleeps(tmp_path: Path, number: signal.Signals) -> None:
    with running(program(tmp_path, handle_signals=True)) as process:
        process.says("ready")
        assert process.stops(number) == 0
        assert process.err == f"ready\ndrains\nhas drained\ngone\nover: {number.name}\n"


@pytest.mark.real
def test_a_second_signal_cuts_the_drains(tmp_path: Path) -> None:
    with running(program(tmp_path, handle_signals=True, patience=60)) as process:
        process.says("ready")
        process.send(signal.SIGTERM)
        process.says("drains")
        assert process.stops() == 0
        assert "app/Leaf: drain cut" in process.err
        assert process.err.endswith("gone\nover: SIGTERM\n")


@pytest.mark.real
def test_a_program_may_keep_its_own_signals(tmp_path: Path) -> None:
    more = "asyncio.get_running_loop().add_signal_handler(15, task.cancel)"
    with running(program(tmp_path, handle_signals=False, more=more)) as process:
        process.says("ready")
        assert process.stops() == 0
        assert process.err == "ready\ndrains\nhas drained\ngone\ncancelled\nover: None\n"


@pytest.mark.real
def test_ctrl_c_as_asyncio_has_it_is_a_polite_stop(tmp_path: Path) -> None:
    with running(program(tmp_path, handle_signals=False)) as process:
        process.says("ready")
        process.stops(signal.SIGINT)
        assert "ready\ndrains\nhas drained\ngone\ncancelled\nover: None\n" in process.err
