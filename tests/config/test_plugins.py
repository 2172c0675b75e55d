"""Plugins: what installed packages add, and what becomes of those that are broken."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from imported import entry_points_of_others, forgotten_afterwards

from trioservice import Application
from trioservice.config.mistakes import Fault, Mistake
from trioservice.config.options import option
from trioservice.config.plugins import ENTRY_POINTS, Plugin, application_of, find, installed, names
from trioservice.config.targets import TargetError
from trioservice.service import Service

WEB = """
from trioservice import Service
from trioservice.config.options import option
from trioservice.config.plugins import Plugin

def make_service(port, max_size):
    return Service(name=f"web-{port}-{max_size}")

web = Plugin(make_service, help="serve a folder", options=(option("port", 80), option("max-size", 1)))
"""


@pytest.fixture(autouse=True)
def _fresh_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    # Ours are there as well, and no matter of these tests.
    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points_of_others)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with forgotten_afterwards(tmp_path):
        yield


def install(folder: Path, package: str, code: str, **entries: str) -> None:
    """A package with entry points, as an installer leaves it in site-packages."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{ENTRY_POINTS}]", *lines, ""]))
    (folder / f"{package}.py").write_text(code)


def test_a_plugin_is_found_by_the_name_of_its_entry_point(tmp_path: Path) -> None:
    """And its module is imported only then."""
    install(tmp_path, "cornershop", WEB, web="cornershop:web", shop="cornershop:web")
    assert names() == ["shop", "web"]
    assert "cornershop" not in sys.modules
    plugin = find("web")
    assert plugin is not None
    assert plugin.help == "serve a folder"
    assert find("nothing") is None


def test_all_plugins_are_sorted_by_name(tmp_path: Path) -> None:
    """Conformance row 56."""
    install(tmp_path, "cornershop", WEB, zoo="cornershop:web", web="cornershop:web", bar="cornershop:web")
    plugins, broken = installed()
    assert list(plugins) == ["bar", "web", "zoo"]
    assert broken == []


def test_a_plugin_makes_a_service_of_its_options_below_an_application_of_its_name(tmp_path: Path) -> None:
    """Conformance row 61."""
    install(tmp_path, "cornershop", WEB, web="cornershop:web")
    plugin = find("web")
    assert plugin is not None
    application = application_of("web", plugin, {"port": 8080, "max_size": 2})
    assert (application.name, [child.name for child in application]) == ("web", ["web-8080-2"])


def test_a_plugin_may_make_a_whole_application() -> None:
    """With its own name and budget."""
    whole = Application("whole")
    assert application_of("web", Plugin(lambda: whole), {}) is whole  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("make", "fault"),
    [(lambda: 7, Fault.INVALID), (lambda: 1 / 0, Fault.RAISED), (lambda port: 1, Fault.RAISED)],
)
def test_a_plugin_that_makes_no_service_is_told_like_a_target(make: object, fault: Fault) -> None:
    """With the traceback of its own code."""
    with pytest.raises(TargetError) as error:
        application_of("web", Plugin(make), {})  # type: ignore[arg-type]
    assert error.value.fault is fault
    assert "'web'" in str(error.value)


DECLARING = "from trioservice.config.plugins import *\nfrom trioservice.config.options import *\n"
BROKEN = {
    "import nothing_like_it": "No module named 'nothing_like_it'",
    "1 / 0": "division by zero",
    "plugin = 7": "cornershop:plugin is no Plugin but int",
    "other = 7": "has no attribute 'plugin'",
    "raise SystemExit(3)": "SystemExit",
    f"{DECLARING}plugin = Plugin(print, options=None)": "its options cannot be None",
    f"{DECLARING}plugin = Plugin(print, help=3)": "its help cannot be 3",
    f"{DECLARING}plugin = Plugin(print, options=('port',))": "among its options is none",
    f"{DECLARING}plugin = Plugin(print, options=(option('logfile'),))": "option 'logfile' is one of",
    f"{DECLARING}plugin = Plugin(print, options=(option('x', short='n'),))": "option 'n' is one of",
}


@pytest.mark.parametrize(("code", "reason"), BROKEN.items())
def test_a_broken_plugin_is_named_and_left_out_and_the_others_are_there(
    tmp_path: Path, code: str, reason: str
) -> None:
    """One line each: which command, whose, why."""
    install(tmp_path / "one", "cornershop", code, web="cornershop:plugin")
    install(tmp_path / "two", "other", WEB, good="other:web")
    sys.path[:0] = [str(tmp_path / "one"), str(tmp_path / "two")]
    plugins, (broken,) = installed()
    assert list(plugins) == ["good"]
    assert str(broken).startswith("the plugin 'web' of cornershop 1.0 is left out: ")
    assert reason in str(broken)
    assert "\n" not in str(broken)


@pytest.mark.parametrize("name", ["two words", "-dash", "quote'it"])
def test_a_name_that_no_shell_takes_for_a_word_is_left_out(tmp_path: Path, name: str) -> None:
    """It would break the completion of all commands, too."""
    install(tmp_path, "cornershop", WEB, **{name: "cornershop:web"})
    sys.path.insert(0, str(tmp_path))
    plugins, (broken,) = installed()
    assert not plugins
    assert "is no name for a command" in str(broken)


def test_who_asks_for_a_broken_plugin_gets_the_whole_story(tmp_path: Path) -> None:
    """Its author has to mend it."""
    install(tmp_path, "cornershop", "def f():\n    1 / 0\nf()", web="cornershop:plugin")
    with pytest.raises(Mistake, match="division by zero") as mistake:
        find("web")
    assert "line 2, in f" in mistake.value.details


def test_two_packages_that_add_the_same_command_are_both_left_out(tmp_path: Path) -> None:
    """Which of them comes first is chance."""
    for package in ("one", "two"):
        install(tmp_path / package, package, WEB, web=f"{package}:web")
        sys.path.insert(0, str(tmp_path / package))
    plugins, (broken,) = installed()
    assert plugins == {}
    assert "one 1.0" in broken.reason
    assert "both add a command 'web'" in broken.reason


def test_one_package_in_two_folders_is_one_plugin(tmp_path: Path) -> None:
    """So it is while one is being developed."""
    for folder in ("a", "b"):
        install(tmp_path / folder, "cornershop", WEB, web="cornershop:web")
        sys.path.insert(0, str(tmp_path / folder))
    assert list(installed()[0]) == ["web"]


def test_a_name_of_ours_cannot_be_taken(tmp_path: Path) -> None:
    """`trioservice run` is what it is."""
    install(tmp_path, "cornershop", WEB, run="cornershop:web")
    plugins, (broken,) = installed(taken=["run"])
    assert plugins == {}
    assert broken.reason == "'run' is a command of trioservice itself"


def test_a_plugin_is_a_record() -> None:
    """That can be compared and not be changed."""
    one = Plugin(Service, options=(option("port", 1),))
    assert one == Plugin(Service, options=(option("port", 1),))
