"""Records: frozen dataclasses whose methods are written when they are first needed.

``@dataclass(frozen=True)`` writes six methods as text and compiles them, a quarter of a
millisecond for every class.  This house has some sixty such classes, and an application that
starts makes use of five: to write all of them took as long as everything else that we import.

So ``@record`` says what the fields are, and leaves the methods for later.  In their places stand
notes; whoever asks for one of them, by making an instance or by :func:`dataclasses.fields`, has
the whole class written, by :func:`dataclasses.dataclass` itself, and from then on it is a frozen
dataclass like any other; but one thing is stricter: instances of a plain subclass are frozen too.
"""

from __future__ import annotations

import sys
from dataclasses import FrozenInstanceError, dataclass
from threading import RLock
from typing import Any, NoReturn, TypeVar, dataclass_transform

__all__ = ["record"]

C = TypeVar("C", bound=type)

# What a dataclass has that can be asked of it, or of an instance that was copied or unpickled.
_WRITTEN_LATER = (
    "__init__",
    "__repr__",
    "__eq__",
    "__hash__",
    "__match_args__",
    "__dataclass_fields__",
    "__dataclass_params__",
    *(["__replace__"] if sys.version_info >= (3, 13) else []),
)

_writing = RLock()  # one record may derive from another, which is then written first


@dataclass_transform(frozen_default=True)
def record(cls: C) -> C:
    """Make *cls* a frozen dataclass, whose methods are written when they are first needed.

    What the class defines itself stays, as with :func:`dataclasses.dataclass`.  Defaults are plain
    values; ``field()`` is not understood.
    """
    for name in _WRITTEN_LATER:
        if name not in vars(cls):
            setattr(cls, name, _Note(cls, name))
    for name, refuse in {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}.items():
        setattr(cls, name, refuse)
    return cls


def _refuse_to_set(self: object, name: str, value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


class _Note:
    """Stands where an attribute of a record is yet to be written."""

    def __init__(self, cls: type, name: str) -> None:
        self._cls = cls
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        _write(self._cls)
        written = vars(self._cls)[self._name]
        return written.__get__(instance, owner) if hasattr(written, "__get__") else written


# What every class has for itself, and what refuses for all records alike.
_NOT_SHARED = ("__dict__", "__weakref__", "__setattr__", "__delattr__")


def _write(cls: type) -> None:
    """Have a twin of *cls* made a dataclass, and take over what it was given.

    A twin, since from the class itself the notes would have to go before the methods come, and a
    thread that looked in between would find neither.
    """
    with _writing:
        body = {
            name: value
            for name, value in vars(cls).items()
            if name not in _NOT_SHARED and not isinstance(value, _Note)
        }
        twin: type = dataclass(frozen=True)(type(cls)(cls.__name__, cls.__bases__, dict(body)))
        for name, value in vars(twin).items():
            if name not in _NOT_SHARED and body.get(name, _Note) is not value:
                setattr(cls, name, value)
