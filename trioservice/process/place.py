"""Where the process lives: the root of all its paths, and the folder in which it runs."""

from __future__ import annotations

import importlib
import os
import pkgutil
import time
from collections.abc import Callable

from .exits import CannotRun, Exit

__all__ = ["move_in"]

# Rooms that nothing which runs in a new root would open.
_ELSEWHERE = ("__main__", "cli", "testing")

# What Python itself imports when it is first needed: the names of hosts, the text of tracebacks.
_PYTHONS_OWN = ("encodings.idna", "linecache", "stringprep", "traceback", "unicodedata")


def move_in(rundir: str | None, chroot: str | None) -> None:
    """Make *chroot* the root of all paths, if it is given, and *rundir* the present folder.

    In a new root *rundir* is a path within it, by default its top.  Everything that may be imported later is
    imported first, since in the new root there is nothing to import it from.

    Raises:
        CannotRun: a folder does not exist, or it is not allowed.
    """
    if chroot is not None:
        _import_what_may_be_needed()
        time.tzset()  # it reads a file of the old root, once
        _enter(chroot, "chroot", os.chroot)
        os.chdir("/")
    if rundir is not None:
        _enter(rundir, "rundir", os.chdir)


def _enter(folder: str, what: str, how: Callable[[str], None]) -> None:
    try:
        how(folder)
    except OSError as error:
        only_root = what == "chroot" and isinstance(error, PermissionError)
        raise CannotRun(
            f"cannot make {folder} the {what}: {error.strerror}",
            hint="only root may do that" if only_root else "it has to be a folder that the process may enter",
            status=Exit.NO_PERMISSION if isinstance(error, PermissionError) else Exit.NO_INPUT,
        ) from None


def _import_what_may_be_needed() -> None:
    package = importlib.import_module(__name__.partition(".")[0])
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.split(".")[1] not in _ELSEWHERE:
            importlib.import_module(module.name)
    for name in _PYTHONS_OWN:
        importlib.import_module(name)
