"""Programs as services: real ones, since only those end as programs do."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from applications import running

from trioservice import Application, ProcessService, ServicesFailed, State, TaskService
from trioservice.programs import ProcessEnded, ProcessFailedError, ProcessStarted

LIMIT = 20.0


def python(*lines: str) -> list[str]:
    """A program that does this, and says at once what it says."""
    return [sys.executable, "-u", "-c", "\n".join(lines)]


PATIENT = python("import time", "print('up')", "time.sleep(60)")
STUBBORN = python(
    "import signal, time", "signal.signal(signal.SIGTERM, signal.SIG_IGN)", "print('up')", "time.sleep(60)"
)


def alive(pid: int) -> bool:
    """Whether there is such a process, remains not counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def child_told_in(caplog: pytest.LogCaptureFixture) -> int:
    """The number in the line ``child 123``."""
    (line,) = (message for message in caplog.messages if message.startswith("child "))
    return int(line.split()[1])


async def until(condition: Callable[[], object]) -> None:
    """Of processes that are not ours nobody tells us, so look again."""
    with trio.fail_after(LIMIT):
        while not condition():  # noqa: ASYNC110 - there is no event
            await trio.sleep(0.005)


async def outcome(service: ProcessService) -> list[BaseException]:
    """What a life of it alone has failed with."""
    try:
        with trio.fail_after(LIMIT):
            await Application("app", service, handle_signals=False).main()
    except ServicesFailed as failed:
        return list(failed.exceptions)
    return []


# ---- start and end


async def test_it_is_ready_with_its_number_when_it_runs() -> None:
    """And while it does, everybody can see which process it is."""
    service = ProcessService(PATIENT, name="redis")
    assert service.pid is None
    async with running(service) as (_, events):
        assert service.state is State.RUNNING
        pid = service.pid
        assert pid is not None
        assert alive(pid)
        assert service.in_progress == f"process {pid}"
        assert os.getsid(pid) == pid != os.getsid(0)
    assert (service.pid, service.in_progress) == (None, "")
    assert not alive(pid)
    assert [str(event) for event in events if isinstance(event, ProcessStarted | ProcessEnded)] == [
        f"runs as process {pid}",
        f"process {pid} was ended by SIGTERM",
    ]


async def test_status_0_is_a_finish_and_any_other_a_failure() -> None:
    """L15: a program that has done its work is no failure."""
    good = ProcessService([sys.executable, "-c", ""])
    assert await outcome(good) == []
    assert good.state is State.FINISHED
    bad = ProcessService(python("raise SystemExit(3)"))
    (error,) = await outcome(bad)
    assert isinstance(error, ProcessFailedError)
    assert (str(error), error.returncode) == ("it ended with status 3", 3)


async def test_a_signal_that_ended_it_is_named() -> None:
    """As a shell would not."""
    (error,) = await outcome(ProcessService(python("import os", "os.kill(os.getpid(), 9)")))
    assert str(error) == "it was ended by SIGKILL"


async def test_it_can_be_run_again() -> None:
    """L3: a new process each time."""
    service = ProcessService(PATIENT)
    async with running(service):
        first = service.pid
        await service.restart()
        assert service.pid != first
        assert first is not None
        assert not alive(first)


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        (["no-such-program"], {}, "cannot run no-such-program: there is no such program; is it installed"),
        ([os.devnull], {}, "cannot run /dev/null: it may not be run; is it a program, and executable?"),
        (["true"], {"cwd": "/no/such"}, "cannot run true: there is no folder /no/such"),
    ],
)
async def test_what_cannot_be_run_fails_the_start_with_a_sentence(
    command: list[str], options: dict[str, Any], said: str
) -> None:
    """No traceback: it is the operator who mends it."""
    (error,) = await outcome(ProcessService(command, **options))
    assert isinstance(error, ProcessFailedError)
    assert str(error).startswith(said)
    assert error.returncode is None


# ---- ready


async def test_with_a_line_to_wait_for_it_is_ready_when_that_comes() -> None:
    """What needs it starts after it is there, not after it was begun."""
    order: list[str] = []
    slow = ProcessService(
        python(
            "import time",
            "print('loading')",
            "time.sleep(0.2)",
            "print('now listening on 80')",
            "time.sleep(60)",
        ),
        ready=r"listening on \d+",
    )

    async def web() -> None:
        order.append(str(slow.state))
        await trio.sleep_forever()

    async with running(slow, TaskService(web)):
        await until(lambda: order)
    assert order == ["running"]


async def test_one_that_ends_before_it_is_ready_has_failed_to_start() -> None:
    """Even with status 0."""
    (error,) = await outcome(ProcessService(python("print('no')"), ready="yes"))
    assert str(error) == "it ended before it was ready"


async def test_one_that_never_gets_ready_is_killed_when_its_time_is_over() -> None:
    """And nothing of it is left."""
    service = ProcessService(STUBBORN, ready="never", start_timeout=0.3, drain_timeout=0)
    pids: list[int] = []
    app = Application("app", service, handle_signals=False)
    app.subscribe(lambda event: pids.append(event.pid) if isinstance(event, ProcessStarted) else None)
    with pytest.raises(ServicesFailed, match=r"."), trio.fail_after(LIMIT):
        await app.main()
    assert not alive(pids[0])


# ---- stop


async def test_the_stop_waits_for_a_program_that_cleans_up() -> None:
    """twistd's procmon went while the program was still there."""
    service = ProcessService(
        python(
            "import signal, sys, time",
            "def bye(*_):",
            "    time.sleep(0.3); print('cleaned up'); sys.exit(5)",
            "signal.signal(signal.SIGTERM, bye)",
            "print('up')",
            "time.sleep(60)",
        ),
        ready="up",
    )
    async with running(service) as (app, events):
        pid = service.pid
        await app.stop()
        assert pid is not None
        assert not alive(pid)
    assert [event.returncode for event in events if isinstance(event, ProcessEnded)] == [5]
    assert service.state is State.STOPPED  # it was asked to go, so its status is no failure


async def test_one_that_ignores_sigterm_is_killed_when_the_drain_is_over() -> None:
    """Row 97: after that it is gone."""
    service = ProcessService(STUBBORN, ready="up", drain_timeout=0.2)
    async with running(service) as (app, events):
        began = trio.current_time()
        await app.stop()
        assert 0.2 <= trio.current_time() - began < 5
    assert [event.returncode for event in events if isinstance(event, ProcessEnded)] == [-signal.SIGKILL]


@pytest.mark.parametrize("last", ["time.sleep(60)", "time.sleep(2)"], ids=["stopped", "ended by itself"])
async def test_what_a_program_has_started_ends_with_it(caplog: pytest.LogCaptureFixture, last: str) -> None:
    """Also what does not heed SIGTERM."""
    caplog.set_level(logging.INFO)
    lines = (
        "import subprocess, sys, time",
        "child = subprocess.Popen([sys.executable, '-c', "
        "'import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)'])",
        "print('child', child.pid)",
        last,
    )
    service = ProcessService(python(*lines), ready="child", drain_timeout=1)
    async with running(service):
        child = child_told_in(caplog)
        assert alive(child)
        if last == "time.sleep(2)":
            await service.wait_stopped()
            await until(lambda: not alive(child))
    await until(lambda: not alive(child))


async def test_a_cancelled_one_is_killed_at_once() -> None:
    """L10: cancellation grants no drain."""
    service = ProcessService(STUBBORN, ready="up", drain_timeout=60)
    app = Application("app", service, handle_signals=False)
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            await nursery.start(app.main)
            pid = service.pid
            nursery.cancel_scope.cancel()
    assert pid is not None
    assert not alive(pid)


# ---- what it says


async def test_each_line_is_a_record_under_the_services_path(caplog: pytest.LogCaptureFixture) -> None:
    """Row 97: whole lines, the last without an end, what is no text as its bytes; empty ones not."""
    caplog.set_level(logging.INFO)
    lines = (
        "import sys",
        "sys.stdout.buffer.write(b'one\\r\\n\\ntwo \\xff\\n' + 'żółw'.encode() + b'\\nno end')",
        "sys.stderr.write('trouble\\n')",
    )
    assert await outcome(ProcessService(python(*lines))) == []
    said = [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name.endswith("programs")
    ]
    assert sorted(said) == [
        ("INFO", "no end"),
        ("INFO", "one"),
        ("INFO", "two \\xff"),
        ("INFO", "żółw"),
        ("WARNING", "trouble"),
    ]


async def test_a_line_without_end_does_not_fill_our_memory(caplog: pytest.LogCaptureFixture) -> None:
    """It is told in pieces."""
    caplog.set_level(logging.INFO)
    assert await outcome(ProcessService(python("import sys", "sys.stdout.write('x' * 1_000_000)"))) == []
    pieces = [len(record.getMessage()) for record in caplog.records if record.name.endswith("programs")]
    assert sum(pieces) == 1_000_000
    assert max(pieces) <= 3 * 64 * 1024


async def test_one_that_left_the_group_does_not_keep_us(caplog: pytest.LogCaptureFixture) -> None:
    """It holds the pipe, and we wait a moment only."""
    caplog.set_level(logging.INFO)
    lines = (
        "import subprocess, sys",
        "child = subprocess.Popen(['sleep', '30'], start_new_session=True)",
        "print('child', child.pid)",
    )
    began = trio.current_time()
    assert await outcome(ProcessService(python(*lines))) == []
    assert trio.current_time() - began < 10
    os.kill(child_told_in(caplog), signal.SIGKILL)


async def test_it_has_our_environment_and_what_is_added_to_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And its folder, and nothing on its standard input."""
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("TAKEN", "2")
    lines = (
        "import os, sys",
        "print(os.environ.get('KEPT'), os.environ.get('TAKEN'), os.environ['NEW'])",
    )
    service = ProcessService(
        python(*lines, "print(os.getcwd(), repr(sys.stdin.read()))"),
        env={"NEW": "3", "TAKEN": None},
        cwd=tmp_path,
    )
    assert await outcome(service) == []
    assert "1 None 3" in caplog.messages
    assert f"{tmp_path} ''" in caplog.messages


# ---- what is no command


@pytest.mark.parametrize(
    ("command", "error", "said"),
    [
        ("redis-server --port 1", TypeError, 'write ["program", "argument"], or ["sh", "-c", "..."]'),
        (Path("x"), TypeError, "a sequence of words"),
        (["sleep", 5], TypeError, "5 is none; write '5'"),
        ([], ValueError, "the command is empty"),
        ([""], ValueError, "the command is empty"),
    ],
)
def test_what_is_no_command_is_told(command: Any, error: type[Exception], said: str) -> None:
    """Where it is written, before anything runs."""
    with pytest.raises(error, match=re.escape(said)):
        ProcessService(command)


def test_what_is_no_pattern_is_told() -> None:
    """With what is wrong about it."""
    with pytest.raises(ValueError, match="ready is a regular expression, and '\\(' is none: "):
        ProcessService(["true"], ready="(")


def test_its_name_is_the_programs() -> None:
    """Without the folder; a path will do as a word."""
    assert ProcessService([Path("/usr/bin/redis-server")]).name == "redis-server"
