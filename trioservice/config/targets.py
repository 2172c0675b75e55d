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
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import NamedTuple, NoReturn

from ..application import Application
from ..service import Service
from .mistakes import Fault
from .parameters import Parameters
from .theirs import TargetError, calling_theirs

__all__ = ["Maker", "TargetError", "as_application", "load", "load_maker"]


_ABSENT = object()


def _as_it_is(found: object) -> object:
    return found


def load(
    target: str,
    parameters: Parameters | None = None,
    *,
    adopt: Callable[[object], object] = _as_it_is,
) -> Application:
    """The application that *target* names.

    A Service that is no Application is put below one that is named after the target.

    Args:
        target: a file or ``package.module:attribute``.
        parameters: who answers when the application asks for its parameters.
        adopt: makes an application of another framework one of ours, and leaves all else as it is.

    Raises:
        TargetError: there is none.
        Mistake: a parameter was set to what it cannot be, or is not there.
    """
    with parameters.asked() if parameters is not None else nullcontext():
        return as_application(*_find(target), adopt)


class Maker(NamedTuple):
    """What makes the application that a target names.

    Args:
        make: makes it.
        anew: whether each call makes another one; else it is always the one that was loaded.
    """

    make: Callable[[], Application]
    anew: bool


def load_maker(
    target: str,
    parameters: Parameters | None = None,
    *,
    adopt: Callable[[object], object] = _as_it_is,
) -> Maker:
    """Load what *target* names, for somebody who wants to make the application more than once.

    The arguments are those of :func:`load`.

    Raises:
        TargetError: there is none.
        Mistake: a parameter was set to what it cannot be, or is not there.
    """
    asked = parameters.asked if parameters is not None else nullcontext
    with asked():
        found, where, name = _find(target)
        first = as_application(found, where, name, adopt)

    def make() -> Application:
        with asked():
            return as_application(found, where, name, adopt)

    anew = callable(found) and not isinstance(found, Service)
    return Maker(make, True) if anew else Maker(lambda: first, False)


def _find(target: str) -> tuple[object, str, str]:
    """What was found, where, and what it is called if it needs a name."""
    if _looks_like_a_file(target):
        path = Path(target)
        return _load_file(path), f"`application` in {target}", path.stem
    return _load_attribute(target), target, target.rpartition(":")[2]


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


def as_application(
    found: object, where: str, name: str, adopt: Callable[[object], object] = _as_it_is
) -> Application:
    """The Application that *found* is, that it returns when called, or that it is put below.

    Args:
        found: an Application, a Service, or a callable that returns one.
        where: what it was called there.
        name: for an Application that has to be made.
        adopt: as for :func:`load`.
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
    found = adopt(found)
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
