"""What was typed, told apart by the declarations of the options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trioservice.cli.arguments import Arguments, read
from trioservice.config.layers import Given
from trioservice.config.mistakes import Fault, Mistake
from trioservice.config.options import FOR_RUNNING, HELP, option


def typed(*argv: str) -> Arguments:
    """By the options of `trioservice run`."""
    return read(argv, FOR_RUNNING, "trioservice run")


@pytest.mark.parametrize(
    ("argv", "name", "spelling", "text"),
    [
        (["--logfile", "x"], "logfile", "--logfile", "x"),
        (["--logfile=x=y"], "logfile", "--logfile", "x=y"),
        (["--logfile="], "logfile", "--logfile", ""),
        (["--logfile", "-"], "logfile", "--logfile", "-"),
        (["--log-file", "x"], "logfile", "--log-file", "x"),
        (["-l", "x"], "logfile", "-l", "x"),
        (["-lx"], "logfile", "-l", "x"),
        (["-l=x"], "logfile", "-l", "x"),
        (["-l-"], "logfile", "-l", "-"),
        (["--prefix", "-1"], "prefix", "--prefix", "-1"),
        (["--daemon"], "daemon", "--daemon", "yes"),
        (["--daemon=no"], "daemon", "--daemon", "no"),
        (["-n"], "daemon", "-n", "no"),
        (["--nodaemon"], "daemon", "--nodaemon", "no"),
        (["-h"], "help", "-h", "yes"),
    ],
)
def test_an_option_can_be_written_in_several_ways(
    argv: list[str], name: str, spelling: str, text: str
) -> None:
    """And it is remembered in which, for errors and for `trioservice config`."""
    assert typed(*argv) == Arguments({name: [Given(spelling, text)]}, [])


def test_the_command_line_of_a_twistd_hand() -> None:
    """It comes without thinking."""
    found = typed("-noy", "shop.tac", "-u", "nobody", "--pidfile=")
    assert found.options == {
        "daemon": [Given("-n", "no")],
        "no-save": [Given("-o", "yes")],
        "python": [Given("-y", "shop.tac")],
        "uid": [Given("-u", "nobody")],
        "pidfile": [Given("--pidfile", "")],
    }


def test_options_stand_anywhere_and_two_dashes_end_them() -> None:
    """A file may be called -n."""
    found = typed("a.tac", "--daemon", "-", "--", "-n", "--x")
    assert found.positionals == ["a.tac", "-", "-n", "--x"]
    assert list(found.options) == ["daemon"]
    assert found.has(next(one for one in FOR_RUNNING if one.name == "daemon"))
    assert not found.has(HELP)


def test_what_is_repeated_is_kept_in_order() -> None:
    """Which of them counts is not decided here."""
    found = typed("--log-level", "info", "--log-level=a=debug")
    assert [one.text for one in found.options["log-level"]] == ["info", "a=debug"]


@pytest.mark.parametrize(
    ("argv", "said", "hint"),
    [
        (["--loud"], "there is no option --loud", "`trioservice run --help` lists what there is"),
        (["--umsk", "1"], "there is no option --umsk", "did you mean --umask?"),
        (["--daemo"], "there is no option --daemo", "did you mean --daemon?"),
        (["-z"], "there is no option -z", "`trioservice run --help` lists what there is"),
        (["-nz"], "there is no option -z in -nz", "`trioservice run --help` lists what there is"),
        (["-uid", "x"], "-uid lacks a dash", "did you mean --uid?"),
        (["-logfile=x"], "-logfile=x lacks a dash", "did you mean --logfile=x?"),
        (["--logfile"], "--logfile needs a value: a path", "`trioservice run --help` lists what there is"),
        (["-nl"], "-l needs a value: a path", "`trioservice run --help` lists what there is"),
        (
            ["--logfile", "--daemon"],
            "--logfile needs a value, and --daemon looks like an option",
            "if it is meant: --logfile=--daemon",
        ),
        (["--nodaemon=no"], "--nodaemon takes no value", "--daemon=no does"),
        (
            ["--reactor", "epoll"],
            "--reactor is an option of twistd",
            "there is one event loop, trio's; leave it out",
        ),
        (["-r", "epoll"], "-r is an option of twistd", "there is one event loop, trio's; leave it out"),
        (
            ["--help-reactors"],
            "--help-reactors is an option of twistd",
            "there is one event loop, trio's; leave it out",
        ),
        (["--spew"], "--spew is an option of twistd", "SIGUSR2 logs the stack of every task"),
    ],
)
def test_what_cannot_be_told_apart_is_told_with_the_likely_mend(
    argv: list[str], said: str, hint: str
) -> None:
    """An abbreviation is no option, and an old one is answered."""
    with pytest.raises(Mistake) as mistake:
        typed(*argv)
    assert (str(mistake.value), mistake.value.fault) == (said, Fault.USAGE)
    assert mistake.value.hint.startswith(hint)


_WORDS = some.lists(some.one_of(some.text(max_size=4), some.sampled_from(["--", "-noy", "--logfile", "-l"])))


@given(_WORDS)
def test_whatever_is_typed_is_told_apart_or_refused_in_a_sentence(argv: list[str]) -> None:
    """Nothing that can be typed makes it fail otherwise."""
    try:
        found = typed(*argv)
    except Mistake:
        return
    assert all(isinstance(text, str) for text in found.positionals)


@given(some.text(), some.text())
def test_a_value_arrives_as_it_was_typed(text: str, target: str) -> None:
    """With all its dashes and equal signs."""
    options = [option("name", "", short="x")]
    found = read([f"--name={text}", "--", target], options, "it")
    assert found == Arguments({"name": [Given("--name", text)]}, [target])
