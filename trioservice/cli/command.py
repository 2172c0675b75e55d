"""A command: how it is declared, and what it is asked when it is typed.

A :class:`Command` is a row of the table in :mod:`trioservice.cli.commands`.  :class:`Asked` is one use of
it: what was typed, and what follows from it, made when it is first needed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ..config.layers import Layers
from ..config.mistakes import Fault, Mistake
from ..config.options import HELP, SETTINGS, Option
from ..forms import similar
from .arguments import Arguments
from .launch import no_search_for_garbage

if TYPE_CHECKING:
    from ..application import Application
    from ..config.parameters import Parameters
    from ..config.targets import Maker
    from ..process.settings import Settings

__all__ = ["Asked", "Command", "Positional"]

T = TypeVar("T")


class Positional(NamedTuple):
    """An argument that is told by its place.

    Args:
        name: what stands for it: ``TARGET``.
        help: what it is.
        choices: all that there are; otherwise it is a path, or names something.
        required: whether it has to be given.
    """

    name: str
    help: str
    choices: tuple[str, ...] = ()
    required: bool = True


class Command(NamedTuple):
    """One verb of the command line."""

    name: str
    help: str
    description: str
    run: Callable[[Asked], int]
    positionals: tuple[Positional, ...] = ()
    options: tuple[Option, ...] = (HELP,)


class Asked:
    """What a command was asked to do.

    Args:
        command: the row of the table.
        arguments: what was typed.
    """

    def __init__(self, command: Command, arguments: Arguments) -> None:
        self.command = command
        self.arguments = arguments

    @cached_property
    def words(self) -> dict[str, str]:
        """What is told by its place, by its name; ``-y FILE`` is the target, too.

        Raises:
            Mistake: one is missing, or too many, or none of those that there are.
        """
        typed = [given.text for given in self.arguments.options.get("python", ())]
        typed += self.arguments.positionals
        words = dict(zip((one.name for one in self.command.positionals), typed, strict=False))
        for positional in self.command.positionals:
            self._check(positional, words.get(positional.name))
        if surplus := typed[len(words) :]:
            raise self._mistake(f"{surplus[0]!r} is one argument too many")
        return words

    @cached_property
    def layers(self) -> Layers:
        """What was said, here and elsewhere."""
        return Layers(self.arguments.options, os.environ, _names_of_plugins)

    @cached_property
    def parameters(self) -> Parameters:
        """Who answers the application when it asks for its parameters."""
        from ..config.parameters import Parameters

        return Parameters(self.layers, lenient=self.arguments.has(HELP))

    def load(self) -> Application:
        """The application that is the target.

        Raises:
            Mistake: there is none, or a parameter of it is wrong.
        """
        with no_search_for_garbage():
            from ..config.targets import load

        return self._loaded(load)

    def maker(self) -> Maker:
        """What makes the application that is the target, once more each time.

        Raises:
            Mistake: as for :meth:`load`.
        """
        with no_search_for_garbage():
            from ..config.targets import load_maker

        return self._loaded(load_maker)

    def _loaded(self, by: Callable[..., T]) -> T:
        from ..errors import ServiceError
        from ..integrations.twisted import adopted, reactor_on_demand

        try:
            with reactor_on_demand():
                return by(self.words["TARGET"], self.parameters, adopt=adopted)
        except Mistake:
            raise
        except ServiceError as error:  # of adoption: what the application's own code raises, targets tells
            raise Mistake(str(error), hint="", fault=Fault.INVALID) from None

    def settings(self) -> Settings:
        """How the process is to be run.

        Raises:
            Mistake: a value is not what it has to be.
        """
        from ..process.settings import Settings

        values = {option.key: self.layers.look_up(option).value for option in SETTINGS}
        values["log_level"], values["log_levels"] = _levels(values["log_level"])
        return Settings(**values)

    def _check(self, positional: Positional, word: str | None) -> None:
        if word is None:
            if positional.required:
                raise self._mistake(f"there is no {positional.name}: {positional.help}")
        elif positional.choices and word not in positional.choices:
            guess = similar(word, positional.choices)
            raise self._mistake(
                f"{word!r} is no {positional.name}; there are {', '.join(positional.choices)}",
                f"did you mean {guess}?" if guess else "",
            )

    def _mistake(self, message: str, hint: str = "") -> Mistake:
        hint = hint or f"`trioservice {self.command.name} --help` lists what there is"
        return Mistake(f"{self.command.name}: {message}", hint=hint, fault=Fault.USAGE)


def _levels(pairs: Sequence[tuple[str | None, int]]) -> tuple[int, tuple[tuple[str, int], ...]]:
    """The level of everything, and those of single names; of two for the same, the later counts."""
    levels = {None: logging.INFO, **dict(pairs)}
    return levels[None], tuple((name, level) for name, level in levels.items() if name is not None)


def _names_of_plugins() -> Collection[str]:
    from ..config.plugins import names

    return names()
