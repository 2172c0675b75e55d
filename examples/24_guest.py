"""A tree in an asyncio program: asyncio's loop runs, and trio is its guest.

    counter
    └─ web              ours: a server on port 7024; and beside it, asyncio counts

Run it:           python examples/24_guest.py
Talk to it:       nc -N 127.0.0.1 7024 < /dev/null
Stop it:          Ctrl-C, or SIGTERM; the application obeys, and then the program ends
"""

import asyncio

from trioservice import Application, TCPServer
from trioservice.integrations.guest import run_as_guest

count = 0


async def tell(stream):
    """In trio."""
    await stream.send_all(b"asyncio has counted to %d\n" % count)


async def count_up():
    """In asyncio."""
    global count
    while True:
        await asyncio.sleep(0.01)
        count += 1


async def main():
    application = Application("counter", TCPServer(7024, tell, host="127.0.0.1", name="web"))
    counting = asyncio.create_task(count_up())
    await run_as_guest(application, ready=lambda _: print("ready", flush=True))
    counting.cancel()
    print(f"the tree is gone, and asyncio has counted to {count}")


if __name__ == "__main__":
    asyncio.run(main())
