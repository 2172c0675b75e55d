"""The manual page is made of the declarations, and `man` can read it."""

from __future__ import annotations

import re
import subprocess

import pytest
from programs import foreign

from trioservice.cli.commands import COMMANDS
from trioservice.cli.manual import page
from trioservice.config.layers import variable
from trioservice.config.options import FOR_RUNNING, SETTINGS
from trioservice.process.exits import Exit

PAGE = page(COMMANDS)


def test_every_command_option_variable_and_status_is_there() -> None:
    """What help shows is in the manual."""
    plain = PAGE.replace("\\", "")
    for command in COMMANDS:
        assert f".SH TRIOSERVICE {command.name.upper()}\n" in plain
    for option in FOR_RUNNING:
        assert f"--{option.name}" in plain
    for option in SETTINGS:
        assert variable(option) in plain
    for status in Exit:
        assert f".B {status:d}\n" in plain


def test_options_that_two_commands_share_are_told_once() -> None:
    """A manual that repeats itself is not read."""
    assert PAGE.count(r"\-\-stuck\-timeout") == 2  # as an option, and beside its variable
    assert PAGE.replace("\n", " ").count("takes the options of `trioservice run`.") == 2


@pytest.mark.real
def test_mandoc_has_nothing_to_complain_about() -> None:
    """But that no date is given, since the page is as old as the program."""
    lint = subprocess.run(
        [foreign("mandoc"), "-T", "lint"], input=PAGE, capture_output=True, text=True, timeout=20
    )
    complaints = [line for line in lint.stdout.splitlines() if "missing date" not in line]
    assert complaints == []


@pytest.mark.real
def test_man_shows_it() -> None:
    """As people will see it."""
    man = subprocess.run([foreign("man"), "-l", "-"], input=PAGE, capture_output=True, text=True, timeout=20)
    shown = re.sub(".\b|\033\\[\\d*m", "", man.stdout)  # what makes letters bold
    assert "trioservice - run applications that are described as trees of services" in shown
    assert "-n, --nodaemon" in shown
    assert man.stderr == ""
