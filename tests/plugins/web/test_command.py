"""`trioservice web`, as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioservice.cli import main
from trioservice.config.mistakes import Mistake
from trioservice.config.plugins import application_of
from trioservice.plugins.web.command import web
from trioservice.process.exits import Exit

VALUES = {"listen": "tcp:8081", "listings": False, "cache_control": None, "access_log": "none"}


def test_the_options_describe_the_site(tmp_path: Path) -> None:
    site = application_of("web", web, {**VALUES, "path": tmp_path})["site"]
    assert str(site.endpoint) == "tcp:8081"
    assert site.on_answered is None


def test_a_folder_that_is_not_there_is_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"--path .*nowhere: No such file or directory"):
        application_of("web", web, {**VALUES, "path": tmp_path / "nowhere"})


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--listen", "tpc:8080"], "tpc"), (["--access-log", "apache"], "combined"), (["--path"], "--path")],
)
def test_a_mistake_is_told_in_a_line(words: list[str], said: str, capsys) -> None:
    assert main(["web", *words]) == Exit.USAGE
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_its_help_names_the_options(capsys) -> None:
    assert main(["web", "--help"]) == Exit.OK
    assert "--listen ENDPOINT" in capsys.readouterr().out
