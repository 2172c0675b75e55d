"""What the life of a server and of its services costs: launch, start, stop, exit.

Launch and exit are measured from outside, of whole programs as a user would start them (see
``programs/``): the clock runs from the spawn to the first echo that comes back, and from SIGTERM
to the end of the process, which in all programs is by the signal itself, without taking down
the interpreter.  Starting and stopping of many services is
measured from inside, each time in a process of its own, by :mod:`.services`, and so are simulated lives,
by :mod:`.lives`.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .contestants import FAST_LANE, OURS, RAW_TRIO, STREAM_LANE, TWISTED
from .lives import TREES
from .measuring import (
    HOUSE,
    CannotMeasureError,
    Load,
    Process,
    Progress,
    Result,
    Server,
    absence_noted,
    cores,
    free_port,
    processor_time,
    scratch,
)
from .services import CONTESTANTS as KINDS_OF_SERVICES
from .workloads import Settings, Workload

PROGRAMS = Path(__file__).parent / "programs"
BIN = Path(sys.executable).parent
PATIENCE = 20.0
ELAPSED, PROCESSOR = "ms", "ms of CPU"


@dataclass(frozen=True)
class Program:
    """What a user types, to serve an echo at the port that the environment names."""

    name: str
    command: tuple[str, ...]


BY_COMMAND = (
    Program(STREAM_LANE, (str(BIN / "trioservice"), "run", str(PROGRAMS / "echo_handler.tac"))),
    Program(FAST_LANE, (str(BIN / "trioservice"), "run", str(PROGRAMS / "echo_protocol.tac"))),
    Program(TWISTED, (str(BIN / "twistd"), "--pidfile=", "-noy", str(PROGRAMS / "echo_twisted.tac"))),
    Program(RAW_TRIO, (sys.executable, str(PROGRAMS / "echo_trio.py"))),
)


# ---- launch and exit


def measure_launch(workload: Workload, settings: Settings, progress: Progress) -> Result:
    return _measure_programs(workload, settings, progress, launch)


def measure_exit(workload: Workload, settings: Settings, progress: Progress) -> Result:
    return _measure_programs(workload, settings, progress, lambda program: end(program, workload.count))


def _measure_programs(
    workload: Workload,
    settings: Settings,
    progress: Progress,
    measure: Callable[[Program], tuple[float, float]],
) -> Result:
    """Each in turn, alone; the first time is not counted, since it may compile modules."""
    result = Result(workload.title, workload.what, OURS)
    elapsed, processor = result.metric(ELAPSED), result.metric(PROCESSOR)
    wanted = {contestant.name for contestant in settings.contestants}
    programs = [program for program in BY_COMMAND if program.name in wanted]
    for turn in range(settings.rounds + 1):
        for program in random.sample(programs, len(programs)):
            progress(f"{workload.title}: round {turn} of {settings.rounds}, {program.name}")
            if program.name in result.absent:
                continue
            with absence_noted(result, program.name):
                seconds, used = measure(program)
                if turn:
                    elapsed.add(program.name, seconds * 1e3)
                    processor.add(program.name, used * 1e3)
    result.arrange([program.name for program in programs])
    return result


def launch(program: Program) -> tuple[float, float]:
    """Seconds to the first echo, and the processor time used until then."""
    port = free_port()
    with (
        scratch() as folder,
        Process(program.command, cores()[0], folder=folder, environment={"PORT": str(port)}) as process,
    ):
        while not _echoes(port):
            if process.ended:
                raise CannotMeasureError(process.complaint())
            if time.monotonic() > process.spawned_at + PATIENCE:
                raise CannotMeasureError(f"there was no echo within {PATIENCE:g} s")
            time.sleep(0.0005)
        return time.monotonic() - process.spawned_at, processor_time(process.pid)


def _echoes(port: int) -> bool:
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(b"hello")
        return client.recv(5) == b"hello"
    return False


def end(program: Program, count: int) -> tuple[float, float]:
    """Seconds from SIGTERM to the end, with *count* connections open, and the processor time used for it."""
    port = str(free_port())
    with (
        scratch() as folder,
        Server(program.command, "tcp", port, folder=folder, environment={"PORT": port}) as server,
    ):
        # One, even if none is to be left: whoever listens may not yet be able to stop.
        with Load(server, "exchange", {"connections": max(count, 1)}) as load:
            load.slice(0)
            if count:
                return _end(server)
        time.sleep(0.1)
        return _end(server)


def _end(server: Server) -> tuple[float, float]:
    time.sleep(0.1)
    used, began = processor_time(server.pid), time.monotonic()
    os.kill(server.pid, signal.SIGTERM)
    server.wait_for_end(PATIENCE)
    return time.monotonic() - began, processor_time(server.pid) - used


# ---- services


PHASES = ("starting, µs of CPU per service", "stopping, µs of CPU per service")
SERVICE_MEMORY = "KiB per idle service"
OUR_SERVICES = "trioservice"


def measure_services(workload: Workload, settings: Settings, progress: Progress) -> Result:
    """Each kind in each round, in a process of its own, so that nobody inherits another's garbage."""
    result = Result(workload.title, workload.what, (OUR_SERVICES,))
    flags = [] if settings.collect_garbage else ["no-gc"]
    for turn in range(settings.rounds):
        for name in random.sample(sorted(KINDS_OF_SERVICES), len(KINDS_OF_SERVICES)):
            progress(f"{workload.title}: round {turn + 1} of {settings.rounds}, {name}")
            making, starting, stopping = _services(name, workload.count, flags)
            for unit, seconds in zip(PHASES, (making + starting, stopping), strict=True):
                result.metric(unit).add(name, seconds * 1e6)
    for name in KINDS_OF_SERVICES:
        progress(f"{workload.title}: memory, {name}")
        making, starting, _ = _services(name, workload.count, ["memory"])
        result.metric(SERVICE_MEMORY).add(name, (making + starting) / 1024)
    result.arrange(list(KINDS_OF_SERVICES))
    return result


def _services(name: str, count: int, flags: list[str]) -> list[float]:
    figures: list[float] = _said("benchmarks.services", name, str(count), *flags)
    return figures


def _said(module: str, *arguments: str) -> Any:
    """What a module of ours tells when it is run by itself."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=HOUSE, timeout=300)
    return json.loads(done.stdout)


# ---- simulated lives


LIVES, LIFE = "simulated lives of five services", "ms of CPU per life"
FIVE_LEAVES = "five leaves"


def measure_lives(workload: Workload, settings: Settings, progress: Progress) -> Result:
    """Each tree in each round, in a process of its own."""
    result = Result(workload.title, workload.what, (FIVE_LEAVES,))
    for turn in range(settings.rounds):
        for name in random.sample(sorted(TREES), len(TREES)):
            progress(f"{workload.title}: round {turn + 1} of {settings.rounds}, {name}")
            seconds: float = _said("benchmarks.lives", name, str(workload.count))
            result.metric(LIFE).add(name, seconds * 1e3)
    result.arrange(list(TREES))
    return result


# ---- all of them


def _exits() -> Iterator[Workload]:
    yield Workload("SIGTERM to exit", measure_exit, "nobody is connected")
    yield Workload("SIGTERM to exit, 100 connections", measure_exit, "open, and idle", count=100)
    what = "SIGTERM to exit, with so many open connections and no time to drain"
    yield Workload("cancelling 5,000 connections", measure_exit, what, count=5_000)


def _services_workloads() -> Iterator[Workload]:
    what = "started and stopped; services.py tells what each kind promises, and what it does not"
    for count, quick in ((10_000, True), (40_000, False)):
        yield Workload(f"life of {count:,} services", measure_services, what, quick, count)


WORKLOADS = tuple(
    itertools.chain(
        [Workload("launch to first echo", measure_launch, "from the spawn of the command", quick=True)],
        _exits(),
        _services_workloads(),
        [
            Workload(
                LIVES,
                measure_lives,
                "as trioservice check lives them, scripts and judgement included",
                count=200,
            )
        ],
    )
)
