"""What a record looks like."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import tempfile
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trioservice import Application, Service
from trioservice.process.log_formats import (
    FORMATS,
    JournalFormatter,
    JSONFormatter,
    TextFormatter,
    is_journal,
    service_of,
    wants_colour,
)

from .support import record

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


def failed() -> logging.LogRecord:
    """A record with a traceback."""
    try:
        raise ValueError("no")
    except ValueError:
        return record("it broke", level=logging.ERROR, exc_info=sys.exc_info())


def inside_of_a_service(work: object) -> None:
    """Call *work* where the service shop/web is at work."""

    class Web(Service):
        async def run(self, task_status: trio.TaskStatus[object]) -> None:
            task_status.started()
            work()  # type: ignore[operator]

    trio.run(Application("shop", Web(name="web"), handle_signals=False).main)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_the_same_facts(name: str) -> None:
    """Row 84: whose it is, how loud, and what."""
    formatter = FORMATS[name]()
    lines: list[str] = []
    inside_of_a_service(
        lambda: lines.append(formatter.format(record("low on %s", "ink", level=logging.WARNING)))
    )
    (line,) = lines
    assert "shop/web" in line
    assert "low on ink" in line
    assert {"text": "WARNING", "json": '"level": "WARNING"', "journal": "<4>"}[name] in line


def test_a_line_of_text_has_time_level_path_and_message() -> None:
    """With milliseconds."""
    assert re.fullmatch(rf"{TIME} INFO    hello", TextFormatter().format(record()))
    line = TextFormatter().format(record("shop/web: running", service="shop/web"))
    assert re.fullmatch(rf"{TIME} INFO    shop/web: running", line)  # and the path once


def test_a_traceback_stands_below_its_line() -> None:
    """As Python prints it."""
    text = TextFormatter().format(failed())
    assert re.match(rf"{TIME} ERROR   it broke\nTraceback \(most recent call last\):\n", text)
    assert text.endswith("\nValueError: no")


@pytest.mark.parametrize(
    ("level", "code"),
    [(10, "2"), (20, "32"), (25, "32"), (30, "33"), (40, "31"), (50, "1;7;31"), (60, "1;7;31")],
)
def test_colour_is_on_the_level_alone(level: int, code: str) -> None:
    """A message may be copied without it."""
    line = TextFormatter(colour=True).format(record(level=level))
    assert re.fullmatch(rf"{TIME} \x1b\[{code}m.{{7,}}\x1b\[0m hello", line)


def test_the_journal_reads_the_level_of_each_line() -> None:
    """It makes an entry of each, so all need it; the time it knows itself."""
    lines = JournalFormatter().format(failed()).splitlines()
    assert lines[0] == "<3>it broke"
    assert lines[-1] == "<3>ValueError: no"
    assert all(line.startswith("<3>") for line in lines)
    assert [JournalFormatter().format(record(level=level))[:3] for level in (10, 20, 30, 40, 50)] == [
        "<7>",
        "<6>",
        "<4>",
        "<3>",
        "<2>",
    ]


def test_an_object_of_json_has_everything() -> None:
    """Time in UTC, the user's own facts beside ours, the traceback as text."""
    line = JSONFormatter().format(
        record("shop/web: %d left", 3, service="shop/web", order=17, user={"id": 4})
    )
    facts = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", facts.pop("time"))
    assert facts == {
        "level": "INFO",
        "logger": "some.library",
        "service": "shop/web",
        "message": "3 left",
        "order": 17,
        "user": {"id": 4},
    }
    assert json.loads(JSONFormatter().format(failed()))["exception"].endswith("ValueError: no")
    assert json.loads(JSONFormatter().format(record(stack_info="Stack")))["stack"] == "Stack"


def test_a_name_of_ours_that_the_user_has_given_too_is_not_lost() -> None:
    """It gets a line below."""
    facts = json.loads(JSONFormatter().format(record(time="tea", stack="high")))
    assert (facts["time_"], facts["stack_"]) == ("tea", "high")


class Odd:
    def __repr__(self) -> str:
        return "<odd>"


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.binary() | st.just(Odd()),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text() | st.binary() | st.tuples(st.integers()), inner)
        ),
    ),
    st.text(),
)
def test_whatever_is_logged_is_one_line_of_json(value: object, message: str) -> None:
    """What JSON lacks is shown as Python shows it."""
    line = JSONFormatter().format(record(message.replace("%", ""), fact=value))
    assert "\n" not in line
    assert "fact" in json.loads(line, parse_constant=pytest.fail)


class Bad:
    def __repr__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize("name", FORMATS)
def test_a_record_that_cannot_be_formatted_says_where_it_was_made(name: str) -> None:
    """It is a mistake in somebody's code, which must be found, and no reason to lose a line."""
    formatter = FORMATS[name]()
    one = formatter.format(record("%d apples", "three"))
    two = formatter.format(record("%s", Bad()))
    assert f"a record made at {record().pathname}:1 cannot be written: '%d apples' with" in one
    assert "TypeError" in one
    assert "whose repr raises ZeroDivisionError" in two


def test_a_number_that_is_none_is_no_json() -> None:
    """Python would write NaN, which nobody else can read."""
    facts = json.loads(JSONFormatter().format(record(a=float("nan"), b=[float("inf")], c=Bad())))
    assert (facts["a"], facts["b"]) == ("nan", "[inf]")
    assert facts["c"] == "<Bad whose repr raises ZeroDivisionError>"


def test_what_contains_itself_is_no_end_of_the_log() -> None:
    """It is shown as Python shows it, and the rest as it is."""
    circle: list[object] = []
    circle.append(circle)
    facts = json.loads(JSONFormatter().format(record(circle=circle, other=[1])))
    assert (facts["circle"], facts["other"]) == ("[[...]]", [1])


def test_outside_of_services_there_is_no_path() -> None:
    """Text has none, JSON says so."""
    assert service_of(record()) is None
    assert json.loads(JSONFormatter().format(record()))["service"] is None


def test_the_journal_is_known_by_what_systemd_says_of_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Device and inode, so that a redirection is noticed."""
    with tempfile.TemporaryFile("w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        assert not is_journal(stream)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert is_journal(stream)
        assert not is_journal(io.StringIO())
        assert not is_journal(None)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")
        assert not is_journal(stream)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_is_for_a_person_at_a_terminal_who_has_not_forbidden_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """https://no-color.org; and a dumb terminal would show the codes."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert wants_colour(Terminal())
    assert not wants_colour(io.StringIO())
    closed = io.StringIO()
    closed.close()
    assert not wants_colour(closed)
    assert not wants_colour(None)
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_colour(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())


def test_this_file_is_where_the_records_say_they_come_from() -> None:
    """The helper that makes them is honest."""
    assert Path(record().pathname).name == "support.py"
