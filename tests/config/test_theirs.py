"""Code that is not ours: what it raises is told with its own frames, and what it returns is handed on."""

from __future__ import annotations

import subprocess
import sys
from typing import NoReturn

import pytest

from trioservice.config.mistakes import Fault, Mistake
from trioservice.config.theirs import TargetError, calling_theirs


def test_what_it_returns_is_handed_on() -> None:
    assert calling_theirs(lambda: 42, "asking") == 42


def test_what_it_raises_is_told_with_its_own_frames_only() -> None:
    def break_down() -> NoReturn:
        raise LookupError("no such dish\nnor a spoon")

    with pytest.raises(TargetError, match=r"^LookupError while cooking: no such dish \.\.\.$") as caught:
        calling_theirs(break_down, "cooking")
    assert caught.value.fault is Fault.RAISED
    assert "break_down" in caught.value.details
    assert "calling_theirs" not in caught.value.details


def test_a_mistake_is_told_as_it_is() -> None:
    mistake = Mistake("no port", hint="give one", fault=Fault.USAGE)

    def complain() -> NoReturn:
        raise mistake

    with pytest.raises(Mistake) as caught:
        calling_theirs(complain, "asking")
    assert caught.value is mistake


def test_an_exit_is_a_failure_and_no_end() -> None:
    with pytest.raises(TargetError, match="SystemExit while leaving"):
        calling_theirs(lambda: sys.exit(3), "leaving")


def test_it_comes_without_trio() -> None:
    script = "import sys, trioservice.config.theirs; sys.exit('trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
