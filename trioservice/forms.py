"""Forms: how a value is written, and what it has to be.

``10M``, ``022``, ``shop/web=debug``: what a person types on a command line, in a variable of the
environment or in a file is text, and somebody has to make values of it.  Here that is done once
for all three.  A :class:`Form` reads a text, writes a value back (``read(show(value)) == value``), and says
in words what is wanted, for the error message and for the documentation alike.

Everything here is pure: no form looks at a disk, a user database or a clock.
"""

from __future__ import annotations

import enum
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "Form",
    "FormError",
    "choice",
    "count",
    "decimal",
    "flag",
    "form_for",
    "items",
    "level",
    "level_of_one",
    "mode",
    "name_or_number",
    "named_value",
    "or_never",
    "path",
    "rotation",
    "seconds",
    "similar",
    "size",
    "text",
    "whole",
]


class FormError(ValueError):
    """A text is not of the form that is wanted; ``str()`` says what came and what was wanted.

    Args:
        message: what came, and what is wanted.
        hint: the likely mend, if there is one.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Form(NamedTuple):
    """One way to write a value.

    Args:
        metavar: what stands for the value in a line of help: ``SECONDS``; nothing for a flag.
        wanted: what it has to be, in words: "a number of seconds, such as 2.5 or 5m".
        parse: text to value; raises ValueError or LookupError for a text that is none.
        show: value to text.
        plain: the types, besides text, in which a TOML file may give it.
        choices: all texts that there are, where they are few.
        nothing: the text for ``None``, where one may write so.
        each: the form of its items, where the value is several.
        gather: makes the value of them.
    """

    metavar: str
    wanted: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str] = str
    plain: tuple[type, ...] = ()
    choices: tuple[str, ...] = ()
    nothing: str = ""
    each: Form | None = None
    gather: Callable[[Iterable[Any]], Any] = tuple

    @property
    def is_flag(self) -> bool:
        """Whether to name it is to say yes."""
        return not self.metavar

    def read(self, given: str) -> Any:
        """The value that is written so.

        Raises:
            FormError: it is none.
        """
        try:
            return self.parse(given)
        except FormError:
            raise
        except (ValueError, LookupError):
            raise FormError(f"{given!r} is not {self.wanted}", self._mend(given)) from None

    def take(self, given: object) -> Any:
        """The value that a TOML file gives as text, number, or yes and no.

        Raises:
            FormError: it is none.
        """
        if isinstance(given, str):
            return self.read(given)
        if self.each is not None and isinstance(given, list):
            return self.gather(map(self.each.take, given))
        if type(given) in self.plain:
            return self.read(str(given))
        mend = f'write it as text: "{given}"' if type(given) in (int, float) else ""
        raise FormError(f"{given!r} is not {self.wanted}", mend)

    def _mend(self, given: str) -> str:
        guess = similar(given.lower(), self.choices)
        if guess:
            return f"did you mean {guess}?"
        return f"there are {', '.join(self.choices)}" if self.choices else ""


def similar(word: str, known: Iterable[str], alike: float = 0.6) -> str:
    """That of the *known* words which *word* is most like, or nothing if none is so much *alike*."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, list(known), 1, alike)), "")


# ---- the plain ones

text = Form("TEXT", "a text", str)
path = Form("FILE", "a path", lambda given: given or None)  # twistd's --pidfile '' is none


def _no(given: object) -> Any:
    raise ValueError(given)


_FLAGS = {
    "yes": True, "true": True, "on": True, "1": True,
    "no": False, "false": False, "off": False, "0": False,
}  # fmt: skip

flag = Form(
    "",
    "yes or no",
    lambda given: _FLAGS[given.lower()],
    lambda value: "yes" if value else "no",
    plain=(bool,),
    choices=("yes", "no"),
)


def _whole(given: str) -> int:
    return int(given) if re.fullmatch(r"[+-]?[0-9]+", given) else _no(given)


whole = Form("NUMBER", "a whole number", _whole, plain=(int,))
count = Form(
    "NUMBER", "a whole number from 1 on", lambda given: max(_whole(given), 0) or _no(given), plain=(int,)
)
decimal = Form("NUMBER", "a number", float, repr, plain=(int, float))


# ---- quantities

_IN_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_IN_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def _seconds(given: str) -> float:
    found = re.fullmatch(r"((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?) ?([a-z]*)", given.lower())
    return float(found[1]) * _IN_SECONDS[found[2]] if found else _no(given)


def _size(given: str) -> int:
    found = re.fullmatch(r"([0-9]+) ?([kmg]?)(?:i?b)?", given.lower())
    return (int(found[1]) * _IN_BYTES[found[2]] if found else 0) or _no(given)


def _show_size(value: int) -> str:
    for unit in ("g", "m", "k"):
        if value % _IN_BYTES[unit] == 0:
            return f"{value // _IN_BYTES[unit]}{unit.upper()}"
    return str(value)


def _show_seconds(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


seconds = Form(
    "SECONDS", "a number of seconds, such as 2.5, 30 or 5m", _seconds, _show_seconds, plain=(int, float)
)
size = Form("SIZE", "a number of bytes, such as 500k, 10M or 1G (of 1024)", _size, _show_size, plain=(int,))


def or_never(form: Form) -> Form:
    """What *form* reads, or ``never``, which is ``None``."""
    return form._replace(
        wanted=f"{form.wanted}, or never",
        parse=lambda given: None if given.lower() == "never" else form.parse(given),
        nothing="never",
    )


def _daily_or_size(given: str) -> int | str:
    return "daily" if given.lower() == "daily" else _size(given)


rotation = or_never(
    Form(
        "SIZE",
        "a size such as 10M, or daily",
        _daily_or_size,
        lambda value: value if isinstance(value, str) else _show_size(value),
        plain=(int,),
    )
)


# ---- what an operating system knows


def _mode(given: str) -> int:
    return int(given, 8) if re.fullmatch(r"(0o)?[0-7]{1,4}", given) and int(given, 8) <= 0o777 else _no(given)


# No numbers in files: TOML's 22 would be 026, and that is found out when a file is open to the world.
mode = Form("MODE", 'a mode in octal digits, such as "022"', _mode, "{:03o}".format)

name_or_number = Form(
    "NAME",
    "a name or a number",
    lambda given: int(given) if given.isdecimal() else (given if given.strip() else _no(given)),
    plain=(int,),
)

_LEVELS = {name: getattr(logging, name.upper()) for name in ("debug", "info", "warning", "error", "critical")}


def _level(given: str) -> int:
    found: int = {**_LEVELS, "warn": logging.WARNING}[given.lower()]
    return found


def _show_level(value: int) -> str:
    return next(name for name, number in _LEVELS.items() if number == value)


level = Form("LEVEL", "a level of the log", _level, _show_level, choices=tuple(_LEVELS))


def _level_of_one(given: str) -> tuple[str | None, int]:
    name, equals, of_it = given.rpartition("=")
    if equals and not name.strip():
        _no(given)
    return name.strip() or None, level.read(of_it.strip())


level_of_one = Form(
    "[NAME=]LEVEL",
    "a level of the log, or NAME=LEVEL for one logger or service",
    _level_of_one,
    lambda pair: f"{pair[0]}={_show_level(pair[1])}" if pair[0] else _show_level(pair[1]),
    choices=tuple(_LEVELS),
)


# ---- made to measure


def _named_value(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    return (name.strip(), value) if equals and name.strip() else _no(given)


named_value = Form("NAME=VALUE", "NAME=VALUE", _named_value, "=".join)


def choice(*choices: str) -> Form:
    """One of *choices*, in any case."""
    known = {one.lower(): one for one in choices}
    wanted = " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))
    return Form("|".join(choices), wanted, lambda given: known[given.lower()], choices=choices)


def items(form: Form, gather: Callable[[Iterable[Any]], Any] = tuple) -> Form:
    """Any number of what *form* reads, separated by commas."""
    return form._replace(
        wanted=f"{form.wanted}; several are separated by commas",
        parse=lambda given: gather(form.read(part.strip()) for part in given.split(",") if part.strip()),
        show=lambda values: ",".join(map(form.show, values)),
        each=form,
        gather=gather,
    )


def form_for(kind: Any) -> Form:
    """The form of the values of a Python type: bool, int, float, str, Path, an Enum, ``list[int]``.

    Any other callable reads a text and raises ValueError if it cannot; its name is what is wanted.
    """
    inner: Sequence[Any] = getattr(kind, "__args__", ())
    origin = getattr(kind, "__origin__", kind)
    if origin in (list, tuple):
        return items(form_for(inner[0] if inner else str), origin)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _member_of(kind)
    return _FORMS.get(kind) or Form("VALUE", f"a {getattr(kind, '__name__', 'value')}", kind)


def _member_of(kind: type[enum.Enum]) -> Form:
    members = {member.name.lower(): member for member in kind}
    by_name = choice(*members)
    return by_name._replace(parse=lambda given: members[given.lower()], show=lambda one: one.name.lower())


_FORMS: dict[Any, Form] = {
    bool: flag,
    int: whole,
    float: decimal,
    str: text,
    Path: Form("FILE", "a path", Path),
}
