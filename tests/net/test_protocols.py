"""What protocols see: the same from asyncio's own server and from ours, whatever carries the bytes.

Where ours is different on purpose, a test at the end says so by its name.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio

from trioservice.net.events import ConnectionFailed

from .lanes import LOST, MUCH, OURS, PLAIN, SMALL, THEIRS, Echo, Recorder, lane
from .support import LIMIT, eventually

pytestmark = pytest.mark.filterwarnings("ignore:returning true from eof_received")

everywhere = pytest.mark.parametrize("which", THEIRS + OURS)
wherever_halves_end = pytest.mark.parametrize("which", THEIRS + PLAIN)
ours_only = pytest.mark.parametrize("which", OURS)


class Tight(Recorder):
    """A recorder whose connection has little room, and so has its transport."""

    def connection_made(self, transport: Any) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        transport.set_write_buffer_limits(high=1000, low=100)
        super().connection_made(transport)


# ---- from the beginning to the end


@everywhere
async def test_a_connection_is_made_and_its_data_come_and_it_is_lost(which: str) -> None:
    """The peer says something and closes: made, data, eof, lost with None; and nothing after that."""
    async with lane(which) as served:
        client, protocol = await served.connect()
        await client.send(b"hello")
        await eventually(lambda: len(protocol.said) == 2)
        await client.stream.aclose()
        await eventually(lambda: protocol.is_lost)
    assert protocol.said == ["made", b"hello", "eof", LOST]


@everywhere
async def test_data_and_the_end_in_one_instant_are_both_received(which: str) -> None:
    """The last bytes and the end come together, many times over, and neither gets lost."""
    async with lane(which) as served:
        for _ in range(20):
            client, protocol = await served.connect()
            await client.send(b"last words")
            await client.stream.aclose()
            await eventually(lambda protocol=protocol: protocol.is_lost)
            assert protocol.said == ["made", b"last words", "eof", LOST]


@everywhere
async def test_data_and_the_end_that_come_while_it_is_paused_wait_for_it(which: str) -> None:
    """A pause that began in connection_made holds back everything, the end included."""

    class Paused(Recorder):
        def connection_made(self, transport: Any) -> None:
            transport.pause_reading()
            super().connection_made(transport)

    async with lane(which, Paused) as served:
        client, protocol = await served.connect()
        await client.send(b"hello")
        await client.stream.aclose()
        await trio.sleep(0.03)
        assert protocol.said == ["made"]
        assert not await served.call(protocol.transport.is_reading)
        await served.call(protocol.transport.resume_reading)
        await eventually(lambda: protocol.is_lost)
    assert protocol.said == ["made", b"hello", "eof", LOST]


@everywhere
async def test_a_pause_that_nobody_expected_holds_at_once(which: str) -> None:
    """pause_reading by a timer, while nothing happens: what comes next is held back."""
    async with lane(which) as served:
        client, protocol = await served.connect()
        for word in (b"one", b"two"):
            await trio.sleep(0.02)
            await served.call(protocol.transport.pause_reading)
            before = list(protocol.said)
            await client.send(word)
            await trio.sleep(0.03)
            assert protocol.said == before
            await served.call(protocol.transport.resume_reading)
            await eventually(lambda word=word: protocol.said[-1][-3:] == word)
        await client.stream.aclose()
        await eventually(lambda: protocol.is_lost)
    assert protocol.said == ["made", b"onetwo", "eof", LOST]


@everywhere
async def test_a_pause_within_data_received_lets_the_rest_wait(which: str) -> None:
    """After it, not one byte more is received until it reads again; then all of them."""

    class OneAtATime(Recorder):
        total = b""
        is_paused = False

        def data_received(self, data: bytes) -> None:
            assert not self.is_paused  # or it is lost for that
            self.is_paused = True
            self.transport.pause_reading()
            self.total += data

        def go_on(self) -> None:
            if self.is_paused:
                self.is_paused = False
                self.transport.resume_reading()

    async with lane(which, OneAtATime) as served:
        client, protocol = await served.connect()
        with trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, MUCH)
                while len(protocol.total) < len(MUCH):
                    await served.call(protocol.go_on)
                    await trio.lowlevel.checkpoint()
        assert protocol.total == MUCH


# ---- writing


@everywhere
async def test_what_has_no_room_is_sent_when_there_is_some_and_the_protocol_is_told(which: str) -> None:
    """A peer that reads slowly: pause_writing once, every byte in order, resume_writing once."""
    async with lane(which, Tight) as served:
        client, protocol = await served.connect()
        assert await served.call(protocol.transport.get_write_buffer_limits) == (100, 1000)
        await served.call(protocol.transport.write, MUCH)
        assert protocol.said == ["made", "pause"]
        assert await served.call(protocol.transport.get_write_buffer_size) > 1000
        for position in range(0, len(MUCH), 100_000):
            piece = MUCH[position : position + 100_000]
            assert await client.receive(len(piece)) == piece
        await eventually(lambda: protocol.said == ["made", "pause", "resume"])
        assert await served.call(protocol.transport.get_write_buffer_size) == 0
        await client.stream.aclose()
        await eventually(lambda: protocol.is_lost)
    assert protocol.said == ["made", "pause", "resume", "eof", LOST]


@everywhere
async def test_everything_made_of_bytes_can_be_written_and_nothing_is_nothing(which: str) -> None:
    """bytes, bytearray, memoryview, several at once, and empty ones; in their order."""
    async with lane(which) as served:
        client, protocol = await served.connect()

        def write() -> None:
            data = bytearray(b"two ")
            protocol.transport.write(b"one ")
            protocol.transport.write(data)
            data[:] = b"lie "  # what was written is written
            protocol.transport.write(b"")
            protocol.transport.write(memoryview(b"-three -")[1:7])
            protocol.transport.writelines([b"four ", b"", bytearray(b"five")])
            protocol.transport.writelines([])

        await served.call(write)
        assert await client.receive(23) == b"one two three four five"
        await client.stream.aclose()


@everywhere
async def test_what_is_not_made_of_bytes_is_refused_and_harms_nothing(which: str) -> None:
    """A str raises TypeError at once; the connection goes on."""
    async with lane(which, Echo) as served:
        client, protocol = await served.connect()
        for wrong in ("text", 7, None):
            with pytest.raises(TypeError):
                await served.call(protocol.transport.write, wrong)
        await client.send(b"hello")
        assert await client.receive(5) == b"hello"
        await client.stream.aclose()


@everywhere
async def test_limits_that_cannot_be_are_refused(which: str) -> None:
    """And those that are left out follow from the others."""
    async with lane(which) as served:
        client, protocol = await served.connect()
        set_limits = protocol.transport.set_write_buffer_limits
        for high, low in ((1, 2), (1, -1)):
            with pytest.raises(ValueError, match="must be"):
                await served.call(set_limits, high, low)
        for given, limits in {
            (None, None): (16384, 65536),
            (1000, None): (250, 1000),
            (None, 10): (10, 40),
            (0, None): (0, 0),
        }.items():
            await served.call(set_limits, *given)
            assert await served.call(protocol.transport.get_write_buffer_limits) == limits
        await client.stream.aclose()


# ---- half closes


@wherever_halves_end
@pytest.mark.parametrize("answer", [None, False])
async def test_a_protocol_that_does_not_keep_it_open_is_closed_at_the_end(which: str, answer: Any) -> None:
    """eof_received returns nothing, or false: what was written is sent, and that was it."""

    class Polite(Recorder):
        def eof_received(self) -> Any:
            super().eof_received()
            self.transport.write(MUCH)
            return answer

    async with lane(which, Polite) as served:
        client, protocol = await served.connect()
        await client.send(b"hello")
        await client.end()
        assert await client.receive_all() == MUCH
        await eventually(lambda: protocol.is_lost)
        await client.stream.aclose()
    said = [entry for entry in protocol.said if entry not in ("pause", "resume")]
    assert said == ["made", b"hello", "eof", LOST]


@wherever_halves_end
async def test_a_protocol_that_keeps_it_open_can_write_after_the_end(which: str) -> None:
    """eof_received returns true: our half stays open until we close it."""

    class Talkative(Recorder):
        def eof_received(self) -> bool:
            super().eof_received()
            return True

    async with lane(which, Talkative) as served:
        client, protocol = await served.connect()
        await client.end()
        await eventually(lambda: "eof" in protocol.said)
        await trio.sleep(0.02)
        assert not await served.call(protocol.transport.is_closing)
        await served.call(protocol.transport.write, b"one more thing")
        assert await client.receive(14) == b"one more thing"
        await served.call(protocol.transport.close)
        assert await client.receive_all() == b""
        await eventually(lambda: protocol.is_lost)
        await client.stream.aclose()
    assert protocol.said == ["made", "eof", LOST]


@wherever_halves_end
async def test_our_end_follows_all_that_was_written_and_the_peer_may_go_on(which: str) -> None:
    """write_eof: the peer reads everything and the end; what it says then is still received."""
    async with lane(which, Tight) as served:
        client, protocol = await served.connect()
        assert await served.call(protocol.transport.can_write_eof)

        def write() -> None:
            protocol.transport.write(MUCH)
            protocol.transport.write_eof()
            protocol.transport.write_eof()  # once more is no harm

        await served.call(write)
        assert await client.receive_all() == MUCH
        await client.send(b"thanks")
        await eventually(lambda: protocol.said[-1] == b"thanks")
        for data in (b"too late", b""):
            with pytest.raises(RuntimeError, match=r"write.*after"):
                await served.call(protocol.transport.write, data)
        await client.stream.aclose()
        await eventually(lambda: protocol.is_lost)
    assert protocol.said == ["made", "pause", "resume", b"thanks", "eof", LOST]


# ---- closing


@everywhere
async def test_a_close_sends_first_what_was_written(which: str) -> None:
    """Nothing is received any more, nothing written gets lost, and it is lost with None."""
    async with lane(which, Tight) as served:
        client, protocol = await served.connect()

        def write() -> None:
            protocol.transport.write(MUCH)
            protocol.transport.close()
            protocol.transport.close()

        await served.call(write)
        assert await served.call(protocol.transport.is_closing)
        assert not protocol.is_lost
        await trio.sleep(0.01)
        assert await client.receive_all() == MUCH
        await eventually(lambda: protocol.is_lost)
    assert protocol.said == ["made", "pause", "resume", LOST]


@everywhere
@pytest.mark.parametrize("data", [b"", b"the time of day", 5 * MUCH], ids=["nothing", "little", "much"])
async def test_a_protocol_may_say_all_and_close_in_connection_made(which: str, data: bytes) -> None:
    """A server of the time of day, be the day ever so long."""

    class Daytime(Recorder):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.write(data)
            transport.close()

    async with lane(which, Daytime) as served:
        client, protocol = await served.connect()
        assert await client.receive_all() == data
        await eventually(lambda: protocol.is_lost)
        await client.below.aclose()
    assert protocol.said[-1] == LOST


@everywhere
async def test_an_abort_closes_at_once_and_what_was_written_is_lost(which: str) -> None:
    """The buffer is thrown away; connection_lost gets None, since it was meant."""
    async with lane(which, Tight) as served:
        client, protocol = await served.connect()

        def write() -> None:
            protocol.transport.write(MUCH)
            protocol.transport.abort()
            assert protocol.transport.is_closing()
            assert protocol.transport.get_write_buffer_size() == 0

        await served.call(write)
        await eventually(lambda: protocol.is_lost)
        assert len(await client.receive_all()) < len(MUCH)
        await client.below.aclose()
    assert protocol.said == ["made", "pause", LOST]


@everywhere
async def test_what_is_done_with_a_lost_connection_does_nothing(which: str) -> None:
    """Late timers call every method, and none raises, sends, or calls back."""
    async with lane(which) as served:
        client, protocol = await served.connect()
        await served.call(protocol.transport.close)
        await eventually(lambda: protocol.is_lost)

        def touch() -> None:
            transport = protocol.transport
            transport.write(b"late")
            if which in OURS:  # asyncio of Python 3.13 raises TypeError
                transport.writelines([b"late"])
            transport.pause_reading()
            transport.resume_reading()
            transport.close()
            transport.abort()
            assert transport.is_closing()
            assert not transport.is_reading()
            assert transport.get_write_buffer_size() == 0
            assert repr(transport)

        await served.call(touch)
        assert await client.receive_all() == b""
        await client.below.aclose()
        await trio.sleep(0.01)
    assert protocol.said == ["made", LOST]


@everywhere
async def test_an_abort_by_another_connections_protocol_is_safe(which: str) -> None:
    """One protocol may end another, in the middle of a callback, and both are told once."""
    async with lane(which) as served:
        (one, first), (two, second) = await served.connect(), await served.connect()
        first.data_received = lambda _: second.transport.abort()
        await two.send(b"go")
        await one.send(b"go")
        await eventually(lambda: second.is_lost)
        await one.stream.aclose()
        await eventually(lambda: first.is_lost)
        await two.below.aclose()
    assert first.said == ["made", "eof", LOST]
    assert [entry for entry in second.said if entry != b"go"] == ["made", LOST]


# ---- what breaks


@pytest.mark.parametrize("which", [which for which in THEIRS + OURS if not which.endswith("unix")])
async def test_a_reset_is_told_as_what_it_was(which: str) -> None:
    """A peer that breaks off: no eof, and connection_lost gets the system's error.

    A UNIX socket is reset only with bytes unread.
    """
    async with lane(which) as served:
        client, protocol = await served.connect()
        await client.reset()
        await eventually(lambda: protocol.is_lost)
    assert protocol.said == ["made", ("lost", ConnectionResetError)]


@everywhere
async def test_a_peer_that_goes_while_there_is_something_to_send_is_told_as_a_loss(which: str) -> None:
    """The bytes are lost, and connection_lost says so by an error."""
    async with lane(which, Tight) as served:
        client, protocol = await served.connect()
        await served.call(protocol.transport.pause_reading)
        await served.call(protocol.transport.write, MUCH)
        await client.reset()
        await eventually(lambda: protocol.is_lost)
    _, error = protocol.said[-1]
    assert issubclass(error, ConnectionError)
    assert protocol.said.count("eof") == 0


@pytest.mark.parametrize(
    ("which", "callback"),
    [
        (which, callback)
        for which in THEIRS + OURS
        for callback in ("data_received", "eof_received")
        if not (callback == "eof_received" and which.endswith("tls"))  # which has no halves to close
    ],
)
async def test_a_protocol_that_raises_loses_its_connection_for_that(which: str, callback: str) -> None:
    """What data_received or eof_received raises is what connection_lost gets."""

    def bug(*_: object) -> None:
        raise LookupError("a bug")

    async with lane(which) as served:
        client, protocol = await served.connect()
        setattr(protocol, callback, bug)
        await client.send(b"x")
        if callback == "eof_received":
            await client.end()
        await eventually(lambda: protocol.is_lost)
        await client.below.aclose()
    assert protocol.said[-1] == ("lost", LookupError)


# ---- what is known


@everywhere
async def test_a_transport_knows_its_ends_and_its_socket(which: str) -> None:
    """get_extra_info, and its default for what it does not know."""
    async with lane(which) as served:
        client, protocol = await served.connect()

        def know() -> dict[str, Any]:
            ask = protocol.transport.get_extra_info
            return {
                "peername": ask("peername"),
                "sockname": ask("sockname"),
                "family": ask("socket").family,
                "other": (ask("favourite colour"), ask("favourite colour", "blue")),
                "plain": (ask("cipher", 0), ask("peercert", 0)),
                "protocol": protocol.transport.get_protocol(),
            }

        known = await served.call(know)
        assert known["other"] == (None, "blue")
        assert known["protocol"] is protocol
        if served.kind == "unix":
            assert known["family"] == socket.AF_UNIX
            assert str(known["sockname"]) == str(served.path)
        else:
            assert known["peername"] == client.below.socket.getsockname()
            assert known["sockname"] == served.address
        if served.kind == "tls":
            ssl_object = protocol.transport.get_extra_info("ssl_object")
            assert (ssl_object.version(), known["plain"][0]) == ("TLSv1.3", client.stream.cipher())
        else:
            assert known["plain"] == (0, 0)
        await client.stream.aclose()


@everywhere
async def test_another_protocol_can_go_on(which: str) -> None:
    """set_protocol: later callbacks are the other one's."""
    second = Recorder()

    class First(Recorder):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.transport.set_protocol(second)

    async with lane(which, First) as served:
        client, protocol = await served.connect()
        await client.send(b"upgrade")
        await eventually(lambda: len(protocol.said) == 2)
        await client.send(b"more")
        await eventually(lambda: second.said)
        protocol.said.append(("gone", None))  # which is what closing the lane looks at
        await client.stream.aclose()
        await eventually(lambda: second.is_lost)
    assert protocol.said[:2] == ["made", b"upgrade"]
    assert second.said == [b"more", "eof", LOST]


# ---- where ours differs


@ours_only
async def test_unlike_asyncio_a_peer_that_does_not_read_is_not_read_from(which: str) -> None:
    """An echo that knows nothing of pause_writing: its buffer stays bounded, and nothing is lost."""
    size = 20 * len(MUCH)
    most = 0

    class Measured(Echo):
        def data_received(self, data: bytes) -> None:
            nonlocal most
            super().data_received(data)
            most = max(most, self.transport.get_write_buffer_size())

    async with lane(which, Measured) as served:
        client, protocol = await served.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, MUCH * 20)
            await eventually(lambda: "pause" in protocol.said)
            await trio.sleep(0.05)
            assert not protocol.transport.is_reading()
            received = served.server.statistics().bytes_received
            await trio.sleep(0.05)
            assert served.server.statistics().bytes_received == received < size
            assert await client.receive(size) == MUCH * 20
        assert most <= 64 * 1024 + 64 * 1024  # the upper limit, and one read
        await client.stream.aclose()


@ours_only
@pytest.mark.parametrize("callback", ["connection_made", "pause_writing", "resume_writing"])
async def test_unlike_asyncio_every_callback_that_raises_ends_its_connection(
    which: str, callback: str
) -> None:
    """asyncio logs it and goes on with a protocol in a state that nobody knows."""

    class Buggy(Tight):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if callback == "connection_made":
                raise LookupError("a bug")
            transport.write(MUCH)

        def pause_writing(self) -> None:
            super().pause_writing()
            if callback == "pause_writing":
                raise LookupError("a bug")

        def resume_writing(self) -> None:
            super().resume_writing()
            raise LookupError("a bug")

    async with lane(which, Buggy) as served:
        client, protocol = await served.connect()
        await client.receive_all()
        await client.below.aclose()
        await eventually(lambda: served.events.of(ConnectionFailed))
        (failure,) = served.events.of(ConnectionFailed)  # L16
        assert isinstance(failure.error, LookupError)
        assert served.server.statistics().failed == 1
    assert protocol.said[-1] == ("lost", LookupError)


@ours_only
async def test_unlike_asyncio_nothing_can_be_written_after_a_close(which: str) -> None:
    """asyncio takes more until the buffer is empty, so what is sent depends on how fast the peer reads."""
    async with lane(which, Tight) as served:
        client, protocol = await served.connect()
        protocol.transport.write(MUCH)
        protocol.transport.close()
        protocol.transport.write(b"late")
        assert await client.receive_all() == MUCH
        await client.below.aclose()


@pytest.mark.parametrize("which", ["fast tls"])
async def test_tls_has_no_halves_to_close(which: str) -> None:
    """can_write_eof says so, and write_eof too."""
    async with lane(which) as served:
        client, protocol = await served.connect()
        assert not protocol.transport.can_write_eof()
        with pytest.raises(NotImplementedError):
            protocol.transport.write_eof()
        await client.stream.aclose()


@ours_only
async def test_a_protocol_needs_no_callback_but_data_received(which: str) -> None:
    """Those that are missing are not missed."""

    class Sink:
        said = ("made",)

        def data_received(self, data: bytes) -> None:
            pass

    async with lane(which, Sink) as served:  # type: ignore[arg-type]
        client, _ = await served.connect()
        await client.send(MUCH)
        await client.stream.aclose()
        await eventually(lambda: served.server.statistics().active == 0)
        assert served.events.of(ConnectionFailed) == []
        assert served.server.statistics().bytes_received >= len(MUCH)
