"""Options: everything that a process can be told, each declared once.

From the table below are made: the reading of the command line, of the environment and of TOML files;
``--help``, the manual page, the completion of shells, and the tables of the documentation.  So an option
is added here, and nowhere else, and it cannot be documented as something that it is not.

Where ``twistd`` has an option of the same meaning, its letter is the same.  What it has besides is in
:data:`TWISTD`, with what to do instead: the command line of many years is answered in one line.
"""

from __future__ import annotations

import logging
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from .. import forms
from ..forms import Form

__all__ = [
    "FOR_LOADING",
    "FOR_RUNNING",
    "HELP",
    "REQUIRED",
    "SETTINGS",
    "TWISTD",
    "VERSION",
    "Option",
    "option",
]


class Option(NamedTuple):
    """One thing that can be told.

    Args:
        name: as on the command line without its dashes, and in a TOML file: ``log-level``.
        form: how the value is written.
        default: the value if nobody says anything.
        help: what it does, as part of a sentence.
        short: a letter that says the same.
        group: under which heading help shows it.
        opposite_of: the flag that it says no to.
        own: it is for the command line alone, and no setting of the process.
        required: that it must be given, since there is no default.
        aliases: further spellings, of old.
    """

    name: str
    form: Form
    default: Any = None
    help: str = ""
    short: str = ""
    group: str = ""
    opposite_of: str = ""
    own: bool = False
    required: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its name as Python writes names; of an option of ours, the field of ``Settings``."""
        return self.name.replace("-", "_")

    @property
    def spelling(self) -> str:
        """How it is written on a command line."""
        return f"--{self.name}"

    def shown(self, value: Any) -> str:
        """A value as it would be written; nothing for one that is not there."""
        return self.form.nothing if value is None else self.form.show(value)


#: The default of what has to be given.
REQUIRED: Any = object()


def option(
    name: str, default: Any = REQUIRED, *, type: Any = None, help: str = "", short: str = ""
) -> Option:
    """An option of a plugin, or a parameter of an application file.

    Args:
        name: what it is called: ``port``, ``max-size``.
        default: its value if it is not given; without one it must be.
        type: bool, int, float, str, Path, an Enum, ``list[int]``, one of :mod:`trioservice.forms`, or a
            callable that reads a text and raises ValueError if it cannot; by default that of the default.
        help: what it does, as part of a sentence.
        short: a letter that says the same, for plugins.
    """
    _check_name(name, short)
    required = default is REQUIRED
    if type is None:
        type = str if required or default is None else _type_of(default)
    form = type if isinstance(type, Form) else forms.form_for(type)
    return Option(name, form, None if required else default, help, short, required=required)


def _check_name(name: str, short: str) -> None:
    if not name.replace("-", "_").isidentifier() or name.startswith(("-", "_")):
        raise ValueError(
            f"{name!r} is no name for an option: letters, digits and single dashes, as in max-size"
        )
    if len(short) > 1 or (short and not short.isalnum()):
        raise ValueError(f"{short!r} is no short name for {name!r}: it has to be one letter")


def _type_of(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        kinds = {type(item) for item in value}
        return (list if isinstance(value, list) else tuple)[kinds.pop() if len(kinds) == 1 else str]
    return Path if isinstance(value, PurePath) else type(value)


# ---- the table


def _in(group: str, *options: Option) -> tuple[Option, ...]:
    return tuple(option._replace(group=group) for option in options)


_FOLDER = forms.path._replace(metavar="FOLDER")
_USER = forms.name_or_number._replace(metavar="USER")
_GROUP = forms.name_or_number._replace(metavar="GROUP")
_LOGGER = forms.path._replace(metavar="FILE|NAME", wanted="a TOML or JSON file, or package.module:callable")
_FORCED = forms.or_never(forms.seconds)
_FORMAT = forms.choice("text", "json", "journal")
_LEVELS = forms.items(forms.level_of_one)

#: What a process can be told: each fills the field of ``Settings`` that has its name.
SETTINGS: tuple[Option, ...] = (
    *_in(
        "process",
        Option("daemon", forms.flag, False, "leave the terminal, and return when all of it is ready"),
        Option("daemon-timeout", forms.seconds, 120.0, "how long to wait for a daemon to be ready"),
        Option("pidfile", forms.path, None, "a file for the process's number, locked while it lives"),
        Option(
            "stuck-timeout",
            _FORCED,
            None,
            "end the process by force so long after its shutdown_timeout",
        ),
        Option("exit-zero", forms.flag, False, "after a stop by signal exit with 0, not by that signal"),
    ),
    *_in(
        "log",
        Option(
            "logfile",
            forms.path,
            None,
            "log to this file, - is standard output (default: standard error; a daemon: trioservice.log)",
            "l",
            aliases=("log-file",),
        ),
        Option(
            "log-level",
            _LEVELS,
            ((None, logging.INFO),),
            "log from this level on, everything or only what NAME, a logger or a service's path, has to say; "
            "may be repeated",
        ),
        Option("log-format", _FORMAT, None, "what a record looks like (default: what suits where it goes)"),
        Option("log-rotate", forms.rotation, None, "begin a fresh log file at this size, or daily"),
        Option("log-keep", forms.count, 10, "how many old log files are kept"),
        Option("syslog", forms.flag, False, "log to the system's log instead of a file"),
        Option("prefix", forms.text, "trioservice", "what stands before each record there"),
        Option(
            "logger",
            _LOGGER,
            None,
            "let a dictConfig file (TOML or JSON) or package.module:callable set up logging instead",
        ),
    ),
    *_in(
        "place and privileges",
        Option("rundir", _FOLDER, None, "run in this folder", "d"),
        Option("chroot", _FOLDER, None, "make this folder the root of all paths"),
        Option("umask", forms.mode, None, "for the files that are made (default: unchanged; a daemon: 077)"),
        Option("uid", _USER, None, "become this user once everything is bound", "u"),
        Option("gid", _GROUP, None, "become this group (default: the user's)", "g"),
        Option("euid", forms.flag, False, "change the effective ids only, so that there is a way back"),
    ),
    *_in(
        "looking closer",
        Option("profile", forms.path, None, "write what the profiler found to this file, for pstats", "p"),
        Option("debug", forms.flag, False, "stop at failures in the debugger, and log everything", "b"),
    ),
)

HELP = Option("help", forms.flag, False, "show this and exit", "h", "more", own=True)
VERSION = Option("version", forms.flag, False, "show the version and exit", "", "more", own=True)

#: What every command takes that loads an application.
FOR_LOADING: tuple[Option, ...] = _in(
    "more",
    Option("set", forms.named_value, None, "set a parameter of the application; may be repeated", own=True),
    Option("config", forms.path, None, "read settings from this TOML file", own=True),
    Option("python", forms.path, None, "TARGET, as twistd has it", "y", own=True),
    HELP,
)

#: What every command takes besides that runs one.
FOR_RUNNING: tuple[Option, ...] = (
    *_in(
        "process",
        Option(
            "nodaemon",
            forms.flag,
            None,
            "stay in the foreground, the default",
            "n",
            opposite_of="daemon",
            own=True,
        ),
    ),
    *SETTINGS,
    *FOR_LOADING[:-1],
    *_in(
        "more",
        Option(
            "no-save", forms.flag, None, "twistd's, and without effect", "o", own=True, aliases=("no_save",)
        ),
        VERSION,
        HELP,
    ),
)

_PICKLES = "applications are not pickled; name a .tac or .py file"
_REACTORS = "there is one event loop, trio's; leave it out"

#: What twistd has besides, by its long and its short name, and what to do instead.
TWISTD = {
    ("reactor", "r"): _REACTORS,
    ("help-reactors", ""): _REACTORS,
    ("file", "f"): _PICKLES,
    ("source", "s"): _PICKLES,
    ("encrypted", "e"): _PICKLES,
    ("profiler", ""): "--profile FILE uses cProfile; leave it out",
    ("savestats", ""): "what --profile FILE writes is always for pstats; leave it out",
    ("spew", ""): "SIGUSR2 logs the stack of every task; for every line there is `python -m trace`",
    ("originalname", ""): "a process keeps its name; leave it out",
}
