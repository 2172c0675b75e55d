"""Exit statuses."""

from __future__ import annotations

import os

from trioservice.process.exits import Exit


def test_the_statuses_are_those_of_sysexits() -> None:
    """Supervisors and shells know these numbers, so they are a promise."""
    assert {exit.name: int(exit) for exit in Exit} == {
        "OK": os.EX_OK,
        "FAILED": 1,
        "NOT_RUNNING": 3,  # that of init scripts; sysexits.h has none for it
        "USAGE": os.EX_USAGE,
        "DATA": os.EX_DATAERR,
        "NO_INPUT": os.EX_NOINPUT,
        "START_FAILED": os.EX_UNAVAILABLE,
        "LOAD_FAILED": os.EX_SOFTWARE,
        "CANNOT_CREATE": os.EX_CANTCREAT,
        "OUTPUT_FAILED": os.EX_IOERR,
        "ALREADY_RUNNING": os.EX_TEMPFAIL,
        "NO_PERMISSION": os.EX_NOPERM,
        "CONFIG": os.EX_CONFIG,
        "STUCK": 79,
    }


def test_each_status_says_what_it_means_on_one_line() -> None:
    """The help and the documentation are made of these sentences."""
    meanings = [exit.meaning for exit in Exit]
    assert len(set(meanings)) == len(meanings)
    assert all(meaning and "\n" not in meaning for meaning in meanings)
    assert Exit(69) is Exit.START_FAILED
