"""Letters get through, although the way to the post office is cut, and the connection reset."""

import contextlib

import trio
from trio.testing import MockClock

from trioservice import Application, TCPClient, TCPServer
from trioservice.testing import SimNetwork, running


async def carry(stream):
    while True:
        await stream.send_all(b"letter\n")
        await trio.sleep(10)


async def main():
    arrived = []

    async def receive(stream):
        async for data in stream:
            arrived.extend([trio.current_time()] * data.count(b"\n"))

    post = Application("post", TCPServer(80, receive))
    office = Application("office", TCPClient("post", 80, carry))
    async with contextlib.AsyncExitStack() as stack:
        network = stack.enter_context(SimNetwork(hosts=["post", "office"], seed=1))
        for app in (post, office):
            with network.on(app.name):
                await stack.enter_async_context(running(app))

        await trio.sleep(25)
        assert len(arrived) == 3

        network.partition("office", "post")
        await trio.sleep(60)
        assert len(arrived) == 3

        network.heal("office", "post")
        await trio.sleep(60)
        assert len(arrived) == 15

        network.reset("office", "post")
        await trio.sleep(60)
        assert arrived[-1] > trio.current_time() - 11


def test_letters_get_through():
    trio.run(main, clock=MockClock(autojump_threshold=0))
