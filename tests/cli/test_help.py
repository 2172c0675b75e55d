"""Help is made of the declarations, fits the terminal, and is coloured only there."""

from __future__ import annotations

import os
import re
import sys

import pytest

from trioservice.cli.commands import COMMANDS
from trioservice.cli.help import Style, meaning, of_command, overview, spelled
from trioservice.config.options import FOR_RUNNING, option

RUN = COMMANDS[0]


@pytest.mark.parametrize("width", [40, 80, 100])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """What cannot be broken apart, of course, is."""
    for text in (overview(COMMANDS, Style(width)), *(of_command(one, Style(width)) for one in COMMANDS)):
        for line in text.splitlines():
            assert len(line) <= width or len(line.split()) <= 5, line


def test_every_option_of_a_command_is_shown_with_its_meaning() -> None:
    """Once."""
    words = " ".join(of_command(RUN, Style(100)).split())
    for one in FOR_RUNNING:
        assert f"{spelled(one).strip()} {meaning(one)}" in words


def test_commands_are_listed_in_the_order_of_the_alphabet() -> None:
    """Conformance row 56."""
    listed = re.findall(r"^  (\w+) ", overview(COMMANDS, Style()).partition("Commands:")[2], re.MULTILINE)
    ours = [name for name in listed if name in {command.name for command in COMMANDS}]
    assert ours == sorted(command.name for command in COMMANDS)


def test_defaults_are_told_once() -> None:
    """Of a flag that is off, not at all."""
    assert meaning(option("port", 80, help="where")) == "where (default: 80)"
    assert meaning(option("port", type=int, help="where")) == "where (has to be given)"
    assert meaning(option("loud", False, help="be loud")) == "be loud"
    assert meaning(option("loud", True, help="be loud")) == "be loud (default: yes)"
    assert meaning(option("port", 80, help="where (default: it depends)")) == "where (default: it depends)"
    assert meaning(option("port", 80)) == "(default: 80)"


def test_parameters_of_the_application_are_shown() -> None:
    """As they have to be typed."""
    shown = of_command(RUN, Style(), [option("port", 80, help="where"), option("loud", False)])
    assert re.search(r"^  --set port=NUMBER +where \(default: 80\)$", shown, re.MULTILINE)
    assert "--set loud=yes|no" in shown


@pytest.mark.parametrize(
    ("terminal", "environ", "coloured"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, environ: dict[str, str], coloured: bool
) -> None:
    """NO_COLOR is a promise, and a pipe is no terminal."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    text = overview(COMMANDS, Style.of_terminal())
    assert ("\033[" in text) is coloured
    plain = re.sub(r"\033\[\d*m", "", text)
    assert plain == overview(COMMANDS, Style.of_terminal()._replace(colour=False))


def test_it_is_as_wide_as_the_terminal_up_to_what_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads lines of 300 letters."""
    for columns, width in (("60", 60), ("300", 100)):
        monkeypatch.setitem(os.environ, "COLUMNS", columns)
        assert Style.of_terminal().width == width
