"""A desk at which one clerk sits; now and then, its application does not come up again."""

import trio

from trioservice import Application, Service, TaskService


class Desk(Service):
    taken = False

    async def run(self, task_status):
        if self.taken:
            raise RuntimeError("somebody sits at this desk")
        self.taken = True
        task_status.started()
        await trio.sleep_forever()
        self.taken = False


async def open_letters():
    while True:
        await trio.sleep(5)


application = Application("office", Desk(name="desk"), TaskService(open_letters))
