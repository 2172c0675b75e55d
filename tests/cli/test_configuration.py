"""The settings as they are, each with its source, as a file that says the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trioservice.cli.arguments import read
from trioservice.cli.command import Asked
from trioservice.cli.commands import COMMANDS
from trioservice.cli.configuration import toml_value, written
from trioservice.config.options import SETTINGS, option

CONFIG = next(command for command in COMMANDS if command.name == "config")


def asked(*argv: str) -> Asked:
    return Asked(CONFIG, read(argv, CONFIG.options, "trioservice config"))


def test_each_setting_is_shown_with_its_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Typed, exported, written, or nobody's."""
    monkeypatch.chdir(tmp_path)
    Path("shop.toml").write_text("log-keep = 3\ndaemon = true")
    monkeypatch.setenv("TRIOSERVICE_UMASK", "027")
    text = written(asked("--config=shop.toml", "-n", "-l", "x.log"))
    lines = [re.sub(" +", " ", line) for line in text.splitlines()]
    assert len({line.index("#") for line in text.splitlines() if "not set" not in line}) == 1
    for said, source in (
        ("daemon = false", "-n"),
        ('logfile = "x.log"', "-l"),
        ('umask = "027"', "TRIOSERVICE_UMASK"),
        ("log-keep = 3", "shop.toml"),
        ('log-level = ["info"]', "default"),
        ('stuck-timeout = "never"', "default"),
    ):
        assert f"{said} # {source}" in lines
    assert "# pidfile is not set" in lines
    assert [line.removeprefix("# ").split()[0] for line in lines] == [one.name for one in SETTINGS]


def test_the_output_is_a_file_that_sets_the_same(tmp_path: Path) -> None:
    """Whoever has found a command line that works can keep it."""
    typed = asked(
        *(
            "--daemon",
            "--daemon-timeout=2.5",
            "--log-level=a/b=debug",
            "--log-level=error",
            "--log-rotate=10M",
        ),
        *("--umask=7", "--uid=33", '--prefix=a "b" \\ ü', "--stuck-timeout=never", "--syslog"),
    )
    file = tmp_path / "kept.toml"
    file.write_text(written(typed), encoding="utf-8")
    assert asked("--config", str(file)).settings() == typed.settings()


def test_parameters_of_the_target_are_shown_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In their table."""
    monkeypatch.syspath_prepend(str(tmp_path))
    target = tmp_path / "with_parameters.py"
    target.write_text(
        "from trioservice import *\nparameter('port', 80)\nparameter('token', None)\n"
        "parameter('hosts', ['a'])\napplication = Application('app')\n"
    )
    monkeypatch.setenv("TRIOSERVICE_SET_HOSTS", "x,y")
    table = written(asked(str(target), "--set", "port=81")).partition("\n[set]\n")[2]
    assert tomllib.loads(table) == {"port": 81, "hosts": ["x", "y"]}
    assert "# token is not set" in table
    assert "# TRIOSERVICE_SET_HOSTS" in table


@given(
    some.one_of(
        some.text(), some.booleans(), some.integers(-(1 << 62), 1 << 62), some.floats(allow_nan=False)
    )
)
def test_every_value_can_be_written_and_read(value: Any) -> None:
    """Whatever is in it."""
    declared = option("it", value)
    read_back = tomllib.loads(f"it = {toml_value(declared, value) or repr('')}")["it"]
    assert declared.form.take(read_back) == value
