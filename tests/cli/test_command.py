"""One use of a command: what was typed, and what follows from it."""

from __future__ import annotations

import logging

import pytest

from trioservice.cli.arguments import read
from trioservice.cli.command import Asked, Command, Positional
from trioservice.cli.commands import COMMANDS
from trioservice.config.mistakes import Fault, Mistake
from trioservice.config.options import FOR_RUNNING
from trioservice.process.settings import Settings

TWO = Command(
    name="two",
    help="",
    description="",
    run=lambda asked: 0,
    positionals=(Positional("TARGET", "what to run"), Positional("SIZE", "how big", ("small", "big"), False)),
    options=FOR_RUNNING,
)


def asked(*argv: str, command: Command = TWO) -> Asked:
    return Asked(command, read(argv, command.options, f"trioservice {command.name}"))


def test_words_are_told_by_their_place() -> None:
    """And may be left out where they are not required."""
    assert asked("a.tac", "big").words == {"TARGET": "a.tac", "SIZE": "big"}
    assert asked("a.tac").words == {"TARGET": "a.tac"}
    assert asked("-y", "a.tac", "small").words == {"TARGET": "a.tac", "SIZE": "small"}


@pytest.mark.parametrize(
    ("argv", "said", "hint"),
    [
        ([], "two: there is no TARGET: what to run", "`trioservice two --help` lists what there is"),
        (["a", "bgi"], "two: 'bgi' is no SIZE; there are small, big", "did you mean big?"),
        (
            ["a", "big", "c"],
            "two: 'c' is one argument too many",
            "`trioservice two --help` lists what there is",
        ),
        (
            ["-y", "a", "big", "c"],
            "two: 'c' is one argument too many",
            "`trioservice two --help` lists what there is",
        ),
    ],
)
def test_a_wrong_word_is_told_with_the_name_of_the_command(argv: list[str], said: str, hint: str) -> None:
    """Conformance row 59."""
    with pytest.raises(Mistake) as mistake:
        asked(*argv).words  # noqa: B018
    assert (str(mistake.value), mistake.value.hint, mistake.value.fault) == (said, hint, Fault.USAGE)


def test_nothing_said_is_what_settings_are_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tables of defaults would drift apart."""
    monkeypatch.delenv("TRIOSERVICE_CONFIG", raising=False)
    assert asked("a.tac").settings() == Settings()


def test_settings_are_what_was_said() -> None:
    """Of each form one."""
    assert asked(
        *(
            "--daemon",
            "--daemon-timeout=2m",
            "-lx.log",
            "--log-format=JSON",
            "--log-rotate=daily",
            "--log-keep=3",
        ),
        *(
            "--umask=027",
            "-u",
            "33",
            "-g",
            "www-data",
            "--stuck-timeout=5",
            "--exit-zero",
            "--debug=no",
            "a.tac",
        ),
    ).settings() == Settings(
        daemon=True,
        daemon_timeout=120.0,
        logfile="x.log",
        log_format="json",
        log_rotate="daily",
        log_keep=3,
        umask=0o27,
        uid=33,
        gid="www-data",
        stuck_timeout=5.0,
        exit_zero=True,
    )


def test_levels_are_for_all_or_for_one_and_the_later_counts() -> None:
    """Conformance row 84."""
    found = asked(
        "--log-level=debug", "--log-level=a/b=error", "--log-level=Warning", "--log-level=a/b=info", "x"
    )
    assert found.settings().log_level == logging.WARNING
    assert found.settings().log_levels == (("a/b", logging.INFO),)
    assert asked("--log-level=a=debug", "x").settings().log_level == logging.INFO


@pytest.mark.parametrize("typed", ["--log-level=loud", "--log-format=xml", "--umask=9", "--log-keep=0"])
def test_a_value_that_is_none_is_a_mistake_of_whoever_typed_it(typed: str) -> None:
    """Conformance rows 57 and 84."""
    with pytest.raises(Mistake) as mistake:
        asked(typed, "a.tac").settings()
    assert mistake.value.fault is Fault.USAGE


def test_every_row_of_the_table_is_complete() -> None:
    """It is what help, the manual and the completion are made of."""
    for command in COMMANDS:
        assert command.help
        assert command.help[-1] != "."
        assert command.description[-1] in ".-"
        required = [one.required for one in command.positionals]
        assert required == sorted(required, reverse=True)
