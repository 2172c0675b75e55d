"""Logging as a file or a function of the user's sets it up."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import pytest

from trioservice.process.exits import CannotRun, Exit
from trioservice.process.log_config import configure
from trioservice.process.logs import open_logs
from trioservice.process.settings import Settings

from .support import as_in_a_fresh_process


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])


CONFIG = {
    "handlers": {"it": {"class": "logging.FileHandler", "filename": "theirs.log"}},
    "root": {"handlers": ["it"], "level": "INFO"},
}
TOML = """
[handlers.it]
class = "logging.FileHandler"
filename = "theirs.log"
[root]
handlers = ["it"]
level = "INFO"
"""


@pytest.mark.parametrize(("name", "text"), [("log.json", json.dumps(CONFIG)), ("log.toml", TOML)])
@as_in_a_fresh_process()
def test_a_file_can_set_it_all_up(name: str, text: str) -> None:
    """Row 78: what `logging.config.dictConfig` takes; it beats all else."""
    Path(name).write_text(text)
    configure(name)
    logging.getLogger("x").info("hello")
    assert Path("theirs.log").read_text() == "hello\n"


@as_in_a_fresh_process()
def test_a_function_can_set_it_all_up() -> None:
    """From a module beside the application."""
    Path("mylogs.py").write_text(
        "import logging\ndef setup():\n    logging.basicConfig(filename='theirs.log')\n"
    )
    configure("mylogs:setup")
    logging.getLogger("x").error("hello")
    assert Path("theirs.log").read_text() == "ERROR:x:hello\n"


@pytest.mark.parametrize(
    ("name", "text", "said", "status"),
    [
        ("log.toml", None, "No such file or directory", Exit.NO_INPUT),
        ("log.toml", "version =", "Invalid value", Exit.CONFIG),
        ("log.json", "[1]", "", Exit.CONFIG),
        (
            "log.json",
            '{"version": 1, "handlers": {"it": {"class": "no.such"}}}',
            "Unable to configure",
            Exit.CONFIG,
        ),
        ("nothing", None, "that is neither a .toml or .json file nor package.module:function", Exit.USAGE),
        ("no_such_module:setup", None, "ModuleNotFoundError: No module named 'no_such_module'", Exit.USAGE),
        ("json:no_such_name", None, "AttributeError: ", Exit.USAGE),
        ("json:decoder", None, "TypeError: 'module' object is not callable", Exit.USAGE),
    ],
)
@as_in_a_fresh_process()
def test_what_cannot_set_it_up_is_told(name: str, text: str | None, said: str, status: Exit) -> None:
    """Row 58."""
    if text is not None:
        Path(name).write_text(text)
    with pytest.raises(CannotRun) as refused:
        configure(name)
    assert str(refused.value).startswith(f"cannot set up logging by {name}: {said}")
    assert "--logger takes" in refused.value.hint
    assert refused.value.status is status


@as_in_a_fresh_process()
def test_it_beats_all_else() -> None:
    """Row 78."""
    Path("log.json").write_text(json.dumps(CONFIG))
    open_logs(Settings(logger="log.json", logfile="ours.log"))
    assert sorted(os.listdir()) == ["log.json", "theirs.log"]


@as_in_a_fresh_process()
def test_loggers_that_there_are_by_then_are_not_silenced() -> None:
    """As dictConfig would do, ours among them."""
    before = logging.getLogger("made.before")
    Path("log.json").write_text(json.dumps(CONFIG))
    configure("log.json")
    before.error("still heard")
    assert Path("theirs.log").read_text() == "still heard\n"


@as_in_a_fresh_process()
def test_the_present_folder_is_importable_by_its_name(tmp_path: Path) -> None:
    """Not by whichever is present when something is imported later, as another user, in another folder."""
    Path("mylogs.py").write_text("def setup(): pass\n")
    configure("mylogs:setup")
    assert sys.path[0] == str(tmp_path)
