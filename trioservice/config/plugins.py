"""Plugins: installed packages add commands.

::

    # pyproject.toml
    [project.entry-points."trioservice.plugins"]
    web = "shop.plugin:web"

    # shop/plugin.py
    web = Plugin(make_service, help="serve a folder", options=(option("port", 8080, help="where to listen"),))

Then ``trioservice web --port 9000`` runs what ``make_service(port=9000)`` returns, below an Application that
is named ``web``, with all the options that ``trioservice run`` has.

Entry points are looked at when a command is unknown, or a list of all is asked for; never on the way to
``trioservice run``.  A plugin that cannot be loaded is told in one line and left out: that of
somebody else must not keep one's own from running.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..records import record
from .mistakes import Fault, Mistake
from .options import FOR_RUNNING, Option

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from ..application import Application
    from ..service import Service

__all__ = ["ENTRY_POINTS", "Broken", "Plugin", "application_of", "find", "installed", "names"]

#: The group of entry points; the entry's name is the command.
ENTRY_POINTS = "trioservice.plugins"


@record
class Plugin:
    """A command that a package adds.

    Args:
        make_service: called with the value of each option as a keyword argument (``max-size`` as
            ``max_size``); returns a Service, or a whole Application.
        help: what it does, in some words, for the list of commands.
        options: its own options, each made by :func:`trioservice.config.options.option`.
        description: what it does, in some sentences, for its own help.
    """

    make_service: Callable[..., Service]
    help: str = ""
    options: Sequence[Option] = ()
    description: str = ""


@record
class Broken:
    """A plugin that is left out, and why.

    Args:
        name: of the command that it would have been.
        package: who offers it.
        reason: what is wrong, on one line.
    """

    name: str
    package: str
    reason: str

    def __str__(self) -> str:
        return f"the plugin {self.name!r} of {self.package} is left out: {self.reason}"


def installed(taken: Sequence[str] = ()) -> tuple[dict[str, Plugin], list[Broken]]:
    """All plugins by the name of their command, sorted, and those that are broken.

    Args:
        taken: names that no plugin can have.
    """
    plugins: dict[str, Plugin] = {}
    broken: list[Broken] = []
    for name, entries in sorted(_entries().items()):
        try:
            plugins[name] = _load(name, entries, taken)
        except Mistake as mistake:
            broken.append(Broken(name, _packages(entries), str(mistake)))
    return plugins, broken


def find(name: str) -> Plugin | None:
    """The plugin that adds this command, if there is one.

    Raises:
        Mistake: there is, and it is broken.
    """
    entries = _entries().get(name)
    return _load(name, entries, ()) if entries else None


def names() -> list[str]:
    """Of all plugins, whether they are broken or not."""
    return sorted(_entries())


def application_of(name: str, plugin: Plugin, values: Mapping[str, Any]) -> Application:
    """What the plugin makes of the values of its options, as an Application.

    Raises:
        TargetError: it raises, or makes something else.
    """
    from .targets import as_application
    from .theirs import calling_theirs

    made = calling_theirs(partial(plugin.make_service, **values), f"making the service of {name!r}")
    return as_application(made, f"what the plugin {name!r} made", name)


# ---- entry points


def _entries() -> dict[str, list[EntryPoint]]:
    from importlib.metadata import entry_points

    entries: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=ENTRY_POINTS):  # of a package in two folders of the path, the first
        entries.setdefault(entry.name, []).append(entry)
    return entries


def _packages(entries: Sequence[EntryPoint]) -> str:
    return " and ".join(f"{entry.dist.name} {entry.dist.version}" if entry.dist else "?" for entry in entries)


def _load(name: str, entries: Sequence[EntryPoint], taken: Sequence[str]) -> Plugin:
    from .theirs import calling_theirs

    if len(entries) > 1:
        raise _broken(f"{_packages(entries)} both add a command {name!r}", "remove one of them")
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise _broken(
            f"{name!r} is no name for a command", "its author has to rename it: letters, digits, - _ ."
        )
    if name in taken:
        raise _broken(f"{name!r} is a command of trioservice itself", "its author has to rename it")
    plugin: Plugin = calling_theirs(entries[0].load, f"importing {entries[0].value}")
    if complaint := _complaint(plugin, entries[0].value):
        raise _broken(complaint, f"it is for the author of {_packages(entries)} to mend")
    return plugin


def _broken(message: str, hint: str) -> Mistake:
    return Mistake(message, hint=hint, fault=Fault.INVALID)


def _complaint(plugin: Any, where: str) -> str:
    """What is wrong with what an entry point leads to, if anything is."""
    if not isinstance(plugin, Plugin):
        return f"{where} is no Plugin but {type(plugin).__name__}"
    for field, kinds in (("help", str), ("description", str), ("options", (list, tuple))):
        if not isinstance(value := getattr(plugin, field), kinds):
            return f"its {field} cannot be {value!r:.60}"
    ours = {name for option in FOR_RUNNING for name in (option.name, option.short, *option.aliases)} - {""}
    for option in plugin.options:
        if not isinstance(option, Option):
            return f"{option!r:.60} among its options is none; option() makes one"
        if clash := {option.name, option.short} & ours:
            return f"its option {min(clash)!r} is one of trioservice itself"
    return ""
