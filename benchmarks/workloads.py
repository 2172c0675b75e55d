"""What the servers are asked to do while they run."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .contestants import OURS, Contestant
from .measuring import Load, Progress, Result, absence_noted, race, scratch, server_of, write_certificate

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


def measure_idle(workload: Workload, settings: Settings, progress: Progress) -> Result:
    """What memory grows by, in fresh processes, when connections stand and have been served once."""
    result = Result(workload.title, workload.what, OURS)
    memory = result.metric(MEMORY)
    able = [one for one in settings.contestants if "tcp" in one.transports]
    for turn in range(-(-settings.rounds // 5)):  # memory has no weather: a few rounds say it
        for contestant in random.sample(able, len(able)):
            progress(f"{workload.title}: round {turn + 1}, {contestant.name}")
            if contestant.name not in result.absent:
                with absence_noted(result, contestant.name):
                    memory.add(contestant.name, _memory_of_idlers(contestant, workload.count))
    result.arrange([contestant.name for contestant in able])
    return result


def _memory_of_idlers(contestant: Contestant, count: int) -> float:
    with scratch() as folder, server_of(contestant, "tcp", "echo", folder) as server:
        with Load(server, "exchange", {"connections": 50}) as few:
            few.slice(0.1)
        time.sleep(0.3)
        before = resident(server.pid)
        with Load(server, "exchange", {"connections": count}) as many:
            many.slice(0)
            time.sleep(0.5)
            return (resident(server.pid) - before) / count / 1000


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
        f"memory of {IDLE:,} idle connections",
        measure_idle,
        "resident memory, in fresh processes: each connection has been echoed once; KB are 1000 bytes",
        quick=True,
        count=IDLE,
    ),
)
