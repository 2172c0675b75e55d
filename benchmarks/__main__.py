"""What does it cost to start and stop many services?

Each figure comes from a process of its own, so that nobody inherits another's garbage, and the
contestants take turns, so that a machine that grows slower does so for all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from .contestants import CONTESTANTS

OURS, PEER = "trioservice", "raw trio"
PHASES = {"start": 1, "stop": 2}  # and where each stands in what a contestant prints
BAR = {"start": 1.5, "stop": 1.1}  # how many times the peer's cost ours may be
RESULTS_INTRO = """\
Written by the command below; `make bench` measures anew. What each contestant does, and what it
does not promise, is told at the top of [contestants.py](contestants.py).

What Python's garbage collector costs grows with all that is alive. `--no-gc` leaves it out, for
everybody; raw trio's stop, in which all leaves end at once, gains most by that.
"""
RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    options = _arguments()
    times = _times(options.counts, options.rounds, ["no-gc"] if options.no_gc else [])
    memory = _memory(min(options.counts))
    collector = "off" if options.no_gc else "on"
    lines = [
        _machine(),
        f"{options.rounds} rounds, processor time in µs per service, garbage collection {collector}",
        *(line for title, row in times.items() for line in _table(title, row)),
        *_memory_table(memory),
        *_verdicts(times),
    ]
    text = "\n".join(lines)
    print(text)
    if options.write:
        command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
        RESULTS.write_text(
            f"# What it costs to start and stop many services\n\n{RESULTS_INTRO}\n"
            f"```console\n$ {command}\n{text}\n```\n",
            encoding="utf-8",
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each contestant runs (5)")
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 40_000], help="how many services")
    parser.add_argument("--no-gc", action="store_true", help="without garbage collection, for everybody")
    parser.add_argument("--write", action="store_true", help=f"also write benchmarks/{RESULTS.name}")
    return parser.parse_args()


# ---- measuring


@dataclass(frozen=True)
class Title:
    """What one table is about."""

    phase: str
    count: int


Times = dict[Title, dict[str, list[float]]]  # of each contestant, one figure a round


def _times(counts: list[int], rounds: int, flags: list[str]) -> Times:
    times: Times = {Title(phase, count): {} for count in counts for phase in PHASES}
    turns = [(count, name) for count in counts for _ in range(rounds) for name in CONTESTANTS]
    for done, (count, name) in enumerate(turns):
        _progress(f"{done / len(turns):4.0%}  {name}, {count:,} services")
        figures = _measure(name, count, flags)
        for phase, column in PHASES.items():
            times[Title(phase, count)].setdefault(name, []).append(figures[column] * 1e6)
    _progress("")
    return times


def _memory(count: int) -> dict[str, float]:
    """KiB for one service that is made and started."""
    sizes = {}
    for name in CONTESTANTS:
        _progress(f"memory of {name}")
        making, starting, _ = _measure(name, count, ["memory"])
        sizes[name] = (making + starting) / 1024
    _progress("")
    return sizes


def _measure(name: str, count: int, flags: list[str]) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.contestants", name, str(count), *flags]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: list[float] = json.loads(result.stdout)
    return figures


def _progress(text: str) -> None:
    """One line that says what is being done, where somebody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


# ---- telling


def _machine() -> str:
    versions = ", ".join(f"{package} {version(package)}" for package in ("trioservice", "trio", "twisted"))
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    return f"{_processor()}, {system}; Python {platform.python_version()}; {versions}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "processor")


def _table(title: Title, figures: dict[str, list[float]]) -> Iterator[str]:
    medians = {name: statistics.median(values) for name, values in figures.items()}
    yield f"\n{title.phase} {title.count:<10,}  median     min     max  x {PEER}"
    for name, values in figures.items():
        median, ratio = medians[name], medians[name] / medians[PEER]
        yield (
            f"  {name:<13} {median:7.2f} {min(values):7.2f} {max(values):7.2f}    {ratio:5.2f}   "
            f"{_bar(median / max(medians.values()))}"
        )


def _memory_table(sizes: dict[str, float]) -> Iterator[str]:
    yield "\nmemory of an idle service, in KiB"
    for name, size in sizes.items():
        yield f"  {name:<13} {size:7.1f}  {_bar(size / max(sizes.values()))}"


def _verdicts(times: Times) -> Iterator[str]:
    """Hold our figures against the bar.

    On a busy machine medians wander by a third from run to run, minima by less; so both are told,
    and the bar is kept only if both keep it.
    """
    yield ""
    fewest: dict[str, dict[str, float]] = {}
    for title, figures in times.items():
        medians = {name: statistics.median(figures[name]) for name in (OURS, PEER)}
        by_median = medians[OURS] / medians[PEER]
        by_minimum = min(figures[OURS]) / min(figures[PEER])
        bar = BAR[title.phase]
        word = "within" if max(by_median, by_minimum) <= bar else "ABOVE"
        first = fewest.setdefault(title.phase, medians)
        yield (
            f"{title.phase} {title.count:<7,} {by_median:5.2f} x {PEER} by medians, "
            f"{by_minimum:.2f} by minima: {word} the bar of {bar}\n"
            f"              {medians[OURS] / first[OURS]:5.2f} x the cost among the fewest "
            f"({PEER}: {medians[PEER] / first[PEER]:.2f})"
        )


def _bar(share: float, width: int = 30) -> str:
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].rstrip()


if __name__ == "__main__":
    main()
