"""Arguments: what was typed, told apart by the declarations of the options.

``--opt value``, ``--opt=value``, ``-o value``, ``-ovalue``, and flags in one bundle, ``-noy FILE``.  Options
may stand before and after the target; ``--`` ends them.  An option is written out: an abbreviation that
works today means something else once there is another option.

Nothing is made of the values here.  They are texts still, as those of the environment are, and
:mod:`trioservice.config.layers` reads both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..config.layers import Given
from ..config.mistakes import Fault, Mistake
from ..config.options import TWISTD, Option
from ..forms import similar

__all__ = ["Arguments", "read"]


class Arguments(NamedTuple):
    """What was typed after the name of a command."""

    options: dict[str, list[Given]]  #: what was said of each option, by its name
    positionals: list[str]

    def has(self, option: Option) -> bool:
        """Whether a flag was given."""
        return option.name in self.options


def read(argv: Sequence[str], options: Sequence[Option], command: str) -> Arguments:
    """Tell apart what was typed.

    Raises:
        Mistake: there is no such option, or it lacks its value, or has one that it does not take.
    """
    return _Reader(argv, options, command).read()


class _Reader:
    def __init__(self, argv: Sequence[str], options: Sequence[Option], command: str) -> None:
        self._rest = iter(argv)
        self._command = command
        self._known = {spelling: option for option in options for spelling in _spellings(option)}
        self._found = Arguments({}, [])

    def read(self) -> Arguments:
        for word in self._rest:
            if word == "--":
                self._found.positionals.extend(self._rest)
            elif word.startswith("--"):
                self._take_long(word)
            elif word.startswith("-") and word != "-":
                self._take_bundle(word)
            else:
                self._found.positionals.append(word)
        return self._found

    def _take_long(self, word: str) -> None:
        spelling, equals, text = word.partition("=")
        option = self._option(spelling)
        if option.form.is_flag:
            self._note_flag(option, spelling, text if equals else None)
        else:
            self._note(option, spelling, text if equals else self._next(option, spelling))

    def _take_bundle(self, word: str) -> None:
        whole = f"-{word.partition('=')[0]}"
        if whole in self._known:  # not -l and the value "ogfile"
            raise self._mistake(f"{word} lacks a dash", f"did you mean -{word}?")
        letters = word[1:]
        while letters:
            spelling, letters = f"-{letters[0]}", letters[1:]
            option = self._option(spelling, word)
            if option.form.is_flag:
                self._note_flag(option, spelling, None)
            else:
                self._note(option, spelling, letters.removeprefix("=") or self._next(option, spelling))
                letters = ""

    def _next(self, option: Option, spelling: str) -> str:
        text = next(self._rest, None)
        if text is None:
            raise self._mistake(f"{spelling} needs a value: {option.form.wanted}")
        if re.match(r"-[^\d]", text):
            raise self._mistake(
                f"{spelling} needs a value, and {text} looks like an option",
                f"if it is meant: {spelling}={text}",
            )
        return text

    def _note_flag(self, option: Option, spelling: str, text: str | None) -> None:
        if not option.opposite_of:
            self._note(option, spelling, "yes" if text is None else text)
        elif text is None:
            self._found.options.setdefault(option.opposite_of, []).append(Given(spelling, "no"))
        else:
            raise self._mistake(f"{spelling} takes no value", f"--{option.opposite_of}={text} does")

    def _note(self, option: Option, spelling: str, text: str) -> None:
        self._found.options.setdefault(option.name, []).append(Given(spelling, text))

    # ---- what is wrong

    def _option(self, spelling: str, word: str = "") -> Option:
        if spelling in self._known:
            return self._known[spelling]
        for (name, letter), instead in TWISTD.items():
            if spelling in (f"--{name}", f"-{letter}"):
                raise self._mistake(f"{spelling} is an option of twistd", instead)
        inside = f" in {word}" if len(word) > 2 else ""
        known = self._known.get(f"--{spelling.removeprefix('--no-')}")
        if spelling.startswith("--no-") and known is not None and known.form.is_flag:
            raise self._mistake(f"there is no option {spelling}", f"did you mean --{known.name}=no?")
        guess = similar(spelling[2:], [known[2:] for known in self._known if known.startswith("--")])
        hint = f"did you mean --{guess}?" if guess else ""
        raise self._mistake(f"there is no option {spelling}{inside}", hint)

    def _mistake(self, message: str, hint: str = "") -> Mistake:
        hint = hint or f"`{self._command} --help` lists what there is"
        return Mistake(message, hint=hint, fault=Fault.USAGE)


def _spellings(option: Option) -> Iterator[str]:
    yield from (f"--{name}" for name in (option.name, *option.aliases))
    if option.short:
        yield f"-{option.short}"
