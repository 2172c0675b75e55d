"""`trioservice check`: planted bugs are found, odd services are left in peace."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from trioservice.cli import main
from trioservice.config.targets import Maker
from trioservice.testing.checking import check

from . import odd, planted

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="check lives each life in a forked process"),
]

EXAMPLES = Path(__file__).parents[2] / "examples"

# One of each kind; `make mutants` tries all of them.
SOME = {
    "no_finally": "L3: shop/Desk cannot be started again",
    "connection_that_leaks": "leaks: shop/front has left a socket open",
    "task_that_leaks": "leaks: shop/work has left a task behind",
    "shield_without_a_deadline": "L17: shop/work has not gone",
    "cancelled_becomes_an_error": "L13: shop/work raises while it is stopping",
    "never_ready": "L2: shop/Silent is not ready",
    "ready_too_early": "L14: shop/use fails by itself",
    "blocking_sleep": "blocks: shop/work calls time.sleep(0.2)",
    "blocking_loop": "blocks: shop/work has let no task take a step",
    "spinning": "spins: shop/work takes step after step",
    "exits": "dies: the application has ended the whole process, with status 3",
}


def checked(make, seeds: int = 60, **options) -> tuple[bool, str]:
    out = io.StringIO()
    kept = check(
        Maker(make, True), "shop", range(seeds), jobs=1, out=out.write, progress=io.StringIO(), **options
    )
    return kept, out.getvalue()


@pytest.mark.parametrize("name", SOME)
def test_a_planted_bug_is_found_and_named(name: str) -> None:
    kept, said = checked(getattr(planted, name))
    assert not kept
    assert SOME[name] in said
    assert "live(make, [" in said


@pytest.mark.parametrize("name", ["stops_everybody", "fails_when_its_base_is_gone", "handler_that_raises"])
def test_odd_services_are_left_in_peace(name: str) -> None:
    assert checked(getattr(odd, name))[0]


def test_the_story_is_told_and_drawn() -> None:
    pictures: list[str] = []
    _, said = checked(planted.no_finally, explain=True, draw=pictures.append)
    assert [picture[:4] for picture in pictures] == ["<svg"]
    assert "shop/Desk: run() is entered" in said


def test_the_command_tells_by_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(EXAMPLES / "01_echo.tac"), "--seeds", "5"]) == 0
    assert "every promise was kept" in capsys.readouterr().out
