"""The lifecycle of bare trio: a script, which ends on SIGTERM by cancelling what it does.

It ends as trioservice and twistd do: by the signal itself, so that the parent learns of it, and so that
the interpreter is not taken down in one program and left standing in the other.
"""

import os
import signal

import trio


async def echo(stream):
    async for data in stream:
        await stream.send_all(data)


async def main():
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            await nursery.start(serve)
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break


async def serve(task_status):
    port = int(os.environ["PORT"])
    await trio.serve_tcp(echo, port, host="127.0.0.1", backlog=1024, task_status=task_status)


trio.run(main)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
os.kill(os.getpid(), signal.SIGTERM)
