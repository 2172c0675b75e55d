"""A protocol that cannot answer at once: it orders, and cooks, who may wait, answer."""

import trio

from trioservice import Application, MultiService, TaskService, TCPServer

order, orders = trio.open_memory_channel(1000)


class Counter:
    """Takes an order, and listens to its guest again when that is served."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        order.send_nowait((data, self.transport))
        self.transport.pause_reading()


async def cook():
    async for data, transport in orders:
        await trio.sleep(0.1)  # whatever it has to wait for
        transport.write(data.upper())
        transport.resume_reading()


cooks = MultiService(*(TaskService(cook, name=f"cook-{number}") for number in (1, 2, 3)), name="cooks")
front = TCPServer(7016, protocol=Counter, host="127.0.0.1", name="front")

application = Application("kitchen", cooks, front)
