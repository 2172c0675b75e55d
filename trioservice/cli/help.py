"""Help: what is shown of the declarations to a person at a terminal.

As wide as the terminal, up to a width that can be read, and coloured only there (and never with
``NO_COLOR``).  The texts are made of the tables that the command line is read by.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..config.options import Option
from ..process.exits import Exit

if TYPE_CHECKING:
    from .command import Command

__all__ = ["Style", "of_command", "overview", "sections", "spelled"]

_WIDEST = 100
_NARROW = 60
_MARGIN = 26  # where explanations begin


class Style(NamedTuple):
    """How it may look."""

    width: int = 80
    colour: bool = False

    @classmethod
    def of_terminal(cls) -> Style:
        """What suits standard output."""
        width = min(shutil.get_terminal_size().columns, _WIDEST)
        wanted = "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        return cls(width, wanted and sys.stdout is not None and sys.stdout.isatty())

    def heading(self, text: str) -> str:
        """The name of a part."""
        return f"\033[1m{text}\033[0m" if self.colour else text

    def name(self, text: str) -> str:
        """What can be typed."""
        return f"\033[36m{text}\033[0m" if self.colour else text

    def prose(self, text: str) -> str:
        """Sentences."""
        return textwrap.fill(text, self.width)

    def entries(self, entries: Iterable[tuple[str, str]], margin: int = _MARGIN) -> Iterator[str]:
        """Names, and beside them what they mean; or below, where there is no room."""
        margin = margin if self.width >= _NARROW else 6
        for name, meaning in entries:
            lines = textwrap.wrap(meaning, max(self.width - margin, 20)) or [""]
            room = margin - len(f"  {name}")
            beside = " " * room + lines.pop(0) if room >= 2 else ""
            yield f"  {self.name(name)}{beside}".rstrip()
            yield from (" " * margin + line for line in lines)


def overview(commands: Sequence[Command], style: Style) -> str:
    """``trioservice --help``."""
    listed = sorted((command.name, command.help) for command in commands)
    margin = min(max(len(name) for name, _ in listed) + 4, _MARGIN)
    options = [("-h, --help", "show this"), ("--version", "show the version")]
    statuses = [(f"{status:d}", status.meaning) for status in Exit]
    parts = [
        [style.heading("Usage:") + " trioservice COMMAND [OPTIONS] ..."],
        [style.prose("Run applications that are described as trees of services.")],
        [style.heading("Commands:"), *style.entries(listed, margin)],
        [style.heading("Options:"), *style.entries(options, margin)],
        [style.heading("Exit statuses:"), *style.entries(statuses, 6)],
        [style.prose("A process that was stopped by a signal ends by that signal.")],
        [style.prose("`trioservice COMMAND --help` tells more of a command.")],
    ]
    return _joined(parts)


def of_command(command: Command, style: Style, parameters: Sequence[Option] = ()) -> str:
    """``trioservice COMMAND --help``."""
    parts = [
        [style.heading("Usage:") + f" {usage(command)}"],
        [style.prose(command.description)],
    ]
    if command.positionals:
        entries = [(one.name, one.help) for one in command.positionals]
        parts.append([style.heading("Arguments:"), *style.entries(entries)])
    if parameters:
        entries = [(f"--set {one.name}={one.form.metavar or 'yes|no'}", meaning(one)) for one in parameters]
        parts.append([style.heading("Parameters of the application:"), *style.entries(entries)])
    for group, options in sections(command.options).items():
        entries = [(spelled(option), meaning(option)) for option in options]
        parts.append([style.heading(f"{group.capitalize()}:"), *style.entries(entries)])
    if any(not option.own for option in command.options):
        parts.append([style.prose(_LAYERS)])
    return _joined(parts)


_LAYERS = (
    "What the command line leaves open is looked up in the environment (--log-level as "
    'TRIOSERVICE_LOG_LEVEL), then in the file that --config names (log-level = "debug"). A flag is turned '
    "off by --flag=no. "
    "`trioservice config` shows what holds, and why."
)


def usage(command: Command) -> str:
    """The command line in short."""
    words = [one.name if one.required else f"[{one.name}]" for one in command.positionals]
    return " ".join(["trioservice", command.name, "[OPTIONS]", *words])


def sections(options: Sequence[Option]) -> dict[str, list[Option]]:
    """Options by the group in which they are shown."""
    found: dict[str, list[Option]] = {}
    for option in options:
        found.setdefault(option.group or "options", []).append(option)
    return found


def spelled(option: Option) -> str:
    """``-l, --logfile FILE``."""
    short = f"-{option.short}, " if option.short else "    "
    return f"{short}{option.spelling}" + (f" {option.form.metavar}" if option.form.metavar else "")


def meaning(option: Option) -> str:
    """What it does, and its default where the words do not tell it."""
    if option.required:
        return f"{option.help} (has to be given)".lstrip()
    default = option.shown(option.default)
    if default and not (option.form.is_flag and not option.default) and "default" not in option.help:
        return f"{option.help} (default: {default})".lstrip()
    return option.help


def _joined(parts: Sequence[Sequence[str]]) -> str:
    return "\n\n".join("\n".join(part) for part in parts) + "\n"
