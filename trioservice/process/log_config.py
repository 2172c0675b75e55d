"""Logging as the user sets it up: ``--logger logging.toml``, ``--logger shop.logs:configure``.

The file is what :func:`logging.config.dictConfig` takes, in TOML or JSON.  Two of its keys may be left out.
``version`` is 1, as there is no other.  ``disable_existing_loggers`` is false, since the application was
loaded before, and its loggers, which exist by then, would be silenced, and ours too.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from .exits import CannotRun, Exit

__all__ = ["configure"]

_DEFAULTS = {"version": 1, "disable_existing_loggers": False}


def configure(name: str) -> None:
    """Set up logging by *name*: a file, or a function as ``package.module:function``.

    Raises:
        CannotRun: there is no such thing, or it does not work.
    """
    if Path(name).suffix in (".toml", ".json"):
        _by_a_file(Path(name))
    else:
        _by_a_function(name)


def _by_a_file(path: Path) -> None:
    import logging.config

    try:
        logging.config.dictConfig({**_DEFAULTS, **_read(path)})
    except OSError as error:
        raise _cannot_set_up(path, f"{error.strerror}", Exit.NO_INPUT) from None
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        why = f"{error}" if error.__cause__ is None else f"{error}: {error.__cause__}"
        raise _cannot_set_up(path, why, Exit.CONFIG) from None


def _read(path: Path) -> dict[str, object]:
    if path.suffix == ".json":
        import json

        return dict(json.loads(path.read_text(encoding="utf-8")))
    import tomllib

    return tomllib.loads(path.read_text(encoding="utf-8"))


def _by_a_function(name: str) -> None:
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise _cannot_set_up(
            name, "that is neither a .toml or .json file nor package.module:function", Exit.USAGE
        )
    sys.path.insert(0, os.getcwd())  # as for a target; by its name, as the process may move elsewhere
    try:
        function = getattr(importlib.import_module(module), attribute)
        function()
    except Exception as error:  # it is the user's code, and may raise what it likes
        raise _cannot_set_up(name, f"{type(error).__name__}: {error}", Exit.USAGE) from error


def _cannot_set_up(what: object, why: str, status: Exit) -> CannotRun:
    return CannotRun(
        f"cannot set up logging by {what}: {why}",
        hint="--logger takes a .toml or .json file for logging.config.dictConfig, or package.module:function",
        status=status,
    )
