"""Every command of ``trioservice``, declared in one table: name, help, arguments, options, function.

A command is a row.  Its function is handed what was asked, returns an exit status, and imports what it
needs when it is called, for the time a program takes to start is the time it takes to import.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from ..config.options import FOR_LOADING, FOR_RUNNING, HELP, Option
from ..forms import count, flag, items, named_value, or_never, path, seconds, whole
from ..process.exits import Exit
from .command import Asked, Command, Positional
from .launch import no_search_for_garbage

if TYPE_CHECKING:
    from ..config.plugins import Plugin

__all__ = ["COMMANDS", "all_commands", "command_of"]


# ---- what the commands do


def _run(asked: Asked) -> int:
    settings = asked.settings()  # what is wrong there is told before the application's own code has run
    with no_search_for_garbage():
        from ..process.runner import run

    return run(asked.load, settings)


def _plan(asked: Asked) -> int:
    from .plan import drawn

    return _print(drawn(asked.load()))


def _check(asked: Asked) -> int:
    from ..testing.command import check

    seeds, seed, jobs, explain, svg = (asked.layers.look_up(option).value for option in _FOR_CHECKING)
    return check(
        asked.maker(),
        asked.words["TARGET"],
        seeds=seeds,
        seed=seed,
        jobs=jobs,
        explain=explain,
        svg=svg,
    )


def _config(asked: Asked) -> int:
    from .configuration import written

    return _print(written(asked))


def _unit(asked: Asked) -> int:
    from .unit import unit

    sockets, folder = (asked.layers.look_up(option).value for option in (_SOCKET, _INTO))
    return _print(unit(asked, dict(sockets), folder))


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
    from ..process.terminal import tell

    return Exit.OK if tell(sys.stdout, text) else Exit.OUTPUT_FAILED


_TARGET = Positional("TARGET", "a .tac or .py file that assigns `application`, or package.module:attribute")

_PIDFILE = Positional("PIDFILE", "the file that the application was given as --pidfile")
_TIMEOUT = Option(
    "timeout", or_never(seconds), None, "give up waiting, with status 79, after so long", own=True
)

_SOCKET = Option(
    "socket",
    items(named_value),
    (),
    "have systemd listen there (a port, an address, a path) for the endpoint systemd:NAME; may be repeated",
    group="unit",
    own=True,
)
_INTO = Option(
    "into",
    path._replace(metavar="FOLDER"),
    None,
    "write the units into this folder instead of printing them",
    group="unit",
    own=True,
)

_FOR_CHECKING = (
    Option("seeds", count, 1000, "how many lives are lived", group="check", own=True),
    Option("seed", whole, None, "live this one only", group="check", own=True),
    Option(
        "jobs",
        count,
        None,
        "how many at a time; by default one for each processor",
        group="check",
        own=True,
    ),
    Option("explain", flag, False, "tell the story of the life that was found", group="check", own=True),
    Option("svg", path, None, "draw it into this file", group="check", own=True),
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
        name="check",
        help="live an application through thousands of simulated lives",
        description=(
            "Live an application through simulated lives, in virtual time and a network in memory: its "
            "services are stopped, started, made to fail, visited by clients. The first broken promise is "
            "told, with the shortest script that shows it."
        ),
        run=_check,
        positionals=(_TARGET,),
        options=(*_FOR_CHECKING, *FOR_LOADING),
    ),
    Command(
        name="unit",
        help="print the units by which systemd runs an application",
        description=(
            "Print a .service, and a .socket for each --socket, with which systemd does what `trioservice "
            "run` does with the same arguments, in a sandbox. What is in the environment now is not in them."
        ),
        run=_unit,
        positionals=(_TARGET,),
        options=(_SOCKET, _INTO, *FOR_RUNNING),
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
            "Ask the application that holds a pid file to stop (SIGTERM), and wait until its process has "
            "ended. Said again, it cuts all drains."
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
        description=plugin.description or f"{plugin.help[:1].upper()}{plugin.help[1:]}.",
        run=partial(_run_plugin, plugin),
        options=(*options, *(option for option in FOR_RUNNING if option.name not in ("python", "set"))),
    )


def _run_plugin(plugin: Plugin, asked: Asked) -> int:
    settings = asked.settings()
    with no_search_for_garbage():
        from ..config.plugins import application_of
        from ..process.runner import run

    name = asked.command.name
    known = [option.name for option in plugin.options]
    asked.layers.refuse_strangers(name, known, f"the plugin {name!r} has no option")
    values = {option.key: asked.layers.look_up(option, name).value for option in plugin.options}
    return run(partial(application_of, name, plugin, values), settings)


def all_commands() -> list[Command]:
    """Ours and those of plugins; of those that are broken, a line is told."""
    from ..config.plugins import installed
    from ..process.terminal import tell

    plugins, broken = installed([command.name for command in COMMANDS])
    for one in broken:
        tell(sys.stderr, f"trioservice: {one}\n")
    return [*COMMANDS, *(command_of(name, plugin) for name, plugin in plugins.items())]
