"""What the servers are asked to do while they run."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .contestants import OURS, OURS_FOR_FILES, OURS_FOR_HTTP, Contestant
from .measuring import (
    PATIENCE,
    CannotMeasureError,
    Load,
    Progress,
    Result,
    Server,
    Wrk,
    absence_noted,
    race,
    scratch,
    server_of,
    write_certificate,
)

MEBIBYTE = 1 << 20
IDLE = 5_000
MEMORY = "KB per idle connection"


@dataclass(frozen=True)
class Settings:
    """How long, and with whom."""

    contestants: Sequence[Contestant]
    rounds: int
    seconds: float = 0.3  # of a slice
    collect_garbage: bool = True  # when services are started and stopped


@dataclass(frozen=True)
class Workload:
    """Something that can be measured by its title."""

    title: str
    measure: Callable[[Workload, Settings, Progress], Result]
    what: str = ""
    quick: bool = False  # whether it is part of bench-quick
    count: int = 0
    path: str = ""  # what is asked for


@dataclass(frozen=True)
class Traffic(Workload):
    """A server that is kept busy by the load generator."""

    transport: str = "tcp"
    service: str = "echo"
    mode: str = "exchange"
    options: dict[str, int] = field(default_factory=dict)


def measure_traffic(workload: Workload, settings: Settings, progress: Progress) -> Result:
    assert isinstance(workload, Traffic)
    result = Result(workload.title, workload.what, OURS)
    able = [one for one in settings.contestants if workload.transport in one.transports]
    with scratch() as folder:
        certificate = write_certificate(folder) if workload.transport == "tls" else ""

        def open_load(contestant: Contestant, stack: ExitStack) -> Load:
            server = server_of(contestant, workload.transport, workload.service, folder, certificate)
            stack.enter_context(server)
            return stack.enter_context(Load(server, workload.mode, workload.options))

        race(result, able, open_load, settings.rounds, settings.seconds, progress)
    return result


def measure_http(workload: Workload, settings: Settings, progress: Progress) -> Result:
    return _by_wrk(workload, settings, progress, OURS_FOR_HTTP, "http", "")


def measure_files(workload: Workload, settings: Settings, progress: Progress) -> Result:
    return _by_wrk(workload, settings, progress, OURS_FOR_FILES, "files", workload.path)


def _by_wrk(
    workload: Workload,
    settings: Settings,
    progress: Progress,
    ours: tuple[str, ...],
    transport: str,
    path: str,
) -> Result:
    result = Result(workload.title, workload.what, ours)
    able = [one for one in settings.contestants if transport in one.transports]
    with scratch() as folder:

        def open_load(contestant: Contestant, stack: ExitStack) -> Wrk:
            # Servers of files have their folder beside a file that is named to every server.
            server = server_of(contestant, transport, path, folder, str(folder / "none"))
            return Wrk(stack.enter_context(server), path, workload.count)

        race(result, able, open_load, settings.rounds, 1.0, progress)
    return result


def measure_idle(workload: Workload, settings: Settings, progress: Progress) -> Result:
    return _by_memory(workload, settings, progress, OURS, "tcp", "echo", _echoed)


def measure_kept(workload: Workload, settings: Settings, progress: Progress) -> Result:
    return _by_memory(workload, settings, progress, OURS_FOR_HTTP, "http", "", _answered)


def _by_memory(
    workload: Workload,
    settings: Settings,
    progress: Progress,
    ours: tuple[str, ...],
    transport: str,
    service: str,
    served: Callable[[Server, int, float], AbstractContextManager[None]],
) -> Result:
    """What memory grows by, in fresh processes, when connections stand and have been served once."""
    result = Result(workload.title, workload.what, ours)
    memory = result.metric(MEMORY)
    able = [one for one in settings.contestants if transport in one.transports]
    for turn in range(-(-settings.rounds // 5)):  # memory has no weather: a few rounds say it
        for contestant in random.sample(able, len(able)):
            progress(f"{workload.title}: round {turn + 1}, {contestant.name}")
            if contestant.name not in result.absent:
                with (
                    absence_noted(result, contestant.name),
                    scratch() as folder,
                    server_of(contestant, transport, service, folder) as server,
                ):
                    with served(server, 50, 0.1):
                        pass
                    time.sleep(0.3)
                    before = resident(server.pid)
                    with served(server, workload.count, 0):
                        time.sleep(0.5)
                        grown = resident(server.pid) - before
                    memory.add(contestant.name, grown / workload.count / 1000)
    result.arrange([contestant.name for contestant in able])
    return result


@contextmanager
def _echoed(server: Server, count: int, seconds: float) -> Iterator[None]:
    """Connections that have been echoed for so long, and once at least."""
    with Load(server, "exchange", {"connections": count}) as load:
        load.slice(seconds)
        yield


@contextmanager
def _answered(server: Server, count: int, seconds: float) -> Iterator[None]:
    """Connections that have had one answer each, and are kept; it takes as long as it takes."""
    with ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", int(server.where)), PATIENCE))
            client.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
            if not client.recv(4096):
                raise CannotMeasureError("a request was not answered")
        yield


def resident(pid: int) -> int:
    """Bytes of a process that are in memory."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("smaps_rollup tells Rss")


def _echo(transport: str, connections: int, size: int, *, quick: bool = False) -> Traffic:
    shown = f"{size // 1024} KiB" if size >= 1024 else f"{size} B"
    return Traffic(
        f"{transport} echo {connections} x {shown}",
        measure_traffic,
        f"{connections:,} connection{'s' * (connections > 1)}, each with one request of {shown} on its way",
        quick,
        transport=transport,
        options={"connections": connections, "request": size},
    )


def _datagrams(depth: int, *, quick: bool = False) -> Traffic:
    return Traffic(
        f"udp echo {depth} in flight",
        measure_traffic,
        f"datagrams of 64 B, {depth} in flight; each is checked, and missed after 0.2 s",
        quick,
        transport="udp",
        mode="datagram",
        options={"depth": depth, "request": 64},
    )


WORKLOADS: tuple[Workload, ...] = (
    _echo("tcp", 1, 64),
    _echo("tcp", 50, 64, quick=True),
    _echo("tcp", 1000, 64),
    _echo("tcp", 1, 16 * 1024),
    _echo("tcp", 50, 16 * 1024, quick=True),
    _echo("tcp", 1000, 16 * 1024),
    Traffic(
        "streaming to the server",
        measure_traffic,
        "one connection, MiB after MiB; an operation is a MiB read by the server, which sends a dot for it",
        service="sink",
        options={"request": MEBIBYTE, "response": 1, "depth": 2},
    ),
    Traffic(
        "streaming from the server",
        measure_traffic,
        "one connection, two requests of one byte on their way; an operation is a MiB written by the server",
        service="source",
        options={"request": 1, "response": MEBIBYTE, "depth": 2},
    ),
    Traffic(
        "connect-echo-close",
        measure_traffic,
        "16 visits at a time: connect, 64 B there and back, end of file, the server's end of file",
        True,
        mode="visit",
        options={"connections": 16, "request": 64},
    ),
    _echo("tls", 50, 64),
    Traffic(
        "tls handshakes",
        measure_traffic,
        "16 visits at a time: connect, full handshake (TLS 1.3, each library's own tickets), 64 B, close",
        transport="tls",
        mode="visit",
        options={"connections": 16, "request": 64},
    ),
    _echo("unix", 50, 64),
    _datagrams(16, quick=True),
    _datagrams(1),
    Workload(
        "asgi hello",
        measure_http,
        "32 connections that are kept, by wrk; the application answers with 13 bytes",
        quick=True,
        count=32,
    ),
    Workload(
        "file of 5.5 KB",
        measure_files,
        "32 connections that are kept, by wrk",
        count=32,
        path="page.html",
    ),
    Workload(
        "file of 50 MB",
        measure_files,
        "4 connections that are kept, by wrk",
        count=4,
        path="large.bin",
    ),
    Workload(
        f"memory of {IDLE:,} idle connections",
        measure_idle,
        "resident memory, in fresh processes: each connection has been echoed once; KB are 1000 bytes",
        quick=True,
        count=IDLE,
    ),
    Workload(
        f"memory of {IDLE:,} HTTP connections",
        measure_kept,
        "resident memory, in fresh processes: each connection has had one answer; KB are 1000 bytes",
        count=IDLE,
    ),
)
