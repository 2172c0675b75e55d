"""From argv to a command, and from its errors to one line, a hint and an exit status."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from ..config.mistakes import Fault, Mistake
from ..config.options import FOR_RUNNING, HELP, VERSION, Option
from ..process.exits import CannotRun, Exit
from .arguments import read
from .command import Asked, Command
from .commands import COMMANDS, all_commands, command_of

__all__ = ["main"]

_STATUSES = {
    Fault.MISSING: Exit.NO_INPUT,
    Fault.INVALID: Exit.DATA,
    Fault.RAISED: Exit.LOAD_FAILED,
    Fault.USAGE: Exit.USAGE,
    Fault.SETTINGS: Exit.CONFIG,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv*, by default the process's own; return the exit status."""
    try:
        return _obey(list(sys.argv[1:] if argv is None else argv))
    except Mistake as mistake:
        _tell(f"{mistake.details}trioservice: {mistake}\n  hint: {mistake.hint}\n")
        return _STATUSES[mistake.fault]
    except CannotRun as error:
        _tell(f"trioservice: {error}\n  hint: {error.hint}\n")
        return error.status
    except KeyboardInterrupt:  # while a target was loaded; what goes on after that has an answer of its own
        _tell("\ntrioservice: interrupted\n")
        return 128 + signal.SIGINT


def _obey(argv: list[str]) -> int:
    if not argv or argv[0].startswith("-"):
        return _without_a_command(argv)
    command = _command(argv[0])
    asked = Asked(command, read(argv[1:], command.options, f"trioservice {command.name}"))
    if asked.arguments.has(HELP):
        return _help(asked)
    if asked.arguments.has(VERSION):
        return _version()
    asked.words  # noqa: B018 - what is wrong with them is told before anything is done
    return int(asked.command.run(asked))


# ---- which command


def _command(name: str) -> Command:
    for command in COMMANDS:
        if command.name == name:
            return command
    from ..config.plugins import find

    plugin = find(name)
    if plugin is None:
        raise _unknown(name)
    return command_of(name, plugin)


def _unknown(name: str) -> Mistake:
    from ..config.plugins import names
    from ..forms import similar

    guess = similar(name, [*(command.name for command in COMMANDS), *names()])
    hint = "`trioservice --help` lists what there is"
    if guess:
        hint = f"did you mean `trioservice {guess}`?"
    elif name.endswith((".tac", ".py")) or ":" in name:
        hint = f"did you mean `trioservice run {name}`?"
    return Mistake(f"there is no command {name!r}", hint=hint, fault=Fault.USAGE)


def _without_a_command(argv: list[str]) -> int:
    if argv[:1] == ["--version"]:
        return _version()
    if argv[:1] in ([], ["--help"], ["-h"]):
        return _overview()
    found = read(argv, FOR_RUNNING, "trioservice")
    hint = f"did you mean `trioservice run {' '.join(argv)}`?"
    if not (found.positionals or "python" in found.options):
        hint = "`trioservice --help` lists the commands"
    raise Mistake(f"{argv[0]} without a command", hint=hint, fault=Fault.USAGE)


# ---- what needs no application


def _overview() -> int:
    from .help import Style, overview

    return _print(overview(all_commands(), Style.of_terminal()))


def _help(asked: Asked) -> int:
    from .help import Style, of_command

    return _print(of_command(asked.command, Style.of_terminal(), _parameters(asked)))


def _parameters(asked: Asked) -> list[Option]:
    """What the target declares, if one is named; what is wrong with it is told, and no reason not to help."""
    if not asked.arguments.positionals or "TARGET" not in (one.name for one in asked.command.positionals):
        return []
    try:
        asked.load()
    except Mistake as mistake:
        _tell(f"trioservice: {mistake}\n")
    return list(asked.parameters.declared.values())


def _version() -> int:
    from .. import __version__

    return _print(f"trioservice {__version__}\n")


def _print(text: str) -> int:
    from ..process.terminal import tell

    return Exit.OK if tell(sys.stdout, text) else Exit.OUTPUT_FAILED


def _tell(text: str) -> None:
    from ..process.terminal import tell

    tell(sys.stderr, text)
