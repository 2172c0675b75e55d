"""The lifecycle of ours, with a handler: ``trioservice run``."""

import os

from trioservice import Application, TCPServer


async def echo(stream):
    async for data in stream:
        await stream.send_all(data)


server = TCPServer(int(os.environ["PORT"]), echo, host="127.0.0.1", backlog=1024, drain_timeout=0)
application = Application("echo", server)
