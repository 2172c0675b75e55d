"""From argv to a command, and from its errors to one line, a hint and an exit status."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from ..process.exits import Exit
from .commands import COMMANDS

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, a hint, and the status for a wrong command line."""
        from ..process.logs import tell

        tell(sys.stderr, f"trioservice: {message}\n  hint: `{self.prog} --help` lists what there is\n")
        raise SystemExit(Exit.USAGE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv*, by default the process's own; return the exit status."""
    options = _parser().parse_args(argv)
    if options.command is None:
        _parser().print_help()
        return Exit.OK
    with _no_search_for_garbage():
        from ..config.targets import Fault, TargetError
        from ..process.logs import tell

    try:
        return int(options.command.run(options))
    except TargetError as error:
        tell(sys.stderr, f"{error.details}trioservice: {error}\n  hint: {error.hint}\n")
        statuses = {
            Fault.MISSING: Exit.NO_INPUT,
            Fault.INVALID: Exit.DATA,
            Fault.RAISED: Exit.LOAD_FAILED,
        }
        return statuses[error.fault]


@contextmanager
def _no_search_for_garbage() -> Iterator[None]:
    """Let the collector rest while we import, trio above all.

    A module's objects stay, so to look for garbage among them, again and again as they become more,
    finds none and takes some milliseconds of the launch.  Afterwards they count as old, as if they
    had been looked through.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()
        if enabled:
            gc.enable()


def _parser() -> argparse.ArgumentParser:
    statuses = "\n".join(f"  {status:3}  {status.meaning}" for status in Exit)
    parser = _Parser(
        prog="trioservice",
        description="Run applications that are described as trees of services.",
        epilog=f"exit statuses:\n{statuses}\n  and the signal that stopped it, if one did",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version(), help="show the versions and exit")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    for command in COMMANDS:
        sub = commands.add_parser(
            command.name, help=command.help, description=command.description, allow_abbrev=False
        )
        command.declare(sub)
        sub.set_defaults(command=command)
    return parser


def _version() -> str:
    from .. import __version__

    return f"trioservice {__version__}"
