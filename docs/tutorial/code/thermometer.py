"""A service of one's own: a thermometer that is ready once it has measured."""

import random

import trio

from trioservice import Application, Service


class Thermometer(Service):
    async def run(self, task_status):
        self.celsius = await measure()
        task_status.started()
        for _ in range(3):
            print(f"{self.celsius:.1f} °C")
            await trio.sleep(0.2)
            self.celsius = await measure()


async def measure():
    await trio.sleep(0.1)  # stands in for a slow sensor
    return 20 + random.random()


application = Application("weather", Thermometer())

if __name__ == "__main__":
    trio.run(application.main)
