"""What the deeds of a script do to an application, each seen in what is told of its life."""

from __future__ import annotations

import pytest

from trioservice import Application, MultiService, Service, TCPServer
from trioservice.errors import UnknownServiceError
from trioservice.testing import live
from trioservice.testing.scripts import (
    Deed,
    advance,
    again,
    cancel,
    fail_to_stop,
    no_descriptors,
    put_back,
    remove,
    reset_connections,
    restart,
    shutdown,
    signal,
    slow_network,
    slow_start,
    slow_stop,
    start,
    stay,
    stop,
    stop_at_once,
    visit,
)


async def echo(stream) -> None:
    async for data in stream:
        await stream.send_all(data)


def shop() -> Application:
    return Application(
        "shop",
        MultiService(Service(name="stock"), Service(name="books"), name="back"),
        TCPServer(7002, echo, host="127.0.0.1", name="front"),
    )


def log_of(*script: Deed) -> str:
    life = live(shop, [advance(1.0), *script, advance(1.0)])
    life.check()
    return life.log


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        (shutdown(), "shop: stopping: stop() was called"),
        (signal(), "shop: stopping: SIGTERM"),
        (cancel(), "shop: stopping: main was cancelled"),
        (again(), "shop: asked: again()"),
        (stop("shop/back/stock"), "shop/back/stock: stopping: stop() was called"),
        (stop_at_once("shop/back"), "shop/back: stopping: stop() was called"),
        (remove("shop/back/stock"), "shop/back/stock: removed"),
        (fail_to_stop("shop/back/books"), "InjectedFault while stopping"),
        (stay("shop/back/books"), "shop/back/books: still not stopped 5.0 s after it was cancelled"),
        (visit(0), "network: tcp localhost:49152 > localhost:7002 18 bytes"),
    ],
)
def test_a_deed_is_told_and_done(deed: Deed, words: str) -> None:
    log = log_of(deed)
    assert f"asked: {deed}" in log
    assert words in log


def test_what_was_stopped_can_be_started() -> None:
    log = log_of(stop("shop/back/stock"), advance(1.0), start("shop/back/stock"))
    assert log.count("shop/back/stock: running") == 2


def test_a_slow_start_is_that_of_the_next_start() -> None:
    log = log_of(slow_start("shop/back/stock", 3.0), restart("shop/back/stock"), advance(4.0))
    assert "shop/back/stock: running, after 3.0 s" in log


def test_what_was_removed_stands_last_when_it_is_put_back() -> None:
    log = log_of(remove("shop/back/stock"), advance(1.0), put_back("shop/back/stock"), advance(1.0))
    ends = [line for line in log.splitlines() if line.endswith(": stopping")]
    assert [line.split()[1] for line in ends[-2:]] == ["shop/back/stock:", "shop/back/books:"]


def test_a_parent_that_stops_takes_nobody_back() -> None:
    script = [remove("shop/back/stock"), slow_stop("shop/back/books", 3.0), advance(1.0), shutdown()]
    assert log_of(*script, advance(1.0), put_back("shop/back/stock")).count("shop/back/stock: running") == 1


def test_nothing_is_done_to_who_is_not_there_any_more() -> None:
    log = log_of(remove("shop/front"), advance(1.0), stop("shop/front"), remove("shop"), put_back("shop"))
    assert log.count("asked") == 1


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("shop/back/stok", r"stop\('shop/back/stok'\): there is no service .* mean 'shop/back/stock'\?"),
        ("nobody", "there is no service 'nobody'; there are 'shop', 'shop/back', 'shop/back/books'"),
    ],
)
def test_a_path_that_is_misspelt_is_refused(path: str, words: str) -> None:
    with pytest.raises(UnknownServiceError, match=words):
        live(shop, [stop(path)])


def test_the_network_fails_as_it_is_told() -> None:
    log = log_of(visit(0, "stay"), advance(1.0), reset_connections(), advance(1.0), visit(0))
    assert "reset" in log
    slow = log_of(slow_network(0.5), visit(0), advance(5.0))
    assert "0.500" in slow or "1.500" in slow
    full = log_of(no_descriptors(3.0), visit(0), advance(1.0))
    assert "localhost:49152" not in full


def test_a_second_life_follows_the_first() -> None:
    log = log_of(again(), advance(1.0), again())
    assert log.count("shop: main() returns") == 3


def test_an_unknown_deed_names_those_that_are_known() -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        live(shop, [Deed("dance")])
    told = caught.value.exceptions[0]
    assert isinstance(told, ValueError)
    assert "there is no deed 'dance'; there are advance, shutdown" in str(told)
