"""Stopping: an outbox that sends what it has before it goes."""

import trio

from trioservice import Application, Service


class Outbox(Service):
    async def run(self, task_status):
        self.put, letters = trio.open_memory_channel(100)
        async with self.put, letters:
            task_status.started()
            async for letter in letters:
                await trio.sleep(0.1)  # stands in for the postman
                print(f"sent {letter}")

    async def drain(self):
        self.put.close()  # nothing new; `run` comes to the end of its loop, and that ends the drain
        await trio.sleep_forever()


async def main():
    outbox = Outbox(name="outbox")
    application = Application("post", outbox, handle_signals=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(application.main)
        for number in (1, 2, 3):
            await outbox.put.send(f"letter {number}")
        print("stopping")
        await application.stop()
        print(outbox.state)


if __name__ == "__main__":
    trio.run(main)
