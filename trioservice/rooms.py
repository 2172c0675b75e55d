"""Rooms that are opened when one of their names is first asked for (PEP 562).

A package that offers the names of many files would import them all for whoever wants one; so an
application would wait for what it is not made of, and ``trioservice --help`` for each plugin.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

__all__ = ["opener"]


def opener(package: str, rooms: Mapping[str, Sequence[str]]) -> Callable[[str], object]:
    """The ``__getattr__`` of *package*: Python asks it for what the package has not shown yet.

    Args:
        package: its ``__name__``.
        rooms: the names that it offers, by the file in which they live: ``{"net.servers": ("TCPServer",)}``.

    Example::

        __getattr__ = opener(__name__, {"site": ("StaticSite",)})
    """

    def __getattr__(name: str) -> object:
        for room, names in rooms.items():
            if name in names:
                value: object = getattr(import_module(f".{room}", package), name)
                setattr(sys.modules[package], name, value)
                return value
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__
