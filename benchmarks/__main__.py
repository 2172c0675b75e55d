"""Side by side with our peers: ``make bench``, ``make bench-quick``, ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import shlex
import sys

from . import lifecycle, names, workloads
from .building import CannotBuildError, load_program
from .contestants import among
from .measuring import (
    Result,
    end_on_termination,
    raise_descriptor_limit,
    stay_off_the_servers_core,
    tell_progress,
)
from .report import RESULTS, machine, tables, write
from .targets import verdicts
from .workloads import Settings, Workload

WORKLOADS = workloads.WORKLOADS + names.WORKLOADS + lifecycle.WORKLOADS
ROUNDS, QUICK_ROUNDS = 15, 5
SLICE, QUICK_SLICE = 0.3, 0.15  # seconds


def main() -> None:
    options = _arguments()
    chosen = [workload for workload in WORKLOADS if _is_chosen(workload, options)]
    if options.list:
        print(*(workload.title for workload in chosen), sep="\n")
        return
    settings = Settings(among(options.among), options.rounds, options.slice, not options.no_gc)
    if not chosen or not settings.contestants:
        sys.exit("nothing has such a name: --list tells the workloads, contestants.py who takes part")
    raise_descriptor_limit()
    stay_off_the_servers_core()
    end_on_termination()
    try:
        load_program(tls=False)
    except CannotBuildError as error:
        sys.exit(str(error))
    try:
        _report(chosen, settings, options)
    except KeyboardInterrupt:
        sys.exit("interrupted; the servers have been ended")


def _report(chosen: list[Workload], settings: Settings, options: argparse.Namespace) -> None:
    """Print what is known when it is known."""
    collector = "on" if settings.collect_garbage else "off where services are started and stopped"
    lines: list[str] = []

    def tell(*more: str) -> None:
        tell_progress("")
        print(*more, sep="\n", flush=True)
        lines.extend(more)

    tell(*machine(), f"{settings.rounds} rounds of {settings.seconds:g} s, garbage collection {collector}")
    results: dict[str, Result] = {}
    for workload in chosen:
        results[workload.title] = workload.measure(workload, settings, tell_progress)
        tell(*tables(results[workload.title]))
    tell(*verdicts(results))
    if options.write:
        write(shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]), lines)


def _is_chosen(workload: Workload, options: argparse.Namespace) -> bool:
    if options.only:
        return any(part.lower() in workload.title.lower() for part in options.only)
    return workload.quick or not options.quick


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--only", metavar="PART", action="append", default=[], help="workloads whose title contains PART")
    add("--among", metavar="NAME", action="append", default=[], help="contestants whose name contains NAME")
    add("--list", action="store_true", help="tell the titles of the workloads, and measure nothing")
    add("--rounds", type=int, help=f"how often everybody's turn comes ({ROUNDS}; quick: {QUICK_ROUNDS})")
    add("--slice", type=float, help=f"seconds of a turn ({SLICE}; quick: {QUICK_SLICE})")
    add("--quick", action="store_true", help="the few workloads that say most, and fewer rounds")
    add("--no-gc", action="store_true", help="start and stop services without garbage collection")
    add("--write", action="store_true", help=f"also write benchmarks/{RESULTS.name}")
    options = parser.parse_args()
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    options.slice = options.slice or (QUICK_SLICE if options.quick else SLICE)
    return options


if __name__ == "__main__":
    main()
