"""A target names an application: a file, or an attribute of a module.

``app.tac`` or ``app.py`` is a Python file whose top level assigns ``application``;
``package.module:attr`` is an Application, any Service, or a callable that returns one.

A file is loaded as a real module.  It has a name, stands in ``sys.modules`` (so its classes
can be pickled and its dataclasses resolved), shows its lines in tracebacks, and its own folder
is importable, as if Python had been given it.  Nothing is ever cached beside it.

Each way in which loading can go wrong is one :class:`TargetError`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import NoReturn, TypeVar

from ..application import Application
from ..errors import is_machinery
from ..service import Service
from .mistakes import Fault, Mistake
from .parameters import Parameters

__all__ = ["TargetError", "as_application", "calling_theirs", "load"]

T = TypeVar("T")

_ABSENT = object()


class TargetError(Mistake):
    """A target that does not lead to an application."""


def load(target: str, parameters: Parameters | None = None) -> Application:
    """The application that *target* names.

    A Service that is no Application is put below one that is named after the target.

    Args:
        target: a file or ``package.module:attribute``.
        parameters: who answers when the application asks for its parameters.

    Raises:
        TargetError: there is none.
        Mistake: a parameter was set to what it cannot be, or is not there.
    """
    with parameters.asked() if parameters is not None else nullcontext():
        return _load(target)


def _load(target: str) -> Application:
    if _looks_like_a_file(target):
        path = Path(target)
        found, where, name = _load_file(path), f"`application` in {target}", path.stem
    else:
        found, where, name = _load_attribute(target), target, target.rpartition(":")[2]
    return as_application(found, where, name)


def _looks_like_a_file(target: str) -> bool:
    return ":" not in target or "/" in target or target.endswith((".py", ".tac")) or os.path.exists(target)


# ---- files


class _FileLoader(SourceFileLoader):
    """Loads one file, whatever its suffix, from what was read of it, and writes no bytecode beside it."""

    def __init__(self, name: str, path: Path, source: bytes) -> None:
        super().__init__(name, str(path))
        self._source = source

    def get_data(self, path: str | bytes) -> bytes:
        return self._source

    def path_stats(self, path: str) -> NoReturn:
        raise OSError("there is no bytecode cache")  # nor is one made, of a source without a date


def _load_file(path: Path) -> object:
    source = _read(path)
    path = path.resolve()
    sys.path.insert(0, str(path.parent))
    name = _free_module_name(path)
    spec = importlib.util.spec_from_file_location(name, path, loader=_FileLoader(name, path, source))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        calling_theirs(partial(spec.loader.exec_module, module), f"loading {path.name}")
    except BaseException:
        sys.modules.pop(name, None)
        raise
    try:
        return module.application
    except AttributeError:
        raise _no_application(path, module) from None


def _read(path: Path) -> bytes:
    # os.path, as a name that is too long or behind a closed door makes those of Path raise.
    hint = "give a .tac or .py file, or package.module:attribute"
    if not os.path.exists(path):
        similar = [
            str(other)
            for other in (path.with_suffix(".tac"), path.with_suffix(".py"))
            if os.path.isfile(other)
        ]
        if similar:
            hint = f"did you mean {similar[0]}?"
        elif "." in path.name and path.suffix not in (".tac", ".py") and "/" not in str(path):
            hint = f"if it is a module, name the attribute too: {path}:application"
        raise TargetError(f"no such file: {path}", hint=hint, fault=Fault.MISSING)
    if not os.path.isfile(path):
        raise TargetError(f"not a file: {path}", hint=hint, fault=Fault.MISSING)
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "whoever runs the application has to be able to read it"
        raise TargetError(f"cannot read {path}: {error.strerror}", hint=hint, fault=Fault.MISSING) from None


def _free_module_name(path: Path) -> str:
    """The file's own name, as Python would call it, unless that would hide another module."""
    name = path.stem.replace(".", "_")
    taken = sys.modules.get(name)
    if taken is not None:
        mine = getattr(taken, "__file__", None) == str(path)
    else:
        try:
            other = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            other = None
        mine = other is None or other.origin == str(path)
    return name if mine else f"{name}_{path.suffix.lstrip('.') or 'file'}"


def _no_application(path: Path, module: ModuleType) -> TargetError:
    candidates = [name for name, value in vars(module).items() if isinstance(value, Service)]
    hint = "assign one at its top level: application = Application('name', ...)"
    if candidates:
        hint = f"it has {candidates[0]!r}; call that `application`, or run {path.stem}:{candidates[0]}"
    return TargetError(f"no `application` in {path.name}", hint=hint, fault=Fault.INVALID)


# ---- attributes of modules


def _load_attribute(target: str) -> object:
    module_name, _, attributes = target.partition(":")
    hint = "a target is a .tac or .py file, or package.module:attribute"
    if not all(module_name.split(".")) or not attributes:
        raise TargetError(f"not a target: {target}", hint=hint, fault=Fault.MISSING)
    if Path(module_name).is_file():
        hint = f"a file takes no attribute, its application is `application`: {module_name}"
        raise TargetError(f"not a target: {target}", hint=hint, fault=Fault.MISSING)
    sys.path.insert(0, "")  # as `python -m` does: what stands in the present folder is importable
    found: object = calling_theirs(partial(_import, module_name), f"importing {module_name}")
    for attribute in attributes.split("."):
        inside = getattr(found, "__dict__", {})
        found = calling_theirs(partial(getattr, found, attribute, _ABSENT), f"looking up {target}")
        if found is _ABSENT:
            names = ", ".join(name for name, value in inside.items() if isinstance(value, Service))
            raise TargetError(
                f"{module_name!r} has no attribute {attribute!r}",
                hint=f"its services are: {names}" if names else "there is no service in it",
                fault=Fault.MISSING,
            )
    return found


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The module itself or a package it is in; what it imports in turn is another matter.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        hint = f"is it installed in this environment ({sys.prefix}), or in the present folder?"
        raise TargetError(f"no module named {error.name!r}", hint=hint, fault=Fault.MISSING) from None


# ---- whatever was found


def as_application(found: object, where: str, name: str) -> Application:
    """The Application that *found* is, that it returns when called, or that it is put below.

    Args:
        found: an Application, a Service, or a callable that returns one.
        where: what it was called there.
        name: for an Application that has to be made.
    """
    if found is Application:
        raise TargetError(
            f"{where} is the class Application, not one of its instances",
            hint="make one: application = Application('name', ...)",
            fault=Fault.INVALID,
        )
    if callable(found) and not isinstance(found, Service):
        where = f"what {where} returned"
        found = calling_theirs(found, f"calling {name}")
    if isinstance(found, Application):
        return found
    if not isinstance(found, Service):
        close = getattr(found, "close", None)
        if callable(close) and hasattr(found, "cr_frame"):
            close()  # the coroutine of an async factory, which nobody will await
        raise TargetError(
            f"{where} is no service but {type(found).__name__}: {found!r:.60}",
            hint="it has to be an Application, a Service, or a function (not an async one) that returns one",
            fault=Fault.INVALID,
        )
    if found.parent is not None:
        raise TargetError(
            f"{where} is a part of {found.parent.path!r}",
            hint="name the topmost service, or one without a parent",
            fault=Fault.INVALID,
        )
    return Application(name, found)


def calling_theirs(theirs: Callable[[], T], doing: str) -> T:
    """Call what runs the user's code; what it raises is told with the user's own frames only."""
    try:
        return theirs()
    except Mistake:
        raise
    except SyntaxError as error:
        raise (_misspelt(error, doing) if _is_in_a_file(error) else _raised(error, doing)) from None
    except SystemExit as error:
        # Obeyed, it would look as if the application had run and come to its end.
        raise _raised(error, doing) from None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is theirs, and they want to see it
        raise _raised(error, doing) from None


def _is_in_a_file(error: SyntaxError) -> bool:
    """Whether it is the file that Python could not read, rather than what the file gave to ``eval``."""
    if error.filename is None:
        return not _users_frames(error)
    return os.path.isfile(error.filename)


def _misspelt(error: SyntaxError, doing: str) -> TargetError:
    where = error.filename or doing
    if error.lineno:
        where += f", line {error.lineno}"
    hint = (error.text or "").strip() or "is it a Python file, in UTF-8?"
    return TargetError(f"{where}: {error.msg}", hint=hint, fault=Fault.INVALID)


def _raised(error: BaseException, doing: str) -> TargetError:
    trace = traceback.TracebackException.from_exception(error)
    trace.stack = _users_frames(error)
    said, _, more = str(error).partition("\n")  # the whole of it stands in the traceback
    return TargetError(
        f"{type(error).__name__} while {doing}: {said}{' ...' if more else ''}",
        hint="the traceback above is that of your own code"
        if trace.stack
        else "it was called with no arguments",
        fault=Fault.RAISED,
        details="".join(trace.format()) if trace.stack else "",
    )


def _users_frames(error: BaseException) -> traceback.StackSummary:
    frames = traceback.walk_tb(error.__traceback__)
    return traceback.StackSummary.extract((frame, line) for frame, line in frames if not is_machinery(frame))
