"""Every command of ``trioservice``, declared in one table: name, help, arguments, function."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

__all__ = ["COMMANDS", "Command"]


class Command(NamedTuple):
    """One verb of the command line."""

    name: str
    help: str
    description: str
    run: Callable[[Namespace], int]

    def declare(self, parser: ArgumentParser) -> None:
        """Add its arguments to *parser*."""
        parser.add_argument(
            "target",
            metavar="TARGET",
            help="a .tac or .py file that assigns `application`, or package.module:attribute",
        )


def _run(options: Namespace) -> int:
    from ..config.targets import load
    from ..process.runner import run

    return run(partial(load, options.target))


def _plan(options: Namespace) -> int:
    from ..config.targets import load
    from ..process.exits import Exit
    from ..process.logs import tell
    from .plan import drawn

    return Exit.OK if tell(sys.stdout, drawn(load(options.target))) else Exit.OUTPUT_FAILED


COMMANDS = (
    Command(
        name="run",
        help="run an application in the foreground",
        description=(
            "Run an application in the foreground. It logs to standard error; Ctrl-C or SIGTERM stops it "
            "gracefully, a second one cuts all drains, a third one ends the process."
        ),
        run=_run,
    ),
    Command(
        name="plan",
        help="show an application's tree of services and start nothing",
        description="Load an application and draw its tree of services, in start order. Nothing is started.",
        run=_plan,
    ),
)
