"""The table of options: complete, consistent, and open for options of others."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import pytest

from trioservice.config.options import FOR_LOADING, FOR_RUNNING, SETTINGS, TWISTD, Option, option
from trioservice.forms import Form

# Every option of twistd on Unix, by its long and its short name.
ALL_OF_TWISTD = {
    "savestats": "", "no_save": "o", "originalname": "", "encrypted": "e", "syslog": "", "euid": "",
    "nodaemon": "n", "debug": "b", "spew": "", "help-reactors": "", "reactor": "r", "profile": "p",
    "profiler": "", "file": "f", "python": "y", "source": "s", "rundir": "d", "prefix": "", "pidfile": "",
    "chroot": "", "uid": "u", "gid": "g", "umask": "", "logger": "", "logfile": "l", "version": "",
    "help": "",
}  # fmt: skip


class Colour(enum.Enum):
    RED = 1


def test_no_two_options_share_a_name() -> None:
    """Neither a long one nor a letter."""
    names = [name for one in FOR_RUNNING for name in (one.name, *one.aliases, one.short) if name]
    assert len(names) == len(set(names))


def test_every_option_says_what_it_does_and_where_it_belongs() -> None:
    """Help shows it so."""
    for one in FOR_RUNNING:
        assert one.help, one.name
        assert one.help[-1] != "."
        assert one.group


def test_what_loads_is_a_part_of_what_runs() -> None:
    """Who can `run` a command line can `plan` it, but for the options of the process."""
    assert set(FOR_LOADING) < set(FOR_RUNNING)
    assert set(SETTINGS) < set(FOR_RUNNING)


@pytest.mark.parametrize(("name", "letter"), ALL_OF_TWISTD.items())
def test_every_option_of_twistd_is_taken_or_answered(name: str, letter: str) -> None:
    """With the same letter, so that an old command line either works or is told what to change."""
    taken = {spelling: one.short for one in FOR_RUNNING for spelling in (one.name, *one.aliases)}
    answered = dict(TWISTD)
    assert (name in taken) != ((name, letter) in answered)
    if name in taken and letter:
        assert taken[name] == letter


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        (8080, "9000", 9000),
        (1.5, "2", 2.0),
        (False, "yes", True),
        ("x", "y", "y"),
        (Path("/run"), "/srv", Path("/srv")),
        ([1], "2,3", [2, 3]),
        ([], "a,b", ["a", "b"]),
        (("x",), "y", ("y",)),
        (Colour.RED, "red", Colour.RED),
        (None, "text", "text"),
    ],
)
def test_the_type_is_that_of_the_default(default: Any, text: str, value: Any) -> None:
    """Nobody has to say it twice."""
    made = option("x", default)
    assert made.form.read(text) == value
    assert type(made.form.read(text)) is type(value)
    assert (made.default, made.required) == (default, False)


def test_without_a_default_it_has_to_be_given() -> None:
    """And is text unless a type says otherwise."""
    assert option("x").required
    assert option("x").form.read("1") == "1"
    assert option("x", type=int).form.read("1") == 1
    assert not option("x", None, type=int).required


def test_a_form_of_ours_serves_as_a_type() -> None:
    """For sizes, durations and the like."""
    from trioservice.forms import size

    assert option("x", 1024, type=size).form.read("1M") == 1 << 20


@pytest.mark.parametrize("name", ["", "a b", "--port", "1st", "a=b", "_x", "ünique!"])
def test_a_name_that_cannot_be_typed_is_refused(name: str) -> None:
    """It would have to be a key of TOML, a variable, and a keyword argument."""
    with pytest.raises(ValueError, match="is no name for an option"):
        option(name)


@pytest.mark.parametrize("short", ["ab", "-", "="])
def test_a_short_name_is_one_letter(short: str) -> None:
    """Or they could not be bundled."""
    with pytest.raises(ValueError, match="it has to be one letter"):
        option("x", short=short)


def test_what_is_not_there_is_shown_as_nothing_or_as_never() -> None:
    """None is no text."""
    by_name = {one.name: one for one in FOR_RUNNING}
    assert by_name["pidfile"].shown(None) == ""
    assert by_name["stuck-timeout"].shown(None) == "never"
    assert isinstance(by_name["pidfile"], Option)
    assert isinstance(by_name["pidfile"].form, Form)
