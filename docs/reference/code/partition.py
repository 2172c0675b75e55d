"""A shop that asks its bank twice a minute, and two minutes in which the way between them is cut."""

import trio
from trio.testing import MockClock

from trioservice import Application, TCPClient, TCPServer
from trioservice.testing import SimNetwork


async def answer(stream):
    async for question in stream:
        await stream.send_all(question.upper())


async def ask(stream):
    while True:
        await stream.send_all(b"how much?")
        answer = await stream.receive_some()
        print(f"{trio.current_time():7.3f} s: {answer.decode()}")
        await trio.sleep(30)


async def main():
    bank = Application("bank", TCPServer(80, answer))
    shop = Application("shop", TCPClient("bank", 80, ask))
    with SimNetwork(hosts=["bank", "shop"], seed=7, latency=(0.01, 0.09)) as network:
        async with trio.open_nursery() as nursery:
            for app in (bank, shop):
                with network.on(app.name):
                    await nursery.start(app.main)
            await trio.sleep(45)
            network.partition("bank", "shop")
            await trio.sleep(120)
            network.heal("bank", "shop")
            await trio.sleep(10)
            await shop.stop()
            await bank.stop()
        print("left open:", network.open_sockets)
    print(*network.log, sep="\n")


trio.run(main, clock=MockClock(autojump_threshold=0))
