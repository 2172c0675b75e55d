"""How a process is to be run: what it is if nobody says anything, and that nobody changes it."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from trioservice.config.options import SETTINGS
from trioservice.process.settings import Settings


def test_by_default_a_process_stays_in_the_foreground_and_touches_nothing() -> None:
    """That is what systemd, a container and a person at a terminal want.  Conformance rows 57 and 67."""
    settings = Settings()
    assert not settings.daemon
    assert settings.log_level == logging.INFO
    nothing = {
        settings.pidfile,
        settings.logfile,
        settings.umask,
        settings.uid,
        settings.gid,
        settings.chroot,
    }
    assert nothing == {None}


def test_settings_are_not_changed() -> None:
    """All steps of a life go by the same."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().daemon = True  # type: ignore[misc]


def test_each_field_is_an_option_with_the_same_default() -> None:
    """What a process can be told can be told on the command line, in the environment and in a file."""
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    declared = {option.key: option.default for option in SETTINGS}
    assert declared.pop("log_level") == ((None, defaults["log_level"]),)
    assert defaults.pop("log_levels") == ()  # one option says both
    del defaults["log_level"]
    assert declared == defaults
