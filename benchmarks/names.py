"""Servers of names, asked by dnsperf: a thousand names in a hosts file, a hundred questions on their way.

What twisted.names is, is what the documentation of its Application framework shows: a resolver of hosts,
and a factory for it.  A question that has not been seen before is a name in a spelling of its own
(``hOsT7.BenCh.test``), as every client may choose one; all of them are in the file.

The rate and the processor time are of one run of dnsperf, and the latencies of another, in which it
tells of each answer, which costs it more than the answers cost us.
"""

from __future__ import annotations

import random
import re
import shutil
import statistics
import subprocess
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from .contestants import FAST_LANE, TWISTED, Contestant
from .measuring import (
    BUSY,
    COST,
    RATE,
    CannotMeasureError,
    Metric,
    Progress,
    Result,
    Server,
    absence_noted,
    cores,
    processor_time,
    scratch,
    server_of,
)
from .workloads import Settings, Workload

P99 = "ms within which 99 % are answered"
REPEATED, UNSEEN = "dns, repeated questions", "dns, questions not seen before"
NAMES = 1_000
MOST = 100_000  # questions of one slice, more than anybody answers in it
PATIENCE = 60.0

CONTESTANTS = (
    Contestant(FAST_LANE, "dns_ours", frozenset({"udp"})),
    Contestant(TWISTED, "dns_twisted", frozenset({"udp"})),
)


def measure_names(workload: Workload, settings: Settings, progress: Progress) -> Result:
    """Everybody in every round, one at a time; whoever is asked has the core to himself."""
    result = Result(workload.title, workload.what, (FAST_LANE,))
    rate, cost, late = Metric(RATE, more_is_better=True), Metric(COST), Metric(P99)
    busy = Metric(BUSY, decides=False)
    result.metrics = [rate, cost, late, busy]
    wanted = {contestant.name for contestant in settings.contestants}
    able = [contestant for contestant in CONTESTANTS if contestant.name in wanted]
    with scratch() as folder, ExitStack() as stack:
        (folder / "hosts").write_text("".join(_hosts()), encoding="ascii")
        servers: dict[str, Server] = {}
        for contestant in able:
            with absence_noted(result, contestant.name):
                server = server_of(contestant, "udp", str(folder / "hosts"), folder)
                servers[contestant.name] = stack.enter_context(server)
        for turn in range(settings.rounds):
            for name in random.sample(sorted(servers), len(servers)):
                progress(f"{workload.title}: round {turn + 1} of {settings.rounds}, {name}")
                if name in result.absent:
                    continue
                with absence_noted(result, name):
                    answered, used, seconds = _asked(servers[name], workload, folder, settings.seconds)
                    latencies = _latencies(servers[name], workload, folder, settings.seconds)
                    rate.add(name, answered / seconds)
                    cost.add(name, used / answered * 1e6)
                    late.add(name, latencies[98] * 1e3)
                    busy.add(name, 100 * used / seconds)
    result.arrange([contestant.name for contestant in able])
    return result


def _hosts() -> Iterable[str]:
    for number in range(NAMES):
        yield f"10.0.{number // 250}.{number % 250 + 1} host{number}.bench.test host{number}\n"


def _questions(workload: Workload, folder: Path) -> str:
    """A file of questions: each name once, or so many spellings that no answer can be a repetition."""
    path = folder / "questions"
    numbers = random.sample(range(NAMES), NAMES)
    if workload.title == UNSEEN:
        numbers *= MOST // NAMES
    names = (f"host{number}.bench.test" for number in numbers)
    if workload.title == UNSEEN:
        names = ("".join(random.choice((letter, letter.upper())) for letter in name) for name in names)
    path.write_text("".join(f"{name} A\n" for name in names), encoding="ascii")
    return str(path)


def _dnsperf(server: Server, workload: Workload, folder: Path, seconds: float, *more: str) -> str:
    program = shutil.which("dnsperf")
    if program is None:
        raise CannotMeasureError("it takes dnsperf: apt-get install dnsperf")
    asking = ["-d", _questions(workload, folder), "-l", str(max(seconds, 1.0)), *more]
    if workload.title == UNSEEN:
        asking += ["-n", "1"]
    command = ["taskset", "-c", str(cores()[1]), program, "-s", "127.0.0.1", "-p", server.where, *asking]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode or " NOERROR " not in done.stdout:
        raise CannotMeasureError(f"dnsperf complains: {done.stderr.strip() or done.stdout.strip():.200}")
    return done.stdout


def _asked(server: Server, workload: Workload, folder: Path, seconds: float) -> tuple[int, float, float]:
    """How many were answered, at what processor time, in how many seconds."""
    before = processor_time(server.pid)
    told = _dnsperf(server, workload, folder, seconds)
    used = processor_time(server.pid) - before
    answered, lost = (int(_told(told, f"Queries {what}:")) for what in ("completed", "lost"))
    if lost or not re.search(r"Response codes: +NOERROR \d+ \(100", told):
        raise CannotMeasureError(f"{lost:,} questions were lost, or answered wrongly")
    return answered, used, float(_told(told, r"Run time \(s\):"))


def _latencies(server: Server, workload: Workload, folder: Path, seconds: float) -> list[float]:
    """The percentiles, in seconds."""
    told = _dnsperf(server, workload, folder, seconds, "-v")
    return statistics.quantiles(map(float, re.findall(r"(?m)^> NOERROR .* ([\d.]+)$", told)), n=100)


def _told(told: str, what: str) -> str:
    found = re.search(rf"{what} +([\d.]+)", told)
    if found is None:
        raise CannotMeasureError(f"dnsperf says nothing of {what!r}")
    return found[1]


_WHAT = f"{NAMES:,} names in a hosts file, asked by dnsperf, 100 on their way"

WORKLOADS: tuple[Workload, ...] = (
    Workload(REPEATED, measure_names, f"{_WHAT}; each again and again", quick=True),
    Workload(UNSEEN, measure_names, f"{_WHAT}; each in a spelling of its own"),
)
