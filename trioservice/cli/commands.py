"""Every command of ``trioservice``, declared in one table: name, help, arguments, options, function.

A command is a row.  Its function is handed what was typed, returns an exit status, and imports what it
needs when it is called, for the time a program takes to start is the time it takes to import.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

from ..config.layers import Layers
from ..config.mistakes import Fault, Mistake
from ..config.options import FOR_LOADING, FOR_RUNNING, HELP, SETTINGS, Option
from ..forms import or_never, seconds, similar
from ..process.exits import Exit
from .arguments import Arguments

if TYPE_CHECKING:
    from ..application import Application
    from ..config.parameters import Parameters
    from ..config.plugins import Plugin
    from ..process.settings import Settings

__all__ = ["COMMANDS", "Asked", "Command", "Positional", "all_commands", "command_of"]


class Positional(NamedTuple):
    """An argument that is told by its place.

    Args:
        name: what stands for it: ``TARGET``.
        help: what it is.
        choices: all that there are; otherwise it is a path, or names something.
        required: whether it has to be given.
    """

    name: str
    help: str
    choices: tuple[str, ...] = ()
    required: bool = True


class Command(NamedTuple):
    """One verb of the command line."""

    name: str
    help: str
    description: str
    run: Callable[[Asked], int]
    positionals: tuple[Positional, ...] = ()
    options: tuple[Option, ...] = (HELP,)


class Asked:
    """What a command was asked to do.

    Args:
        command: the row of the table.
        arguments: what was typed.
    """

    def __init__(self, command: Command, arguments: Arguments) -> None:
        self.command = command
        self.arguments = arguments

    @cached_property
    def words(self) -> dict[str, str]:
        """What is told by its place, by its name; ``-y FILE`` is the target, too.

        Raises:
            Mistake: one is missing, or too many, or none of those that there are.
        """
        typed = [given.text for given in self.arguments.options.get("python", ())]
        typed += self.arguments.positionals
        words = dict(zip((one.name for one in self.command.positionals), typed, strict=False))
        for positional in self.command.positionals:
            self._check(positional, words.get(positional.name))
        if surplus := typed[len(words) :]:
            raise self._mistake(f"{surplus[0]!r} is one argument too many")
        return words

    @cached_property
    def layers(self) -> Layers:
        """What was said, here and elsewhere."""
        return Layers(self.arguments.options, os.environ)

    @cached_property
    def parameters(self) -> Parameters:
        """Who answers the application when it asks for its parameters."""
        from ..config.parameters import Parameters

        return Parameters(self.layers, lenient=self.arguments.has(HELP))

    def load(self) -> Application:
        """The application that is the target.

        Raises:
            Mistake: there is none, or a parameter of it is wrong.
        """
        from ..config.targets import load

        return load(self.words["TARGET"], self.parameters)

    def settings(self) -> Settings:
        """How the process is to be run.

        Raises:
            Mistake: a value is not what it has to be.
        """
        from ..process.settings import Settings

        asked.layers.refuse_strangers(name, [one.name for one in plugin.options], f"the plugin {name!r} has no option")
    values = {option.key: self.layers.look_up(option).value for option in SETTINGS}
        values["log_level"], values["log_levels"] = _levels(values["log_level"])
        return Settings(**values)

    def _check(self, positional: Positional, word: str | None) -> None:
        if word is None:
            if positional.required:
                raise self._mistake(f"there is no {positional.name}: {positional.help}")
        elif positional.choices and word not in positional.choices:
            guess = similar(word, positional.choices)
            raise self._mistake(
                f"{word!r} is no {positional.name}; there are {', '.join(positional.choices)}",
                f"did you mean {guess}?" if guess else "",
            )

    def _mistake(self, message: str, hint: str = "") -> Mistake:
        hint = hint or f"`trioservice {self.command.name} --help` lists what there is"
        return Mistake(f"{self.command.name}: {message}", hint=hint, fault=Fault.USAGE)


def _levels(pairs: Sequence[tuple[str | None, int]]) -> tuple[int, tuple[tuple[str, int], ...]]:
    """The level of everything, and those of single names; of two for the same, the later counts."""
    levels = {None: logging.INFO, **dict(pairs)}
    return levels[None], tuple((name, level) for name, level in levels.items() if name is not None)


# ---- what the commands do


def _run(asked: Asked) -> int:
    settings = asked.settings()  # what is wrong there is told before the application's own code has run
    from ..process.runner import run

    return run(asked.load, settings)


def _plan(asked: Asked) -> int:
    from .plan import drawn

    return _print(drawn(asked.load()))


def _config(asked: Asked) -> int:
    from .configuration import written

    return _print(written(asked))


def _stop(asked: Asked) -> int:
    from .pid_commands import stop

    return stop(asked.words["PIDFILE"], timeout=asked.layers.look_up(_TIMEOUT).value)


def _status(asked: Asked) -> int:
    from .pid_commands import status

    return status(asked.words["PIDFILE"])


def _reload(asked: Asked) -> int:
    from .pid_commands import reload

    return reload(asked.words["PIDFILE"])


def _completion(asked: Asked) -> int:
    from .completion import script

    return _print(script(asked.words["SHELL"], all_commands()))


def _man(asked: Asked) -> int:
    from .manual import page

    return _print(page(COMMANDS))


def _print(text: str) -> int:
    from ..process.logs import tell

    return Exit.OK if tell(sys.stdout, text) else Exit.OUTPUT_FAILED


_TARGET = Positional("TARGET", "a .tac or .py file that assigns `application`, or package.module:attribute")

_PIDFILE = Positional("PIDFILE", "the file that the application was given as --pidfile")
_TIMEOUT = Option(
    "timeout", or_never(seconds), None, "give up waiting, with status 79, after so long", own=True
)

COMMANDS: tuple[Command, ...] = (
    Command(
        name="run",
        help="run an application",
        description=(
            "Run an application, in the foreground unless told otherwise. It logs to standard error; Ctrl-C "
            "or SIGTERM stops it gracefully, a second one cuts all drains, a third one ends the process."
        ),
        run=_run,
        positionals=(_TARGET,),
        options=FOR_RUNNING,
    ),
    Command(
        name="plan",
        help="show an application's tree of services and start nothing",
        description="Load an application and draw its tree of services, in start order. Nothing is started.",
        run=_plan,
        positionals=(_TARGET,),
        options=FOR_LOADING,
    ),
    Command(
        name="config",
        help="show each setting, and where it comes from",
        description=(
            "Show what `trioservice run` would use with the same arguments, and where each value comes from. "
            "The output is a TOML file for --config. With a TARGET, its parameters are shown as well."
        ),
        run=_config,
        positionals=(_TARGET._replace(required=False),),
        options=FOR_RUNNING,
    ),
    Command(
        name="stop",
        help="stop an application, and wait until it has ended",
        description=(
            "Ask the application that holds a pid file to stop (SIGTERM), and wait until its process has ended. "
            "Said again, it cuts all drains."
        ),
        run=_stop,
        positionals=(_PIDFILE,),
        options=(_TIMEOUT, HELP),
    ),
    Command(
        name="status",
        help="tell whether an application runs",
        description="Tell whether a process holds a pid file, and which one.",
        run=_status,
        positionals=(_PIDFILE,),
    ),
    Command(
        name="reload",
        help="have an application reload",
        description=(
            "Have the application that holds a pid file open its logs anew and reload its tree (SIGHUP): its "
            "certificates, and what its services do on_reload. Its log tells how it went."
        ),
        run=_reload,
        positionals=(_PIDFILE,),
    ),
    Command(
        name="completion",
        help="print the completion of commands and options for a shell",
        description="Print a script that teaches a shell to complete our commands, their options and values.",
        run=_completion,
        positionals=(Positional("SHELL", "bash, zsh or fish", ("bash", "zsh", "fish")),),
    ),
    Command(
        name="man",
        help="print the manual page",
        description="Print the manual page, in the language of man(1): trioservice man | man -l -",
        run=_man,
    ),
)


# ---- plugins


def command_of(name: str, plugin: Plugin) -> Command:
    """The row that a plugin adds to the table."""
    options = tuple(option._replace(group=f"options of {name}") for option in plugin.options)
    return Command(
        name=name,
        help=plugin.help,
        description=plugin.description or plugin.help,
        run=partial(_run_plugin, plugin),
        options=(*options, *(option for option in FOR_RUNNING if option.name not in ("python", "set"))),
    )


def _run_plugin(plugin: Plugin, asked: Asked) -> int:
    settings = asked.settings()
    from ..config.plugins import application_of
    from ..process.runner import run

    name = asked.command.name
    asked.layers.refuse_strangers(name, [one.name for one in plugin.options], f"the plugin {name!r} has no option")
    values = {option.key: asked.layers.look_up(option, name).value for option in plugin.options}
    return run(partial(application_of, name, plugin, values), settings)


def all_commands() -> list[Command]:
    """Ours and those of plugins; of those that are broken, a line is told."""
    from ..config.plugins import installed
    from ..process.logs import tell

    plugins, broken = installed([command.name for command in COMMANDS])
    for one in broken:
        tell(sys.stderr, f"trioservice: {one}\n")
    return [*COMMANDS, *(command_of(name, plugin) for name, plugin in plugins.items())]
