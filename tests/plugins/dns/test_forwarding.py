"""Answers by asking others: once for all who wait, remembered, and from whoever answers."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from net.support import eventually, running
from trio.testing import MockClock

from trioservice import ServiceStateError
from trioservice.plugins.dns.answers import Answer, made
from trioservice.plugins.dns.codes import SERVFAIL
from trioservice.plugins.dns.events import UpstreamFailed, UpstreamRecovered
from trioservice.plugins.dns.forwarding import ForwardResolver
from trioservice.plugins.dns.names import from_text
from trioservice.plugins.dns.questions import Question
from trioservice.plugins.dns.records import ASKED, encode
from trioservice.plugins.dns.upstreams import NoAnswerError, Upstream

FOUND = made(encode(ASKED, 1, 30, [b"\xc0\0\2\1"]), authoritative=False)._replace(lifetime=30, ttls=(6,))


def asked(name: str) -> Question:
    return Question(from_text(name), 1)


class World:
    """The servers out there: what each says, and who was asked what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.says: dict[str, Any] = {}
        self.asked: list[tuple[str, Question]] = []
        self.at_work = self.most = 0
        self.go = trio.Event()
        self.go.set()
        monkeypatch.setattr(Upstream, "ask", lambda upstream, *args: self.ask(upstream, *args))

    async def ask(self, upstream: Upstream, question: Question, patience: float) -> Answer:
        self.asked.append((upstream.host, question))
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            await self.go.wait()
            await trio.lowlevel.checkpoint()
        finally:
            self.at_work -= 1
        says = self.says.get(upstream.host, FOUND)
        if isinstance(says, Exception):
            raise says
        assert isinstance(says, Answer)
        return says

    @property
    def hosts(self) -> list[str]:
        return [host for host, _ in self.asked]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_an_answer_is_remembered_and_grows_older(world: World, autojump_clock: MockClock) -> None:
    resolver = ForwardResolver("10.0.0.1")
    async with running(resolver):
        assert resolver.known(asked("a.test")) is None
        assert await resolver.find(asked("a.test")) == FOUND
        await trio.sleep(10)
        known = resolver.known(asked("a.test"))
        assert known is not None
        assert known.body[6:10] == b"\0\0\0\x14"
        await trio.sleep(20)
        assert resolver.known(asked("a.test")) is None
    assert world.hosts == ["10.0.0.1"]


async def test_one_is_asked_for_all_who_wait(world: World, autojump_clock: MockClock) -> None:
    resolver = ForwardResolver("10.0.0.1")
    world.go = trio.Event()
    answers: list[Answer] = []

    async def want() -> None:
        answers.append(await resolver.find(asked("a.test")))

    async with running(resolver), trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(want)
        await eventually(lambda: world.asked)
        world.go.set()
    assert answers == [FOUND] * 10
    assert len(world.asked) == 1


async def test_the_answer_is_remembered_though_whoever_asked_has_gone(
    world: World, autojump_clock: MockClock
) -> None:
    resolver = ForwardResolver("10.0.0.1")
    world.go = trio.Event()
    async with running(resolver):
        with trio.move_on_after(1):
            await resolver.find(asked("a.test"))
        world.go.set()
        await eventually(lambda: resolver.known(asked("a.test")))


async def test_so_many_are_asked_at_once_and_no_more(world: World, autojump_clock: MockClock) -> None:
    resolver = ForwardResolver("10.0.0.1", max_asked=3)
    async with running(resolver), trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(resolver.find, asked(f"n{number}.test"))
    assert len(world.asked) == 20
    assert world.most == 3


async def test_the_next_is_asked_when_one_fails_and_who_failed_is_asked_last(
    world: World, autojump_clock: MockClock
) -> None:
    world.says["10.0.0.1"] = NoAnswerError("no answer within 2 s")
    resolver = ForwardResolver("10.0.0.1", "10.0.0.2")
    async with running(resolver) as (_, events):
        assert await resolver.find(asked("a.test")) == FOUND
        assert world.hosts == ["10.0.0.1", "10.0.0.2"]
        assert await resolver.find(asked("b.test")) == FOUND
        assert world.hosts[2:] == ["10.0.0.2"]
        (event,) = events.of(UpstreamFailed)
        assert str(event) == "10.0.0.1:53 is asked last for a while: no answer within 2 s"
        assert event.level == 30

        world.says.clear()
        await trio.sleep(10)
        assert await resolver.find(asked("c.test")) == FOUND
        assert world.hosts[3:] == ["10.0.0.1"]
        (recovered,) = events.of(UpstreamRecovered)
        assert str(recovered) == "10.0.0.1:53 answers again"


async def test_each_is_tried_so_often_and_then_it_is_a_failure_for_some_seconds(
    world: World, autojump_clock: MockClock
) -> None:
    """RFC 9520: a failure that is forgotten at once is asked for again at once."""
    world.says = {"10.0.0.1": NoAnswerError("nothing"), "10.0.0.2": NoAnswerError("nothing")}
    resolver = ForwardResolver("10.0.0.1", "10.0.0.2", attempts=3)
    async with running(resolver) as (_, events):
        assert (await resolver.find(asked("a.test"))).code == SERVFAIL
        assert sorted(world.hosts) == ["10.0.0.1"] * 3 + ["10.0.0.2"] * 3
        assert len(events.of(UpstreamFailed)) == 2
        known = resolver.known(asked("a.test"))
        assert known is not None
        assert known.code == SERVFAIL
        await trio.sleep(5)
        assert resolver.known(asked("a.test")) is None


async def test_who_does_not_run_cannot_ask() -> None:
    with pytest.raises(ServiceStateError, match="does not run, so it cannot ask"):
        await ForwardResolver("10.0.0.1").find(asked("a.test"))


@pytest.mark.parametrize(
    ("upstreams", "options", "reason"),
    [
        ((), {}, "nobody to forward to"),
        (("dns.example",), {}, "does not appear to be"),
        (("10.0.0.1",), {"timeout": 0}, "timeout is a number of seconds"),
        (("10.0.0.1",), {"attempts": 0}, "attempts is a number from 1"),
        (("10.0.0.1",), {"max_asked": 0}, "max_asked is a number from 1"),
        (("10.0.0.1",), {"cache_size": 0}, "cache_size is a number from 1"),
    ],
)
def test_what_cannot_be_is_refused(upstreams: tuple[str, ...], options: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ForwardResolver(*upstreams, **options)  # type: ignore[arg-type]
