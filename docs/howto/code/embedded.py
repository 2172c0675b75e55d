"""A tree inside a trio program of your own."""

import trio

from trioservice import Application, MultiService, Service, TaskService


async def worker(number):
    print(f"worker {number} begins")
    try:
        await trio.sleep_forever()
    finally:
        print(f"worker {number} ends")


async def main():
    workers = MultiService(name="workers")
    application = Application("embedded", workers, handle_signals=False)

    async with trio.open_nursery() as nursery:
        await nursery.start(application.main)  # returns when the whole tree is ready

        # Add, start and wait: when this returns, the worker is ready.
        first = TaskService(worker, 1, name="first")
        await workers.start_service(first)

        # Add and go on: it is started in the background.
        second = TaskService(worker, 2, name="second")
        workers.add_service(second)
        await second.wait_running()

        # Stop one, and let it go.
        await workers.remove_service(first)
        print([child.name for child in workers])

        # Stop one, keep it, start it again: it keeps its place.
        await second.restart()

        # What cannot start concerns the caller, and nobody else.
        try:
            await workers.start_service(Broken(name="broken"))
        except* ValueError as errors:
            print(errors.exceptions[0])

        await application.stop()  # returns when all of it is gone


class Broken(Service):
    async def run(self, task_status):
        raise ValueError("no such thing")


if __name__ == "__main__":
    trio.run(main)
