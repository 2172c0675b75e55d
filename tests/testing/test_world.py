"""The world around a life brings it to an end, and complains of what no event tells of."""

from __future__ import annotations

import pytest
import trio

from trioservice import Application, Service, TaskService
from trioservice.testing import live
from trioservice.testing.scripts import advance, hang_at_start, restart
from trioservice.testing.world import TO_BE_GONE, TO_BE_READY

from . import planted


def complaints(make, script=(), seed: int = 0) -> list[str]:
    return [str(breach) for breach in live(make, list(script), seed=seed).breaches]


def test_who_never_becomes_ready_is_named_with_its_line() -> None:
    (breach,) = live(planted.never_ready, []).breaches
    assert str(breach) == f"L2: shop/Silent is not ready after {TO_BE_READY:.0f} s"
    assert "planted.py" in breach.where


def test_who_was_made_to_hang_is_not() -> None:
    assert complaints(lambda: Application("app", Service(name="a")), [hang_at_start("app/a")]) == []


def test_who_does_not_go_is_named_and_left() -> None:
    life = live(planted.shield_without_a_deadline, [])
    assert life.was_abandoned
    assert str(life.breaches[0]) == f"L17: shop/work has not gone {TO_BE_GONE:.0f} s after it was cancelled"


def test_who_spins_is_named_and_overtaken() -> None:
    assert (
        complaints(planted.spinning, [advance(5.0)])[0]
        == "spins: shop/work takes step after step and never waits"
    )


def test_a_task_that_has_left_the_family_is_found_where_it_was_started() -> None:
    life = live(planted.task_that_leaks, [])
    assert life.breaches[0].words == "has left a task behind, trio.sleep_forever"
    assert "in work" in life.breaches[0].where


def test_a_socket_that_is_left_open_is_its_openers() -> None:
    assert complaints(planted.port_that_is_kept) == [
        "leaks: shop/Door has left a socket open, localhost:7001"
    ]


def test_a_life_without_an_application_that_ends_by_itself_is_over_at_once() -> None:
    async def brief() -> None:
        await trio.sleep(1)

    assert complaints(lambda: Application("app", TaskService(brief)), [advance(5.0)]) == []


def test_whoever_asks_is_answered_before_a_life_is_over() -> None:
    make = lambda: Application("app", Service(name="a"), Service(name="b"))  # noqa: E731
    assert complaints(make, [restart("app/a"), restart("app/a"), restart("app/b")]) == []


@pytest.mark.parametrize("options", [{"uid": "nobody"}, {"gid": 12345}])
def test_privileges_are_a_matter_of_the_process(options: dict) -> None:
    assert complaints(lambda: Application("app", Service(name="a"), **options)) == []
