"""The pages that the command line writes itself: its help, its settings, its exit statuses, and twistd's.

They are made from the declarations whenever the pages are built, so they cannot drift.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from pathlib import Path

from trioservice.cli.commands import COMMANDS
from trioservice.cli.help import Style, of_command, overview, spelled
from trioservice.config.layers import variable
from trioservice.config.options import FOR_RUNNING, SETTINGS, TWISTD, Option, option
from trioservice.forms import seconds, size
from trioservice.process.exits import Exit


def help_texts() -> str:
    """What ``trioservice --help`` and each command's ``--help`` print."""
    style = Style(width=88)
    parts = [_listing("trioservice --help", overview(COMMANDS, style))]
    for command in COMMANDS:
        name = f"trioservice {command.name}"
        parts += [f"## {name}\n", _listing(f"{name} --help", of_command(command, style))]
    return "\n".join(parts)


def exit_statuses() -> str:
    """A row for each member of ``Exit``."""
    rows = ([f"{status:d}", f"`{status.name}`", status.meaning] for status in Exit)
    return _table(["status", "name", "meaning"], rows)


def settings() -> str:
    """A row for each setting: how it is written where, what it is, and what it is by default."""
    rows = (
        [
            f"`{spelled(one).strip()}`",
            f"`{variable(one)}`",
            f"`{one.name}`",
            one.form.wanted,
            f"`{one.shown(one.default)}`" if one.shown(one.default) else "",
        ]
        for one in SETTINGS
    )
    return _table(["command line", "environment", "file", "is", "default"], rows)


class Colour(enum.Enum):
    """An example."""

    RED = 1
    BLUE = 2


def forms() -> str:
    """A row for each type that a parameter may have."""
    examples: list[tuple[str, Option]] = [
        ('"shop"', option("x", "shop")),
        ("8080", option("x", 8080)),
        ("0.5", option("x", 0.5)),
        ("False", option("x", False)),
        ('Path("/srv")', option("x", Path("/srv"))),
        ("Colour.RED", option("x", Colour.RED)),
        ("[80, 443]", option("x", [80, 443])),
        ("60.0, type=seconds", option("x", 60.0, type=seconds)),
        ("1 << 20, type=size", option("x", 1 << 20, type=size)),
    ]
    rows = ([f"`{default}`", one.form.wanted, f"`{one.shown(one.default)}`"] for default, one in examples)
    return _table(["default", "what operators give", "for example"], rows)


# ---- twistd

#: Every option of twistd on Unix, by its long and its short name, as its own help has them.
TWISTD_OPTIONS = {
    "python": "y", "no_save": "o", "nodaemon": "n", "rundir": "d", "pidfile": "", "chroot": "", "uid": "u",
    "gid": "g", "euid": "", "umask": "", "logfile": "l", "logger": "", "syslog": "", "prefix": "",
    "profile": "p", "profiler": "", "savestats": "", "debug": "b", "spew": "", "reactor": "r",
    "help-reactors": "", "originalname": "", "file": "f", "source": "s", "encrypted": "e", "version": "",
    "help": "",
}  # fmt: skip

#: Where the option is the same and its meaning is not quite.
DIFFERENCES = {
    "nodaemon": "the default; `--daemon` is the other",
    "pidfile": "no file by default; locked, so a stale one is no obstacle",
    "chroot": "pid file and log are opened before; the jail needs no `/dev/null`",
    "umask": "before any file is made but the log",
    "logfile": "standard error by default, `trioservice.log` for a daemon",
    "logger": "a `dictConfig` file, or a callable that sets up `logging`",
    "syslog": "each level as the system's",
    "prefix": "`trioservice` by default",
    "profile": "always what `pstats` reads",
    "debug": "the debugger opens where a service failed",
    "uid": "verified; files that were made are given to the user",
    "python": "or just the name of the file",
    "no_save": "without effect",
}


def twistd() -> str:
    """A row for each option of twistd: what it is called here, and what is different."""
    ours = {name: one for one in FOR_RUNNING for name in (one.name, *one.aliases)}
    rows = (_of_twistd(name, letter, ours.get(name)) for name, letter in TWISTD_OPTIONS.items())
    return _table(["twistd", "here", "what is different"], rows)


def _of_twistd(name: str, letter: str, ours: Option | None) -> list[str]:
    theirs = f"`--{name}`" + (f", `-{letter}`" if letter else "")
    if ours is None:
        return [theirs, "", TWISTD[name, letter]]
    return [theirs, "the same", DIFFERENCES.get(name, "")]


# ---- Markdown


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return (
        "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines) + "\n"
    )


def _listing(command: str, output: str) -> str:
    return f"```console\n$ {command}\n{output.rstrip()}\n```\n"
