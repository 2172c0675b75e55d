"""One simulated life: the same from the same seed, judged, and brought to an end whatever happens."""

from __future__ import annotations

import hashlib
import logging
import random

import pytest
import trio

from trioservice import Application, MultiService, Service, TaskService, TCPServer
from trioservice.testing.lives import BrokenPromise, live
from trioservice.testing.scripts import advance, again, cancel, fail, restart, shutdown, signal, stop, visit

from . import planted


async def echo(stream) -> None:
    async for data in stream:
        await stream.send_all(data)


class Stock(Service):
    async def run(self, task_status) -> None:
        await trio.sleep(random.random())
        task_status.started()
        await trio.sleep_forever()

    async def drain(self) -> None:
        await trio.sleep(0.5)


def shop() -> Application:
    return Application(
        "shop",
        MultiService(Stock(name="stock"), TaskService(trio.sleep_forever, name="restock"), name="back"),
        TCPServer(7002, echo, host="127.0.0.1", name="front"),
        TaskService(trio.sleep_forever, name="clerk"),
    )


def test_a_sound_application_keeps_every_promise() -> None:
    for seed in range(100):
        live(shop, seed=seed).check()


def test_the_same_seed_is_the_same_life() -> None:
    logs = [[live(shop, seed=seed).log for seed in range(20)] for _ in range(2)]
    assert logs[0] == logs[1]
    assert len(set(logs[0])) == 20


def test_a_life_is_the_same_on_every_python() -> None:
    told = "".join(live(shop, seed=seed).log for seed in range(200))
    # If what is told has changed on purpose, paste what you see here.
    assert hashlib.sha256(told.encode()).hexdigest()[:16] == "734f4da75ce90704"


def test_everything_can_be_asked_for() -> None:
    script = [advance(2), restart("shop/back/stock"), advance(2), stop("shop/clerk"), visit(0, "ask")]
    script += [advance(1), again(), advance(2), signal(), signal(), again(), cancel(), again(), shutdown()]
    life = live(shop, script)
    assert life.breaches == ()
    assert "says that it is ready" in life.log
    assert "localhost:7002" in life.log


def test_the_first_broken_promise_is_told_with_what_to_paste() -> None:
    with pytest.raises(
        BrokenPromise,
        match=r"L3: shop/Desk cannot be started again.*\n(.*\n)*in live\(\.\.\., \[again\(\)\], seed=0\)",
    ):
        live(planted.no_finally, [again()]).check()


def test_an_injected_fault_is_nobodys_mistake() -> None:
    assert live(shop, [advance(2), fail("shop/back/stock")]).breaches == ()


def test_what_does_not_stop_is_abandoned_and_named() -> None:
    life = live(planted.swallowed_in_a_loop, [])
    assert life.was_abandoned
    assert life.breaches[0].rule == "L17"
    assert "swallowed_in_a_loop" not in life.breaches[0].path
    assert "planted.py" in life.breaches[0].where


def test_an_invariant_that_does_not_hold_is_raised_with_the_script() -> None:
    def holds(app: Application) -> None:
        assert not app["clerk"].running, "the clerk is up"

    with pytest.raises(AssertionError, match="the clerk is up") as caught:
        live(shop, [advance(2)], invariant=holds).check()
    assert caught.value.__notes__ == ["in live(..., [advance(2)], seed=0)"]


def test_a_mistake_in_an_invariant_is_no_success() -> None:
    with pytest.raises(AttributeError, match="takne"):
        live(shop, [], invariant=lambda app: app["clerk"].takne).check()


def test_what_comes_into_the_tree_in_the_course_of_a_life_can_be_meant() -> None:
    def make() -> Application:
        async def hire() -> None:
            app.add_service(Service(name="late"))
            await trio.sleep_forever()

        app = Application("a", TaskService(hire))
        return app

    assert "a/late: stopping: stop() was called" in live(make, [advance(1), stop("a/late"), advance(1)]).log


@pytest.mark.parametrize("script", [again(), ["again"], "again"])
def test_what_is_no_script_is_refused_in_a_sentence(script) -> None:
    with pytest.raises(TypeError, match="a script is a list of deeds"):
        live(shop, script)


def test_the_line_that_is_to_blame_is_told() -> None:
    with pytest.raises(BrokenPromise, match=r"\n  at .*planted\.py:\d+ in run"):
        live(planted.no_finally, [again()]).check()


def test_chance_and_logging_are_left_as_they_were() -> None:
    random.seed(1)
    expected = random.Random(1).random()
    live(shop, seed=7)
    assert random.random() == expected
    assert logging.root.manager.disable == 0


def test_ctrl_c_ends_more_than_the_application() -> None:
    async def pressed() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        live(lambda: Application("app", TaskService(pressed)), [])
