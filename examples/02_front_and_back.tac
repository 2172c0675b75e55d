"""A tree: the front is started only when the back, on which it depends, is ready.

    shop
    ├─ back             a branch: its children, then it is ready
    │  ├─ stock         takes half a second to become ready
    │  └─ restock       works in the background
    └─ front            answers on port 7002, from the stock

Run it:        trioservice run examples/02_front_and_back.tac
Talk to it:    printf 'apples\n' | nc -q1 127.0.0.1 7002
Stop it:       Ctrl-C, and see that the front is gone before the back begins to stop
"""

import trio

from trioservice import Application, MultiService, Service, TaskService, TCPServer


class Stock(Service):
    """A leaf that says itself when it is ready; until then, nothing after it is started."""

    async def run(self, task_status):
        await trio.sleep(0.5)  # reading it from a slow disk
        self.shelf = {"apples": 3, "pears": 5}
        task_status.started()
        await trio.sleep_forever()


async def restock(stock):
    """A plain async function is a service too, by way of TaskService."""
    while True:
        await trio.sleep(10)
        for fruit in stock.shelf:
            stock.shelf[fruit] += 1


async def answer(stream):
    async for line in stream:
        fruit = line.decode(errors="replace").strip()
        await stream.send_all(f"{stock.shelf.get(fruit, 0)} {fruit}\n".encode())


stock = Stock(name="stock")
back = MultiService(stock, TaskService(restock, stock), name="back")
front = TCPServer(7002, answer, host="127.0.0.1", name="front")

application = Application("shop", back, front)
