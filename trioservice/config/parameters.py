"""Parameters: what an application file lets its operator choose.

::

    port = parameter("port", 8080, help="where customers come in")
    application = Application("shop", TCPServer(port, handler))

One file then serves the developer and the machine room: ``trioservice run shop.tac --set port=9000``, or
``TRIOSERVICE_SET_PORT``, or ``[set]`` in a TOML file.  ``trioservice run shop.tac --help`` tells what there
is.

The call looks up a context variable, which the command sets while it loads the file.  Anywhere else, in a
test or under ``python shop.py``, nobody has been asked, and a parameter is its default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, overload

from ..forms import Form
from .layers import Layers, Sourced
from .mistakes import Fault, Mistake
from .options import REQUIRED, Option, option

__all__ = ["TABLE", "Parameters", "parameter"]

T = TypeVar("T")

#: The table of a TOML file that has them, and the option of the command line.
TABLE = "set"


class Parameters:
    """What an application declares while it is loaded, and what each was set to.

    Args:
        layers: where values come from.
        lenient: a value that must be given and is not is ``None``, for who only wants to know what there is.
    """

    def __init__(self, layers: Layers, *, lenient: bool = False) -> None:
        self._layers = layers
        self._lenient = lenient
        self.declared: dict[str, Option] = {}  #: in the order in which they were declared

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Within, :func:`parameter` asks here.

        Raises:
            Mistake: in the end, something was set that nobody has declared.
        """
        token = _asked.set(self)
        try:
            yield
        finally:
            _asked.reset(token)
        self._layers.refuse_strangers(TABLE, self.declared, "the application has no parameter")

    def value(self, wanted: Option) -> Sourced:
        """What a parameter was set to, and by whom."""
        return self._layers.look_up(wanted._replace(required=wanted.required and not self._lenient), TABLE)

    def _declare(self, wanted: Option) -> Any:
        known = self.declared.setdefault(wanted.name, wanted)
        if known[2:4] != wanted[2:4]:
            raise ValueError(
                f"there are two parameters {wanted.name!r}, and they differ: give one another name"
            )
        return self.value(wanted).value


_asked: ContextVar[Parameters | None] = ContextVar("trioservice_parameters", default=None)


@overload
def parameter(name: str, default: T, *, help: str = "") -> T: ...


@overload
def parameter(name: str, default: Any = ..., *, type: type[T] | Callable[[str], T], help: str = "") -> T: ...


@overload
def parameter(name: str, default: Any = ..., *, type: Form, help: str = "") -> Any: ...


@overload
def parameter(name: str, *, help: str = "") -> str: ...


def parameter(name: str, default: Any = REQUIRED, *, type: Any = None, help: str = "") -> Any:
    """Declare a parameter of this application, and return what it is set to.

    Args:
        name: what operators call it: ``port``, ``max-size``.
        default: its value if nobody sets it; without one, it has to be set.
        type: bool, int, float, str, Path, an Enum, ``list[int]``, one of :mod:`trioservice.forms`, or a
            callable that reads a text and raises ValueError if it cannot; by default that of the default.
        help: what it does, for ``trioservice run FILE --help``.
    """
    declared = option(name, default, type=type, help=help)
    asked = _asked.get()
    if asked is not None:
        return asked._declare(declared)
    if declared.required:
        raise Mistake(
            f"the parameter {name!r} has no default, and nobody can be asked for it",
            hint="run the file by `trioservice run`, or give it a default",
            fault=Fault.USAGE,
        )
    return declared.default
