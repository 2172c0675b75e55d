"""The manual page, in the language of ``man``, made of the tables that the command line is read by."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .. import __version__
from ..config.layers import variable
from ..config.options import Option
from ..process.exits import Exit
from .help import meaning, sections, usage

if TYPE_CHECKING:
    from .command import Command

__all__ = ["page"]


def page(commands: Sequence[Command]) -> str:
    """``trioservice(1)``."""
    parts = [
        [f'.TH TRIOSERVICE 1 "" "trioservice {__version__}"'],
        [".SH NAME", r"trioservice \- run applications that are described as trees of services"],
        [".SH SYNOPSIS", *_synopsis(commands)],
        [".SH DESCRIPTION", *_description()],
        [*_commands(commands)],
        [".SH ENVIRONMENT", *_environment(commands)],
        [".SH FILES", *_files()],
        [".SH SIGNALS", *_entries(_SIGNALS)],
        [".SH EXIT STATUS", *_entries((f"{status:d}", status.meaning) for status in Exit)],
        [".SH EXAMPLES", *_examples()],
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


_SIGNALS = (
    ("SIGTERM, SIGINT", "stop in order; a second one cuts all drains, a third one ends the process"),
    ("SIGHUP", "open the log files anew, and reload the application: its certificates, its on_reload"),
    ("SIGUSR1", "put the log file aside and begin a fresh one"),
    ("SIGUSR2", "log the tree of services, with the stack of every task"),
)


def _synopsis(commands: Sequence[Command]) -> Iterator[str]:
    for index, command in enumerate(commands):
        yield from [".br"] * (index > 0)
        yield f".B {_escaped(usage(command))}"


def _description() -> Iterator[str]:
    yield from _prose(
        "An application is a tree of services: a Python file that assigns one to `application`, or an "
        "attribute of a module. Its services are started in order, each when the one before is ready, and "
        "stopped in reverse, each when the one after is gone."
    )


def _commands(commands: Sequence[Command]) -> Iterator[str]:
    told: dict[tuple[Option, ...], str] = {}
    for command in commands:
        yield f".SH TRIOSERVICE {command.name.upper()}"
        yield from _prose(command.description)
        yield from _entries((one.name, one.help) for one in command.positionals)
        known = [options for options in told if set(options) <= set(command.options) and len(options) > 1]
        for options in known[:1]:
            yield ".PP"
            yield from _prose(f"It takes the options of `trioservice {told[options]}`.")
        yield from _options([one for one in command.options if not known or one not in known[0]])
        told.setdefault(command.options, command.name)


def _options(options: Sequence[Option]) -> Iterator[str]:
    groups = sections(options)
    for group, members in groups.items():
        if len(groups) > 1:
            yield f".SS {_escaped(group.capitalize())}"
        yield from _entries((_spelled(option), meaning(option)) for option in members)


def _spelled(option: Option) -> str:
    short = f"-{option.short}, " if option.short else ""
    return f"{short}{option.spelling} {option.form.metavar}".strip()


def _environment(commands: Sequence[Command]) -> Iterator[str]:
    yield from _prose("What the command line leaves open is looked up here, then in the file of --config.")
    settings = {option.name: option for command in commands for option in command.options if not option.own}
    yield from _entries((variable(option), option.spelling) for option in settings.values())
    yield from _entries(
        [
            ("TRIOSERVICE_CONFIG", "--config"),
            ("TRIOSERVICE_SET_NAME", "--set NAME=VALUE"),
            ("NO_COLOR", "if set, help is not coloured"),
        ]
    )


def _files() -> Iterator[str]:
    yield from _prose(
        "The file of --config is TOML. Its keys are the names of the options without their dashes, and its "
        "table [set] has the parameters of the application."
    )


def _examples() -> Iterator[str]:
    yield ".EX"
    yield "trioservice run shop.tac"
    yield _escaped("trioservice run --daemon --pidfile /run/shop.pid --uid shop shop.tac")
    yield ".EE"


def _entries(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, text in entries:
        yield ".TP"
        yield f".B {_escaped(name)}"
        yield from _prose(text)


def _prose(text: str) -> Iterator[str]:
    yield from map(_escaped, textwrap.wrap(text, 70, break_on_hyphens=False))


def _escaped(text: str) -> str:
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text[:1] in (".", "'") else text
