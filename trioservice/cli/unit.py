"""``trioservice unit``: from a command line for `run` to the units by which systemd does the same."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.layers import Given
from ..process.exits import CannotRun, Exit
from ..process.unit import Launch, units

if TYPE_CHECKING:
    from ..config.options import Option
    from ..process.settings import Settings
    from .command import Asked

__all__ = ["unit"]

# What systemd does itself, and which words of the unit say so.
_SYSTEMDS = {
    "daemon": "leave it out: systemd wants the process in the foreground, and takes care of the rest",
    "chroot": "leave it out, and write RootDirectory= into the unit",
    "euid": "leave it out: who systemd has made a user has no way back",
}

# Of these the units are made; they are no arguments of the program.
_OURS = ("daemon", "uid", "gid", "socket", "into", "python")


def unit(asked: Asked, sockets: dict[str, str], folder: str | None) -> str:
    """The units as text; or, if they were written into *folder*, which ones.

    Raises:
        CannotRun: something of it is systemd's own business; or the folder cannot be written to.
    """
    settings = asked.settings()
    application = asked.load()
    for name, hint in _SYSTEMDS.items():
        if getattr(settings, name):
            raise CannotRun(f"--{name} is not for a process that systemd runs", hint=hint, status=Exit.USAGE)
    user = application.uid if settings.uid is None and settings.gid is None else settings.uid
    launch = Launch(
        words=(*_program(), "run", *_options(asked), _target(asked)),
        folder=None if _is_a_file(asked) else os.getcwd(),
        user=user,
        group=application.gid if settings.uid is None and settings.gid is None else settings.gid,
        reads=(sys.prefix, sys.base_prefix, os.path.dirname(os.path.dirname(__file__))),
        writes=tuple(_files(settings)),
        stuck_timeout=settings.stuck_timeout,
    )
    made = units(application, launch, sockets)
    return _listing(made) if folder is None else _write(made, Path(folder))


def _program() -> tuple[str, ...]:
    """We, as systemd can find us: the command that is installed beside this Python."""
    python = os.path.abspath(sys.executable)
    command = Path(python).with_name("trioservice")
    return (str(command),) if command.exists() else (python, "-m", "trioservice")


def _options(asked: Asked) -> Iterator[str]:
    """The options of this command line, for another folder."""
    for option in asked.command.options:
        if option.name not in _OURS:
            yield from (_again(option, given) for given in asked.arguments.options.get(option.name, ()))


def _again(option: Option, given: Given) -> str:
    if option.form.is_flag and given.text == "yes":
        return option.spelling
    is_path = option.form.metavar in ("FILE", "FOLDER") or Path(given.text).is_file()
    text = os.path.abspath(given.text) if is_path and given.text not in ("", "-") else given.text
    return f"{option.spelling}={text}"


def _is_a_file(asked: Asked) -> bool:
    return Path(asked.words["TARGET"]).is_file()


def _target(asked: Asked) -> str:
    target = asked.words["TARGET"]
    return os.path.abspath(target) if _is_a_file(asked) else target


def _files(settings: Settings) -> Iterator[str]:
    for file in (settings.logfile, settings.pidfile, settings.profile):
        if file is not None and file != "-":
            yield os.path.abspath(file)


def _listing(made: dict[str, str]) -> str:
    if len(made) == 1:
        return next(iter(made.values()))
    return "\n".join(f"# {name}\n{text}" for name, text in made.items())


def _write(made: dict[str, str], folder: Path) -> str:
    for name, text in made.items():
        try:
            (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CannotRun(
                f"{folder / name} cannot be written: {error.strerror}",
                hint="for /etc/systemd/system one has to be root",
                status=Exit.CANNOT_CREATE,
            ) from None
    return "".join(f"{folder / name}\n" for name in made)
