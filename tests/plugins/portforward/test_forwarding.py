"""What comes in at the near side is carried to the far side and back, each end of it at its time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from trioservice import Application, ServicesFailed, TCPServer
from trioservice.errors import CannotConnectError
from trioservice.events import Event
from trioservice.net.events import ConnectFailed
from trioservice.plugins.portforward import Forwarded, NotForwarded, PortForward
from trioservice.retry import Retry
from trioservice.testing import SimNetwork

NEAR, FAR = 8080, 80


@asynccontextmanager
async def forwarding(*services, network: SimNetwork | None = None, **options) -> AsyncIterator[list[Event]]:
    """A port forward that is ready, behind *services*; what is heard of it."""
    heard: list[Event] = []
    forward = PortForward(f"tcp:{NEAR}:interface=127.0.0.1", f"tcp:127.0.0.1:{FAR}", **options)
    app = Application("app", *services, forward, handle_signals=False)
    app.subscribe(heard.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        yield heard
        await app.stop()


def of(kind: type, heard: list[Event]) -> list:
    return [event for event in heard if isinstance(event, kind)]


async def echo(stream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def shout(stream) -> None:
    """Answer all at once, when the whole question has come."""
    question = b"".join([data async for data in stream])
    await stream.send_all(question.upper())


def far(handler=echo) -> TCPServer:
    return TCPServer(FAR, handler, host="127.0.0.1", name="back")


async def ask(question: bytes) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", NEAR) as stream, trio.open_nursery() as nursery:

        async def say() -> None:
            await stream.send_all(question)
            await stream.send_eof()

        nursery.start_soon(say)
        return b"".join([data async for data in stream])


async def test_the_near_side_listens_only_when_the_far_side_has_answered(autojump_clock) -> None:
    with SimNetwork() as network:
        heard: list[Event] = []
        app = Application("app", PortForward(f"tcp:{NEAR}", f"tcp:127.0.0.1:{FAR}"), handle_signals=False)
        app.subscribe(heard.append)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.main)
            await trio.sleep(10)
            assert network.open_sockets == ["localhost:8080"]  # bound, and taking nobody yet
            assert not app["PortForward"].near.running
            assert len(of(ConnectFailed, heard)) >= 3
            back = Application("back", far(), handle_signals=False)
            await nursery.start(back.main)
            await app.wait_running()
            assert await ask(b"hello") == b"hello"
            await app.stop()
            await back.stop()


async def test_a_half_close_is_carried_on_and_leaves_the_answer_its_way(autojump_clock) -> None:
    with SimNetwork():
        async with forwarding(far(shout)) as heard:
            assert await ask(b"hello") == b"HELLO"
        (told,) = of(Forwarded, heard)
        assert (told.there, told.back) == (5, 5)
        assert "5 bytes there, 5 bytes back" in str(told)


async def test_bytes_and_connections_are_counted(autojump_clock) -> None:
    with SimNetwork():
        forward = PortForward(f"tcp:{NEAR}", f"tcp:127.0.0.1:{FAR}", name="f")
        async with trio.open_nursery() as nursery:
            app = Application("app", far(), forward, handle_signals=False)
            await nursery.start(app.main)
            await ask(b"x" * 100)
            await ask(b"x" * 10)
            counted = forward.statistics()
            assert (counted.accepted, counted.bytes_received, counted.bytes_sent) == (2, 110, 110)
            await app.stop()


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=3000), max_size=6),
    seed=st.integers(0, 99),
    segment=st.sampled_from([1, 7, 1000, 65536]),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_whatever_is_said_arrives_and_comes_back(pieces, seed: int, segment: int) -> None:
    async def main() -> bytes:
        with SimNetwork(seed=seed, latency=(0.001, 0.2), loss=0.1, segment=segment):
            async with forwarding(far()):
                return await ask(b"".join(pieces))

    clock = trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(main, clock=clock) == b"".join(pieces)


async def test_who_reads_slowly_slows_down_who_sends(autojump_clock) -> None:
    async def lazy(stream) -> None:
        await trio.sleep_forever()

    with SimNetwork() as network:
        network.host("localhost").buffer = 1000
        async with forwarding(far(lazy)):
            sent = 0
            async with await trio.open_tcp_stream("127.0.0.1", NEAR) as stream:
                with trio.move_on_after(60):
                    while True:
                        await stream.send_all(b"x" * 100)
                        sent += 100
            assert sent < 20_000


async def test_a_far_side_that_has_gone_costs_its_client_the_connection_and_no_more(autojump_clock) -> None:
    with SimNetwork():
        back = far()
        async with forwarding(back) as heard:
            assert await ask(b"one") == b"one"
            await back.stop()
            with pytest.raises(BaseExceptionGroup) as caught:
                await ask(b"two")
            assert caught.group_contains(trio.BrokenResourceError)  # not an answer without a word in it
            await back.start()
            assert await ask(b"three") == b"three"
        (told,) = of(NotForwarded, heard)
        assert "cannot forward 127.0.0.1:" in str(told)
        assert told.level > 20


async def test_what_was_begun_is_carried_through_when_it_is_stopped(autojump_clock) -> None:
    async def slow(stream) -> None:
        question = await stream.receive_some()
        await trio.sleep(2)
        await stream.send_all(question)

    answers: list[bytes] = []

    async def ask_and_keep() -> None:
        answers.append(await ask(b"hello"))

    with SimNetwork():
        async with trio.open_nursery() as nursery, forwarding(far(slow)):
            nursery.start_soon(ask_and_keep)
            await trio.sleep(1)
    assert answers == [b"hello"]


async def test_who_has_knocked_often_enough_gives_up_and_says_where(autojump_clock) -> None:
    with SimNetwork(), pytest.raises(ServicesFailed) as caught:
        forward = PortForward(f"tcp:{NEAR}", f"tcp:127.0.0.1:{FAR}", retry=Retry(limit=2))
        await Application("app", forward, handle_signals=False).main()
    (error,) = caught.value.exceptions
    assert isinstance(error, CannotConnectError)
    assert "in service app/PortForward/far" in error.__notes__
