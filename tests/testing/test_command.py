"""`trioservice check`, as it is typed: its options, its exit status, its refusals."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from trioservice.cli import main
from trioservice.process.exits import Exit

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="check lives each life in a forked process"),
]

ECHO = str(Path(__file__).parents[2] / "examples" / "01_echo.tac")


def test_what_is_sound_is_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", ECHO, "--seeds", "3", "--jobs", "1"]) == Exit.OK
    assert "3 lives, and every promise was kept" in capsys.readouterr().out


def test_one_seed_is_one_life(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", ECHO, "--seed", "41"]) == Exit.OK
    assert "1 life, and" in capsys.readouterr().out


def test_a_broken_promise_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "tests.testing.planted:no_finally", "--seeds", "50"]) == Exit.FAILED
    assert "L3: shop/Desk cannot be started again" in capsys.readouterr().out


def test_what_cannot_be_loaded_is_a_mistake_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "nowhere.tac"]) == Exit.NO_INPUT
    said = capsys.readouterr().err
    assert "nowhere.tac" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("options", [["--seeds", "0"], ["--seeds", "many"], ["--jobs", "0"]])
def test_numbers_that_cannot_be_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", ECHO, *options]) == Exit.USAGE
    assert options[0] in capsys.readouterr().err


def test_a_system_without_fork_is_told_so(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delattr(os, "fork")
    assert main(["check", ECHO]) == Exit.USAGE
    assert "this system has no fork" in capsys.readouterr().err


def test_the_picture_is_drawn_where_it_is_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "life.svg"
    assert main(["check", ECHO, "--seed", "1", "--explain", "--svg", str(picture)]) == Exit.OK
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    assert "run() is entered" in capsys.readouterr().out


def test_a_picture_that_cannot_be_written_is_a_mistake_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", ECHO, "--svg", str(tmp_path / "no" / "life.svg")]) == Exit.CANNOT_CREATE
    said = capsys.readouterr()
    assert "life.svg: No such file or directory" in said.err
    assert said.out == ""  # it is told before any life


def test_who_reads_no_further_is_no_traceback(monkeypatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as nobody:
        monkeypatch.setattr("sys.stdout", nobody)
        assert main(["check", ECHO, "--seed", "1", "--explain"]) == Exit.OUTPUT_FAILED


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no disk that is always full")
def test_a_full_disk_is_a_mistake_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", ECHO, "--seed", "1", "--svg", "/dev/full"]) == Exit.CANNOT_CREATE
    said = capsys.readouterr()
    assert "cannot write /dev/full: No space left on device" in said.err
    assert "drawn into" not in said.out


def test_closed_standard_streams_are_no_traceback(monkeypatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    assert main(["check", ECHO, "--seed", "1"]) == Exit.OUTPUT_FAILED


def test_ctrl_c_is_one_line(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*args: object, **options: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("trioservice.testing.command.check_lives", interrupted)
    assert main(["check", ECHO]) == 128 + signal.SIGINT
    assert "the check was interrupted" in capsys.readouterr().err
