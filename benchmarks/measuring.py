"""Servers and loads as processes, and how their work is measured.

All servers of a workload are up at once, each on its own port, all on one core; the load is on
another.  They are asked in slices of a fraction of a second, in random order, round after round, so that a
machine that grows slower does so for everybody.  Between its slices a server sleeps.

A rate says as much about the load generator and the other tenants of the machine as about the
server.  The processor time that the kernel has booked on the server's process, per operation,
does not: that is the figure to trust.  The load generator reads it, at both ends of the slice.
"""

from __future__ import annotations

import functools
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from .building import CannotBuildError, load_program
from .contestants import Contestant

HERE = Path(__file__).parent
HOUSE = HERE.parent
RATE, COST, BUSY = "operations/s", "µs of CPU per operation", "% of its core used"
KERNEL = "µs of CPU per operation in the kernel"
PATIENCE = 20.0  # seconds, for a server's start and for an answer of the load's


class CannotMeasureError(Exception):
    """A contestant did not start, or did not do what it was asked."""


# ---- what comes out of it


@dataclass(frozen=True)
class Slice:
    """What one server did in one slice; times are in seconds."""

    operations: int
    errors: int
    lost: int
    seconds: float
    server: float  # processor time
    load: float  # processor time
    kernel: float = 0.0  # the part of the server's processor time that was spent in the kernel, of 1

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds

    @property
    def cost(self) -> float:
        """Microseconds of the server's processor time per operation."""
        return self.server / self.operations * 1e6

    @property
    def kernel_cost(self) -> float:
        """What the server spent in the kernel, likewise: no other program could do without most of it."""
        return self.cost * self.kernel

    @property
    def busy(self) -> float:
        """The part of the time, in percent, in which the server used its core."""
        return 100 * self.server / self.seconds


@dataclass
class Metric:
    """One thing that was measured of everybody, a figure a round."""

    unit: str
    more_is_better: bool = False
    figures: dict[str, list[float]] = field(default_factory=dict)
    decides: bool = True  # False: told, but no target is held against it

    def add(self, name: str, figure: float) -> None:
        self.figures.setdefault(name, []).append(figure)

    def median(self, name: str) -> float:
        return statistics.median(self.figures[name])

    def ratio(self, ours: str, peer: str) -> float:
        """How many times better *ours* is: the median over the rounds, each of which has its own weather."""
        pairs = zip(self.figures[ours], self.figures[peer], strict=True)
        if self.more_is_better:
            return statistics.median(mine / theirs for mine, theirs in pairs)
        return statistics.median(theirs / mine for mine, theirs in pairs)


@dataclass
class Result:
    """All that is known of one workload."""

    title: str
    what: str
    ours: tuple[str, ...]  # who is compared with everybody
    metrics: list[Metric] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)  # who did not take part, and why
    notes: list[str] = field(default_factory=list)

    def metric(self, unit: str, *, more_is_better: bool = False) -> Metric:
        """Where the figures of that unit go."""
        for metric in self.metrics:
            if metric.unit == unit:
                return metric
        self.metrics.append(Metric(unit, more_is_better))
        return self.metrics[-1]

    def leave_out(self, name: str, reason: object) -> None:
        """Say why somebody did not take part; half of his figures cannot be compared with whole ones."""
        self.absent[name] = str(reason)
        for metric in self.metrics:
            metric.figures.pop(name, None)

    def arrange(self, names: Sequence[str]) -> None:
        """Tell them in this order, whoever was measured first."""
        for metric in self.metrics:
            metric.figures = {name: metric.figures[name] for name in names if name in metric.figures}


Progress = Callable[[str], None]


# ---- processes


def raise_descriptor_limit() -> None:
    """As far as it goes; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@functools.cache
def cores() -> tuple[int, int]:
    """Of the servers and of the load; the same one if there is no other."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def stay_off_the_servers_core() -> None:
    """What the harness does itself, it does beside the load."""
    _, load = cores()
    os.sched_setaffinity(0, {load})


def processor_time(pid: int) -> float:
    """Seconds that the kernel has booked on all threads of a process, by its CPU-time clock."""
    return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3), which Python has only for itself


def kernel_ticks(pid: int) -> tuple[int, int]:
    """What a process has spent in the kernel, and in all; proc_pid_stat(5)."""
    fields = (
        Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    )
    user, kernel = int(fields[11]), int(fields[12])
    return kernel, user + kernel


def _plain_environment() -> dict[str, str]:
    """Ours, but for what changes Python: compiled modules are kept, as they are for a user."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def free_port() -> int:
    """A port that nobody has, by TCP or by UDP: a server of names listens at both."""
    while True:
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram, suppress(OSError):
            stream.bind(("127.0.0.1", 0))
            datagram.bind(stream.getsockname())
            return stream.getsockname()[1]


class Process:
    """A child on a core of its own, whose complaints are kept, and which does not outlive the with-block."""

    def __init__(
        self,
        command: Sequence[str],
        core: int,
        *,
        folder: Path = HOUSE,
        environment: Mapping[str, str] | None = None,
        talks: bool = False,
    ) -> None:
        self._complaints = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        pipe = subprocess.PIPE if talks else subprocess.DEVNULL
        self.spawned_at = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**_plain_environment(), **(environment or {})},
            stdin=pipe,
            stdout=pipe,
            stderr=self._complaints,
            text=True,
            start_new_session=True,  # Ctrl-C is for us, and we end them
        )
        with suppress(ProcessLookupError):
            os.sched_setaffinity(self.process.pid, {core})

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._complaints):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for_end(self, patience: float) -> None:
        """To the moment: a wait of subprocess's with a timeout looks now and then only.

        The process is not reaped, so that its processor time can still be read.
        """
        descriptor = os.pidfd_open(self.pid)
        try:
            if not select.select([descriptor], [], [], patience)[0]:
                raise CannotMeasureError(f"it did not end within {patience:g} s")
        finally:
            os.close(descriptor)

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def complaint(self) -> str:
        """Why it ended, as far as it has said so."""
        self._complaints.seek(0)
        return reason_in(self._complaints.read()) or f"it ended with status {self.process.poll()}"


def reason_in(complaints: str) -> str:
    """The last line that names an error, or else the last one."""
    lines = [line.strip(" |") for line in complaints.splitlines() if line.strip(" |")]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (errors or lines or [""])[-1]


class Server(Process):
    """A server, which listens when the with-block begins."""

    def __init__(self, command: Sequence[str], transport: str, where: str, **options: Any) -> None:
        super().__init__(command, cores()[0], **options)
        self.transport, self.where = transport, where
        self.address = f"unix:{where}" if transport == "unix" else f"{transport}:127.0.0.1:{where}"

    def __enter__(self) -> Server:
        try:
            self.wait_until_listening()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def wait_until_listening(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not owns_listener(self.pid, self.transport, self.where):
            if self.ended:
                raise CannotMeasureError(self.complaint())
            if time.monotonic() > deadline:
                raise CannotMeasureError(f"it did not listen within {PATIENCE:g} s")
            time.sleep(0.01)


def server_of(
    contestant: Contestant, transport: str, service: str, folder: Path, certificate: str = ""
) -> Server:
    """A contestant's server, at an address that is free."""
    if transport == "unix":
        where = str(folder / f"{contestant.name.replace(' ', '-')}.sock")
    else:
        where = str(free_port())
    return Server(contestant.command(transport, service, where, certificate), transport, where)


class Load(Process):
    """The load generator, connected to one server."""

    def __init__(self, server: Server, mode: str, options: dict[str, int]) -> None:
        self._keeps_connections = mode == "exchange"
        self._server = server.pid
        program = load_program(tls=server.transport == "tls")
        settings = [f"{name}={value}" for name, value in options.items()]
        command = [str(program), mode, server.address, str(server.pid), *settings]
        super().__init__(command, cores()[1], talks=True)

    def __enter__(self) -> Load:
        try:
            self._answer(PATIENCE * 2)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def slice(self, seconds: float) -> Slice:
        """Ask for so long; 0 is one request on each connection."""
        before = kernel_ticks(self._server)
        with suppress(BrokenPipeError):
            self.process.stdin.write(f"{seconds}\n")
            self.process.stdin.flush()
        answer = self._answer(seconds + PATIENCE)
        kernel, total = (now - then for now, then in zip(kernel_ticks(self._server), before, strict=True))
        done = Slice(**answer, kernel=kernel / max(total, 1))
        if not done.operations:
            raise CannotMeasureError("nothing was answered")
        if self._keeps_connections and done.errors:  # what is lost is missing in all slices that follow
            raise CannotMeasureError(f"{done.errors:,} connections were lost, or answered wrongly")
        return done

    def _answer(self, patience: float) -> dict[str, float]:
        ready, _, _ = select.select([self.process.stdout], [], [], patience)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
            raise CannotMeasureError(self.complaint() if self.ended else f"no answer in {patience:g} s")
        return json.loads(line)


class Wrk:
    """wrk, which makes its connections anew for each slice.

    Args:
        server: whom it asks.
        path: for what.
        connections: how many, kept for the length of a slice.
    """

    def __init__(self, server: Server, path: str, connections: int) -> None:
        program = shutil.which("wrk")
        if program is None:
            raise CannotMeasureError("wrk is not installed")
        self._server = server.pid
        self._command = [program, "-t1", f"-c{connections}", "-s", str(HERE / "load" / "count.lua")]
        self._url = f"http://127.0.0.1:{server.where}/{path}"

    def slice(self, seconds: float) -> Slice:
        """Ask for so long, in whole seconds, since wrk knows no shorter ones."""
        before, ticks = processor_time(self._server), kernel_ticks(self._server)
        with Process(
            [*self._command, f"-d{max(1, round(seconds))}", self._url], cores()[1], talks=True
        ) as wrk:
            said, _ = wrk.process.communicate(timeout=seconds + PATIENCE)
            load = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        spent = processor_time(self._server) - before
        kernel, total = (now - then for now, then in zip(kernel_ticks(self._server), ticks, strict=True))
        counted = json.loads(said.strip().splitlines()[-1])
        if not counted["operations"]:
            raise CannotMeasureError("nothing was answered")
        return Slice(**counted, lost=0, server=spent, load=load, kernel=kernel / max(total, 1))


# ---- whose listener it is


def owns_listener(pid: int, transport: str, where: str) -> bool:
    """Whether this process, and none that happened to be there, listens at a port or a path."""
    inodes = _unix_inodes(where) if transport == "unix" else _port_inodes(transport, int(where))
    return bool(inodes & _socket_inodes(pid))


def _port_inodes(transport: str, port: int) -> set[str]:
    table, state = ("udp", "07") if transport == "udp" else ("tcp", "0A")
    rows = Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]
    return bound_inodes(rows, port, state)


def bound_inodes(rows: Sequence[str], port: int, state: str) -> set[str]:
    """The inodes of sockets at *port* in a state (in hexadecimal), of the rows of /proc/net/tcp or udp."""
    columns = (row.split() for row in rows)
    return {cells[9] for cells in columns if int(cells[1].split(":")[1], 16) == port and cells[3] == state}


def _unix_inodes(path: str) -> set[str]:
    columns = (row.split() for row in Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()[1:])
    return {cells[6] for cells in columns if cells[7:] == [path] and int(cells[3], 16) & 0x10000}


def _socket_inodes(pid: int) -> set[str]:
    found = set()
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = os.readlink(descriptor)
                if target.startswith("socket:["):
                    found.add(target[len("socket:[") : -1])
    return found


# ---- the rounds


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for sockets and certificates, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="trioservice-bench-") as name:
        yield Path(name)


def write_certificate(folder: Path) -> str:
    """A file with a key, and a certificate for 127.0.0.1 that nobody vouches for."""
    import trustme

    path = folder / "certificate.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return str(path)


def race(
    result: Result,
    contestants: Sequence[Contestant],
    open_load: Callable[[Contestant, ExitStack], Load | Wrk],
    rounds: int,
    seconds: float,
    progress: Progress,
) -> None:
    """Everybody in every round, in an order that chance decides; the first slice of each is not counted."""
    rate = Metric(RATE, more_is_better=True)
    cost = Metric(COST)
    kernel = Metric(KERNEL, decides=False)
    busy = Metric(BUSY, decides=False)
    result.metrics = [rate, cost, kernel, busy]
    slices: dict[str, list[Slice]] = {}
    with ExitStack() as stack:
        loads: dict[str, Load | Wrk] = {}
        for contestant in contestants:
            progress(f"{result.title}: starting {contestant.name}")
            with absence_noted(result, contestant.name):
                load = open_load(contestant, stack)
                load.slice(seconds)
                loads[contestant.name] = load
        for turn in range(rounds):
            progress(f"{result.title}: round {turn + 1} of {rounds}")
            for name in random.sample(sorted(loads), len(loads)):
                if name not in result.absent:
                    with absence_noted(result, name):
                        slices.setdefault(name, []).append(loads[name].slice(seconds))
    for name in loads:
        if name not in result.absent:
            done = slices[name]
            for one in done:
                rate.add(name, one.rate)
                cost.add(name, one.cost)
                kernel.add(name, one.kernel_cost)
                busy.add(name, one.busy)
            _note_faults(result, name, done)


@contextmanager
def absence_noted(result: Result, name: str) -> Iterator[None]:
    try:
        yield
    except (CannotMeasureError, CannotBuildError) as reason:
        result.leave_out(name, reason)


def _note_faults(result: Result, name: str, slices: Sequence[Slice]) -> None:
    errors, lost = sum(one.errors for one in slices), sum(one.lost for one in slices)
    total = sum(one.operations for one in slices)
    if errors or lost:
        result.notes.append(f"{name}: {errors:,} errors and {lost:,} lost beside {total:,} answered")


def tell_progress(text: str) -> None:
    """One line that says what is being done, where somebody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def end_on_termination() -> None:
    """A SIGTERM leaves by the same way as Ctrl-C, so that no server is left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
