"""The desk, mended: whoever leaves gets up, however it is that he leaves."""

import trio

from trioservice import Application, Service, TaskService


class Desk(Service):
    taken = False

    async def run(self, task_status):
        if self.taken:
            raise RuntimeError("somebody sits at this desk")
        self.taken = True
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            self.taken = False


async def open_letters():
    while True:
        await trio.sleep(5)


application = Application("office", Desk(name="desk"), TaskService(open_letters))
