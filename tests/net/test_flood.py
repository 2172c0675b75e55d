"""Floods: one who sends or is sent without end starves nobody, and memory stays bounded."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trioservice import TCPServer, TimerService
from trioservice.net.streams import MOST, SocketStream

from .lanes import LOST, MUCH, OURS, SMALL, Client, Echo, Recorder, lane
from .support import LIMIT, LOCAL, ask, connect, eventually, running

POLITE = 99
FAR_TOO_MUCH = 5 * MUCH  # few kernels take it all at once
GENEROUS = 2.0  # seconds for what takes a millisecond


class Flood:
    """A client on a thread of its own: it does nothing but one thing, until it is told to end."""

    def __init__(self, address: Any, act: Callable[[socket.socket], object]) -> None:
        self.count = 0
        self._sock = socket.create_connection(address)
        self._act = act
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            while self._act(self._sock):
                self.count += 1

    def end(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._sock.close()


class Sink(Recorder):
    """Takes what comes, and does not keep it."""

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"?"):
            self.transport.write(data)


class Fountain(Sink):
    """Writes without end to who asks for it, whenever it may."""

    may_write = True

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if data == b"!":
            self.flow()

    def flow(self) -> None:
        while self.may_write:
            self.transport.write(FAR_TOO_MUCH)

    def pause_writing(self) -> None:
        self.may_write = False

    def resume_writing(self) -> None:
        self.may_write = True
        self.flow()


async def sink(stream: SocketStream) -> None:
    """The same, as a handler."""
    async for data in stream:
        if data.startswith(b"?"):
            await stream.send_all(data)


async def fountain(stream: SocketStream) -> None:
    """Likewise."""
    async for data in stream:
        if data == b"!":
            while True:
                await stream.send_all(FAR_TOO_MUCH)
        await stream.send_all(data)


FLOODS: dict[str, Any] = {
    "who sends to a handler": ({"handler": sink}, lambda sock: sock.send(MUCH)),
    "who sends to a protocol": ({"protocol": Sink}, lambda sock: sock.send(MUCH)),
    "who is sent by a handler": ({"handler": fountain}, lambda sock: sock.recv(1 << 20)),
    "who is sent by a protocol": ({"protocol": Fountain}, lambda sock: sock.recv(1 << 20)),
}


@pytest.mark.parametrize("what", FLOODS)
async def test_one_flood_among_99_polite_ones_starves_neither_them_nor_a_timer_nor_a_stop(what: str) -> None:
    """All are served while it lasts, the timer keeps its time, and the stop comes through."""
    options, act = FLOODS[what]
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        ticks += 1

    worst = 0.0
    server = TCPServer(0, host=LOCAL, drain_timeout=0.1, **options)
    async with running(server, TimerService(0.01, tick)):
        clients = [await connect(server) for _ in range(POLITE)]
        flood = Flood(server.addresses[0], act)
        try:
            if "is sent" in what:
                flood._sock.send(b"!")
            await eventually(lambda: flood.count > 10)
            count, before = flood.count, ticks
            began = trio.current_time()
            for client in clients * 2:
                asked = trio.current_time()
                assert await ask(client, b"?") == b"?"
                worst = max(worst, trio.current_time() - asked)
            lasted = trio.current_time() - began
            # It flooded all the while, or this has proved nothing.
            await eventually(lambda: flood.count > count)
            assert ticks - before >= min(3, lasted / 0.01 / 10)
            stopping = trio.current_time()
            await server.stop()
            assert trio.current_time() - stopping < GENEROUS
        finally:
            await trio.to_thread.run_sync(flood.end)
            for client in clients:
                await client.aclose()
    assert worst < GENEROUS


@pytest.mark.parametrize("options", [{"protocol": Sink}, {"handler": sink}], ids=["protocol", "handler"])
async def test_between_two_reads_of_one_flood_others_have_their_turn(options: dict[str, Any]) -> None:
    """Counted in rounds of the loop, not in seconds: a few reads of it in each, however long it lasts."""
    server = TCPServer(0, host=LOCAL, drain_timeout=0.1, **options)
    most = 0
    async with running(server):
        flood = Flood(server.addresses[0], lambda sock: sock.send(MUCH))
        try:
            await eventually(lambda: flood.count > 10)
            for _ in range(500):
                before = server.statistics().bytes_received
                await trio.lowlevel.checkpoint()
                most = max(most, server.statistics().bytes_received - before)
        finally:
            await trio.to_thread.run_sync(flood.end)
    # The order within a round is random, so two of its turns may come between two of ours; in each there
    # is what an edge brings, and what it was recalled for.
    assert 0 < most <= 4 * MOST


@pytest.mark.parametrize("which", OURS)
async def test_a_peer_that_sends_for_ever_and_never_reads_costs_a_bounded_memory(which: str) -> None:
    """An echo's buffer ends at the upper limit and one read, whoever carries the bytes."""
    most = 0

    class Measured(Echo):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.set_write_buffer_limits(high=SMALL)

        def data_received(self, data: bytes) -> None:
            nonlocal most
            super().data_received(data)
            most = max(most, self.transport.get_write_buffer_size())

    async with lane(which, Measured) as served:
        client, protocol = await served.connect()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, MUCH * 20)
            received = -1
            with trio.fail_after(LIMIT):
                while protocol.transport.is_reading() or received != most:
                    received = most
                    await trio.sleep(0.05)
            assert served.server.statistics().bytes_received < 20 * len(MUCH)
            nursery.cancel_scope.cancel()
    assert 0 < most <= SMALL + 64 * 1024


# ---- anything in any order

STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["write", "writelines"]), st.integers(1, 200_000)),
        st.tuples(st.just("read"), st.integers(1, 200_000)),
        st.tuples(st.just("send"), st.integers(1, 30_000)),
        st.tuples(st.sampled_from(["pause", "resume", "rest", "limits"]), st.integers(0, 50_000)),
    ),
    max_size=20,
)
ENDS = ["close", "write_eof", "abort", "peer ends", "peer resets"]


class Writer(Recorder):
    """Begins with a word of its own, and has little room."""

    def __init__(self, word: bytes) -> None:
        super().__init__()
        self.written = bytearray(word)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        transport.write(bytes(self.written))


class Play:
    """A protocol and its peer, who do what they are told, and remember."""

    def __init__(self, client: Client, protocol: Writer, is_tls: bool) -> None:
        self.client, self.protocol, self.is_tls = client, protocol, is_tls
        self.transport = protocol.transport
        self.sent, self.received = bytearray(), bytearray()
        self._random = random.Random(7)

    async def take(self, step: str, number: int) -> None:
        """One of :data:`STEPS`."""
        if step in ("write", "writelines"):
            data = self._random.randbytes(number)
            self.protocol.written += data
            pieces = data[: number // 2], data[number // 2 :]
            getattr(self.transport, step)(data if step == "write" else pieces)
        elif step == "read":
            left = len(self.protocol.written) - len(self.received)
            self.received += await self.client.receive(min(number, left))
        elif step == "send" and not self.is_tls:
            # As much as the kernel takes: the protocol may be paused, or have no room itself.
            with suppress(BlockingIOError):
                data = self._random.randbytes(number)
                self.sent += data[: os.write(self.client.below.socket.fileno(), data)]
        elif step == "limits":
            self.transport.set_write_buffer_limits(high=number)
        elif step in ("pause", "resume"):
            getattr(self.transport, f"{step}_reading")()
        await trio.lowlevel.checkpoint()

    async def finish(self, end: str) -> None:
        """One of :data:`ENDS`; whether everything that was written was to be delivered then is judged."""
        self.transport.resume_reading()
        if self.is_tls and end in ("write_eof", "peer ends"):
            end = "close"
        if end == "peer resets":
            await self.client.reset()
        elif end == "peer ends":
            await self.client.end()
        else:
            getattr(self.transport, end)()
        if end != "peer resets":
            self.received += await self.client.receive_all()
            await self.client.below.aclose()
        await eventually(lambda: self.protocol.is_lost)
        # Bytes of the peer's that nobody read make the kernel reset the connection at a close.
        is_whole = end in ("write_eof", "peer ends") or (end == "close" and not self.sent)
        self.judge(is_whole)
        if end in ("write_eof", "peer ends"):
            assert self.heard == self.sent

    @property
    def heard(self) -> bytes:
        return b"".join(entry for entry in self.protocol.said if isinstance(entry, bytes))

    def judge(self, is_whole: bool) -> None:
        assert self.sent.startswith(self.heard)
        assert self.protocol.written.startswith(self.received)
        if is_whole:
            assert self.received == self.protocol.written
            assert self.protocol.said[-1] == LOST
        ends = [entry for entry in self.protocol.said if isinstance(entry, tuple)]
        assert ends == self.protocol.said[-1:]


@settings(max_examples=150, deadline=None)
@given(
    which=st.sampled_from(OURS),
    steps=STEPS,
    end=st.sampled_from(ENDS),
    word=st.integers(0, 300_000).map(bytes),
)
def test_every_byte_written_is_delivered_in_order_or_the_loss_is_told(
    which: str, steps: list[tuple[str, int]], end: str, word: bytes
) -> None:
    """Any interleaving of writes, pauses, reads of the peer, and every end."""

    async def play() -> None:
        async with lane(which, lambda: Writer(word)) as served:
            client, protocol = await served.connect()
            played = Play(client, protocol, which.endswith("tls"))
            for step, number in steps:
                await played.take(step, number)
            await played.finish(end)

    trio.run(play)
