"""Failure: the thermometer outdoors is unplugged while everything runs."""

import trio

from trioservice import Application, MultiService, Service


class Thermometer(Service):
    async def run(self, task_status):
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            print(f"{self.name} is switched off")


class Unplugged(Service):
    async def run(self, task_status):
        task_status.started()
        await trio.sleep(0.2)
        read(sensor=None)


def read(sensor):
    return sensor.celsius


sensors = MultiService(Thermometer(name="indoors"), Unplugged(name="outdoors"), name="sensors")
application = Application("weather", sensors)
