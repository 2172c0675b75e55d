"""From argv to a command, and from its errors to one line, a hint and an exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from ..process.exits import Exit
from ..process.logs import tell
from .commands import COMMANDS

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, a hint, and the status for a wrong command line."""
        tell(sys.stderr, f"trioservice: {message}\n  hint: `{self.prog} --help` lists what there is\n")
        raise SystemExit(Exit.USAGE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv*, by default the process's own; return the exit status."""
    options = _parser().parse_args(argv)
    if options.command is None:
        _parser().print_help()
        return Exit.OK
    from ..config.targets import Fault, TargetError

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
