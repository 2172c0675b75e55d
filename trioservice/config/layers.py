"""Layers: where a setting comes from, and which word counts.

::

    the command line    --log-level debug
    the environment     TRIOSERVICE_LOG_LEVEL=debug
    a file              log-level = "debug"       of --config FILE or TRIOSERVICE_CONFIG
    the default

The first that says anything about an option decides it, the whole of it; nothing is merged, so one glance
at one place tells what holds.  A file is read only if it is named: one that is found because it happens to
lie there would be a setting that nobody has made.

Parameters of an application and options of a plugin have the same layers, each in a table of its own::

    --set port=9000     TRIOSERVICE_SET_PORT=9000     [set]  port = 9000
    --port 9000         TRIOSERVICE_WEB_PORT=9000     [web]  port = 9000
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .. import forms
from ..forms import FormError, similar
from .mistakes import Fault, Mistake
from .options import SETTINGS, Option

__all__ = ["DEFAULT", "Given", "Layers", "Sourced", "variable"]

#: The source of what nobody has set.
DEFAULT = "default"

_PREFIX = "TRIOSERVICE_"


class Given(NamedTuple):
    """What a command line says of one option, once."""

    spelling: str  #: as typed, perhaps ``-l``
    text: str


class Sourced(NamedTuple):
    """A value, and who says so."""

    value: Any
    source: str


def variable(option: Option, table: str = "") -> str:
    """The variable of the environment for an option: ``TRIOSERVICE_LOG_LEVEL``."""
    parts = [table, option.name] if table else [option.name]
    return _PREFIX + "_".join(parts).replace("-", "_").upper()


_VARIABLES = {variable(option) for option in SETTINGS} | {f"{_PREFIX}CONFIG"}


class Layers:
    """All that was said, by whom it may be.

    Args:
        command_line: what was typed of each option, by its name.
        environ: the environment.
        others: asked for the names of tables in the file that are somebody else's, when there are any.

    Raises:
        Mistake: the file cannot be read, or names what there is not; or a variable is misspelt.
    """

    def __init__(
        self,
        command_line: Mapping[str, Sequence[Given]],
        environ: Mapping[str, str],
        others: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._typed = command_line
        self._environ = {name: text for name, text in environ.items() if name.startswith(_PREFIX) and text}
        self._file, self._written = self._read_file()
        self._check_keys(others)
        self._check_variables()

    def look_up(self, option: Option, table: str = "") -> Sourced:
        """The value of an option, and who set it.

        Raises:
            Mistake: what was said is not of the form that is wanted; or nothing was, and it has no default.
        """
        found = self._on_command_line(option, table) or self._in_environment(option, table)
        found = found or self._in_file(option, table)
        if found is None and option.required:
            raise self._missing(option, table)
        return found or Sourced(option.default, DEFAULT)

    def refuse_strangers(self, table: str, known: Collection[str], complaint: str) -> None:
        """Check that nothing was set in a table that is not known there.

        Args:
            table: which.
            known: all names that there are.
            complaint: how to say that one is not, up to its name: "the application has no parameter".

        Raises:
            Mistake: something was.
        """
        for name, source, fault in self._all_in(table, known):
            if name in known:
                continue
            guess = similar(name, known)
            hint = f"it has {', '.join(known)}" if known else "it has none"
            raise Mistake(
                f"{source}: {complaint} {name!r}",
                hint=f"did you mean {guess}?" if guess else hint,
                fault=fault,
            )

    # ---- the layers

    def _on_command_line(self, option: Option, table: str) -> Sourced | None:
        given = self._typed.get(option.name, ())
        if table == "set":
            given = [
                Given(f"{spelling} {name}", value)
                for spelling, text in self._typed.get("set", ())
                for name, value in [_read(forms.named_value, text, spelling, Fault.USAGE)]
                if name == option.name
            ]
        if not given:
            return None
        form, values = option.form, [_read(option.form, one.text, one.spelling, Fault.USAGE) for one in given]
        value = form.gather(item for value in values for item in value) if form.each else values[-1]
        return Sourced(value, given[-1].spelling)

    def _in_environment(self, option: Option, table: str) -> Sourced | None:
        name = variable(option, table)
        if name not in self._environ:
            return None
        return Sourced(_read(option.form, self._environ[name], name, Fault.SETTINGS), name)

    def _in_file(self, option: Option, table: str) -> Sourced | None:
        written = self._table(table)
        if option.name not in written:
            return None
        where = f"{self._file}, {option.name}" + (f" in [{table}]" if table else "")
        return Sourced(_read(option.form, written[option.name], where, Fault.SETTINGS), str(self._file))

    def _all_in(self, table: str, known: Collection[str]) -> Iterator[tuple[str, str, Fault]]:
        """Each name that was set in a table, by whom, and whose fault it would be."""
        if table == "set":
            for spelling, text in self._typed.get("set", ()):
                yield _read(forms.named_value, text, spelling, Fault.USAGE)[0], spelling, Fault.USAGE
        prefix = f"{_PREFIX}{table.replace('-', '_').upper()}_"
        in_capitals = {one.replace("-", "_").upper(): one for one in known}
        for name in self._environ:
            # TRIOSERVICE_LOG_LEVEL is a setting, and no option of a plugin that is named `log`.
            if name.startswith(prefix) and name not in _VARIABLES:
                word = name.removeprefix(prefix)
                yield in_capitals.get(word, word.lower()), name, Fault.SETTINGS
        for name in self._table(table):
            yield name, f"{self._file}, [{table}]", Fault.SETTINGS

    def _table(self, name: str) -> Mapping[str, Any]:
        if not name:
            return self._written
        found = self._written.get(name, {})
        if not isinstance(found, dict):
            raise Mistake(
                f"{self._file}: {name!r} is a table, not {found!r}",
                hint=f"write its settings below a line [{name}]",
                fault=Fault.SETTINGS,
            )
        return found

    # ---- what is wrong

    def _missing(self, option: Option, table: str) -> Mistake:
        if table == "set":
            what, how = f"the parameter {option.name!r}", f"--set {option.name}={option.form.metavar}"
        else:
            what, how = f"--{option.name}", f"--{option.name} {option.form.metavar}"
        return Mistake(
            f"{what} has to be given, as {option.form.wanted}",
            hint=f"{how}, or {variable(option, table)} in the environment",
            fault=Fault.USAGE,
        )

    def _read_file(self) -> tuple[str | None, dict[str, Any]]:
        typed = self._typed.get("config", ())
        name = typed[-1].text if typed else self._environ.get(f"{_PREFIX}CONFIG")
        return name, _toml(name) if name else {}

    def _check_keys(self, others: Callable[[], Collection[str]]) -> None:
        known = [option.name for option in SETTINGS]
        for key, value in self._written.items():
            is_table = isinstance(value, dict)
            if key in known or key == "set" or (is_table and key in others()):
                continue
            guess = similar(key, ["[set]"] if is_table else known)
            raise Mistake(
                f"{self._file}: there is no setting {key!r}",
                hint=f"did you mean {guess}?" if guess else "`trioservice config` lists all that there are",
                fault=Fault.SETTINGS,
            )

    def _check_variables(self) -> None:
        """Whose name is almost that of a setting is one; others may be anybody's."""
        known = {name.removeprefix(_PREFIX) for name in _VARIABLES}
        for name in self._environ:
            word = name.removeprefix(_PREFIX)
            if word in known or word.startswith("SET_"):
                continue
            if guess := similar(word, known, 0.8):
                raise Mistake(
                    f"{name} in the environment sets nothing",
                    hint=f"did you mean {_PREFIX}{guess}?",
                    fault=Fault.SETTINGS,
                )


def _read(form: forms.Form, given: object, source: str, fault: Fault) -> Any:
    try:
        return form.take(given)
    except FormError as error:
        hint = error.hint or "the command's --help tells what each setting takes"
        raise Mistake(f"{source}: {error}", hint=hint, fault=fault) from None


def _toml(name: str) -> dict[str, Any]:
    import tomllib

    try:
        with open(name, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        said, hint = f"cannot read {name}: {error.strerror}", "it was named by --config or TRIOSERVICE_CONFIG"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        said, hint = f"{name}: {error}", 'it has to be a TOML file: lines such as  log-level = "debug"'
    raise Mistake(said, hint=hint, fault=Fault.SETTINGS)
