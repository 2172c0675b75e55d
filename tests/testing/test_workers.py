"""Lives in processes of their own: whatever a life does, it is told what became of it."""

from __future__ import annotations

import os
import signal
import time

import pytest
import trio

from trioservice import Application, Service, TaskService
from trioservice.testing import workers
from trioservice.testing.scripts import advance
from trioservice.testing.shrinking import shortest
from trioservice.testing.workers import Plan, Workers

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
]

IDLE = (advance(1.0),)


def sound() -> Application:
    return Application("app", Service(name="a"))


def doing(async_fn):
    return lambda: Application("app", TaskService(async_fn, name="work"))


def outcomes(make, plans: list[Plan], *, jobs: int = 1, lives_each: int = 100):
    return list(Workers(make, jobs=jobs, lives_each=lives_each).live_all(plans))


def test_each_plan_has_an_outcome_and_none_has_two() -> None:
    found = outcomes(sound, [Plan(seed) for seed in range(40)], jobs=2, lives_each=7)
    assert sorted(outcome.plan.seed for outcome in found) == list(range(40))
    assert not any(outcome.breaches for outcome in found)
    assert all(outcome.steps for outcome in found)


def test_a_life_is_the_same_in_another_process() -> None:
    (first,), (second,) = (outcomes(sound, [Plan(7, wants_story=True)]) for _ in range(2))
    assert first.story == second.story
    assert any("running" in line.words for line in first.story)


def test_an_application_that_cannot_be_made_again_says_why() -> None:
    made: list[Application] = []

    def make() -> Application:
        if made:
            raise RuntimeError("there is one already")
        made.append(sound())
        return made[0]

    first, second, third = outcomes(make, [Plan(seed, IDLE) for seed in range(3)])
    assert not first.breaches
    (breach,) = second.breaches
    assert breach.rule == "dies"
    assert "cannot be led through this life: RuntimeError: there is one already" in breach.words
    assert "test_workers.py" in breach.where
    assert not third.breaches  # it is lived in a process of its own


def test_what_takes_long_to_be_made_is_not_disturbed() -> None:
    def make() -> Application:
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        return sound()

    assert not outcomes(make, [Plan(0, IDLE), Plan(1, IDLE)])[1].breaches


def test_lives_of_one_child_come_to_different_worlds() -> None:
    seen: list[int] = []

    def make() -> Application:
        seen.append(1)
        if len(seen) > 1:
            raise RuntimeError("somebody was here before")
        return sound()

    assert not any(one.breaches for one in outcomes(make, [Plan(seed) for seed in range(4)], lives_each=1))


def test_who_ends_the_process_has_died_and_the_others_live_on() -> None:
    async def work() -> None:
        os._exit(3)

    found = outcomes(doing(work), [Plan(seed, IDLE) for seed in range(3)])
    assert [str(outcome.breaches[0]) for outcome in found] == [
        "dies: the application has ended the whole process, with status 3"
    ] * 3


def test_who_is_killed_has_died_of_the_signal() -> None:
    async def work() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    (outcome,) = outcomes(doing(work), [Plan(0, IDLE)])
    assert "with status -9" in outcome.breaches[0].words


def test_who_blocks_is_interrupted_and_named_with_its_line(monkeypatch) -> None:
    monkeypatch.setattr("trioservice.testing.blocking.TOO_LONG", 0.2)

    async def work() -> None:
        await trio.sleep(0.5)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            pass

    (outcome,) = outcomes(doing(work), [Plan(0, IDLE, wants_story=True)])
    assert outcome.breaches[0].rule == "blocks"
    assert "in work" in outcome.breaches[0].where
    assert not outcome.goes_on
    assert outcome.story


def test_who_does_not_even_hear_an_alarm_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(workers, "_PATIENCE", 0.3)

    async def work() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        time.monotonic()
        while True:
            pass

    (outcome,) = outcomes(doing(work), [Plan(0, IDLE)])
    assert "no alarm was heard" in outcome.breaches[0].words


def test_who_is_abandoned_costs_its_child_and_no_life() -> None:
    async def work() -> None:
        while True:
            try:
                await trio.sleep(1)
            except BaseException:  # noqa: BLE001
                pass

    found = outcomes(doing(work), [Plan(seed, IDLE) for seed in range(3)])
    assert [outcome.breaches[0].rule for outcome in found] == ["L17"] * 3


def test_what_services_print_is_not_seen(capfd: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        os.write(1, b"hello")
        os.write(2, b"hello")

    outcomes(doing(work), [Plan(0, IDLE)])
    assert capfd.readouterr() == ("", "")


def test_whoever_has_heard_enough_leaves_no_child_behind() -> None:
    lives = Workers(sound, jobs=2, lives_each=2).live_all(Plan(seed) for seed in range(1000))
    next(lives)
    lives.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_ctrl_c_before_the_first_life_is_not_lost_in_the_warm_up(monkeypatch) -> None:
    warmed: list[int] = []

    def disturbed(make, **options: int) -> None:
        warmed.append(1)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(workers, "live", disturbed)
    with pytest.raises(KeyboardInterrupt):
        Workers(sound, jobs=1, lives_each=1)
    assert len(warmed) == 20


def test_ctrl_c_is_for_the_parent_alone() -> None:
    async def work() -> None:
        signal.raise_signal(signal.SIGINT)
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])

    (outcome,) = outcomes(doing(work), [Plan(0, IDLE)])
    assert outcome.breaches == ()


def test_who_dies_is_reported_with_the_script_that_it_died_of_and_shrunk() -> None:
    runs: list[int] = []

    async def work() -> None:
        runs.append(1)
        if len(runs) > 1:
            os._exit(3)
        await trio.sleep_forever()

    lives = Workers(doing(work), jobs=1, lives_each=1)
    found = next(outcome for outcome in lives.live_all(map(Plan, range(200))) if outcome.breaches)
    assert found.script
    shortest_one = shortest(found, lives.live)
    assert len(shortest_one.script) <= 2
    assert lives.live(shortest_one.plan).breaches[0].rule == "dies"


def test_each_child_has_a_patience_of_its_own(monkeypatch) -> None:
    monkeypatch.setattr(workers, "_PATIENCE", 0.5)
    late, talks = (Child(heard_at) for heard_at in (time.monotonic() - 0.6, time.monotonic()))
    monkeypatch.setattr(workers, "wait", lambda pipes, timeout: [talks.pipe])
    assert dict(workers._news([late, talks])) == {late: "given up", talks: "news"}  # type: ignore[list-item]


class Child:
    """What stands for a child that was heard of at some moment."""

    def __init__(self, heard_at: float) -> None:
        self.heard_at, self.pipe = heard_at, object()

    def news(self) -> str:
        return "news"

    def give_up(self) -> str:
        return "given up"
