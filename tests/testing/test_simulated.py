"""What cannot be simulated is named, and held against nobody."""

from __future__ import annotations

from trioservice import Application, MulticastServer, Service, StreamServer
from trioservice.integrations.asyncio import AsyncioService
from trioservice.testing.lives import live
from trioservice.testing.scripts import advance
from trioservice.testing.simulated import not_simulated


async def hear(*_) -> None: ...


def passed() -> Application:
    return Application("shop", Service(name="back"), StreamServer("systemd:web", hear, name="web"))


def test_what_somebody_passes_to_us_is_not_there() -> None:
    assert [path for path, _ in not_simulated(passed())] == ["shop/web"]
    assert live(passed, []).breaches == ()


def test_who_lives_in_another_loop_does_nothing() -> None:
    async def serve() -> None:
        raise AssertionError("it has been called")

    def foreign() -> Application:
        return Application("shop", AsyncioService(serve, name="ftp"), Service(name="desk"))

    reason = "it lives in another event loop, whose clock and sockets are real"
    assert list(not_simulated(foreign())) == [("shop/ftp", reason)]
    life = live(foreign, [advance(1)])
    assert life.breaches == ()
    assert "shop/ftp: running" in life.log


def test_there_is_no_multicast() -> None:
    app = Application("shop", MulticastServer(7010, hear, groups=["239.255.70.10"], name="seeker"))
    assert list(not_simulated(app)) == [("shop/seeker", "the simulated network has no multicast")]
