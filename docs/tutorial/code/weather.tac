"""A tree: two thermometers, and a front that needs them both."""

import random

import trio

from trioservice import Application, MultiService, Service, TCPServer


class Thermometer(Service):
    async def run(self, task_status):
        self.celsius = await measure()
        task_status.started()
        while True:
            await trio.sleep(1)
            self.celsius = await measure()


async def measure():
    await trio.sleep(0.5)  # stands in for a slow sensor
    return 20 + random.random()


async def answer(stream):
    await stream.send_all(f"{indoors.celsius:.1f} indoors, {outdoors.celsius:.1f} outdoors\n".encode())


indoors = Thermometer(name="indoors")
outdoors = Thermometer(name="outdoors")
sensors = MultiService(indoors, outdoors, name="sensors")
front = TCPServer(7003, answer, host="127.0.0.1", name="front")

application = Application("weather", sensors, front)
