"""An error that nothing explains is held against a service; one that something explains is not."""

from __future__ import annotations

import pytest
import trio

from trioservice import Application, MultiService, Service, TaskService, TCPClient, TCPServer
from trioservice.testing import live
from trioservice.testing.scripts import (
    Deed,
    advance,
    again,
    fail,
    finish,
    reset_connections,
    restart,
    slow_start,
    stop,
    visit,
)


class Stock(Service):
    async def run(self, task_status) -> None:
        self.shelf: list[str] | None = ["apple"]
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.shelf = None


def shop() -> Application:
    """A clerk who looks at the shelf each second, and cannot do without."""
    stock = Stock(name="stock")

    async def sell() -> None:
        while True:
            await trio.sleep(1)
            if stock.shelf is None:
                raise RuntimeError("there is no shelf")

    return Application("shop", MultiService(stock, name="back"), TaskService(sell, name="clerk"))


def rules(make, *script: Deed) -> list[str]:
    return [breach.rule for breach in live(make, list(script)).breaches]


@pytest.mark.parametrize("deed", [stop("shop/back/stock"), stop("shop/back"), fail("shop/back/stock")])
def test_what_stands_before_may_be_relied_on(deed: Deed) -> None:
    life = live(shop, [advance(3.0), deed, advance(3.0)])
    assert life.breaches == ()


def test_whoever_fails_by_itself_is_named_with_its_line() -> None:
    async def work() -> None:
        await trio.sleep(1)
        raise KeyError("nobody")

    (breach,) = live(lambda: Application("app", TaskService(work)), [advance(2.0)]).breaches
    assert str(breach) == "L14: app/work fails by itself while running: KeyError: 'nobody'"
    assert "in work" in breach.where


def test_who_fails_in_its_second_run_only_cannot_be_started_again() -> None:
    runs = []

    def make() -> Application:
        runs.clear()

        async def work() -> None:
            runs.append(1)
            if len(runs) > 1:
                raise KeyError("nobody")
            await trio.sleep_forever()

        return Application("app", TaskService(work))

    assert rules(make, advance(1.0)) == []
    assert rules(make, advance(1.0), again(), advance(1.0)) == ["L3"]
    assert rules(make, advance(1.0), restart("app/work"), advance(1.0)) == ["L3"]


def test_a_failure_while_stopping_is_one_of_the_stop() -> None:
    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("nobody")

    assert rules(lambda: Application("app", TaskService(work)), advance(1.0)) == ["L13"]


def test_a_start_that_was_made_to_last_may_end_too_late() -> None:
    make = lambda: Application("app", Service(name="a", start_timeout=1))  # noqa: E731
    assert rules(make, slow_start("app/a", 3.0), advance(5.0)) == []


def test_who_was_made_to_finish_may_not_have_been_ready() -> None:
    async def slowly(task_status) -> None:
        await trio.sleep(5)
        task_status.started()

    assert rules(lambda: Application("app", TaskService(slowly)), advance(1.0), finish("app/slowly")) == []


def test_a_connection_that_is_broken_off_from_outside_explains_what_follows() -> None:
    async def echo(stream) -> None:
        async for data in stream:
            await stream.send_all(data)

    async def ask(stream) -> None:
        await stream.send_all(b"x")
        await stream.receive_some()
        await trio.sleep_forever()

    def make() -> Application:
        return Application("app", TCPServer(80, echo, host="127.0.0.1"), TCPClient("127.0.0.1", 80, ask))

    assert rules(make, advance(1.0), reset_connections(), visit(0), advance(5.0)) == []


def test_nobody_outside_answers_and_that_is_nobodys_mistake() -> None:
    async def ask(task_status) -> None:
        async with await trio.open_tcp_stream("db.example", 5432):
            task_status.started()

    assert rules(lambda: Application("app", TaskService(ask)), advance(5.0)) == []
