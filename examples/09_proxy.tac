"""A proxy: many clients in front, and one connection to a back end, which they share.

    proxy
    ├─ back             a client of the back end; it is ready when it is connected
    └─ front            listens on port 7009, and does not start before that

Run a back end:   trioservice run examples/01_echo.tac
Run it:           trioservice run examples/09_proxy.tac
Talk to it:       printf 'hello\n' | nc -q1 127.0.0.1 7009
Or go round it:   printf 'hello\n' | nc -q1 127.0.0.1 7001
Try this:         run the proxy first, and see that nobody listens on its port until there is a back end
Stop it:          Ctrl-C; the front is gone before the back is
"""

from contextlib import aclosing, suppress

import trio

from trioservice import Application, TCPClient, TCPServer

# From the front to the back: a question, and where its answer is to go.
ask, questions = trio.open_memory_channel(0)


async def talk(stream):
    """The client's handler: one question after the other goes over the one connection."""
    async with aclosing(lines(stream)) as answers:
        async for question, answer_to in questions:
            with answer_to:  # whatever happens, whoever waits for the answer hears of it
                await stream.send_all(question)
                answer = await anext(answers, None)
                if answer is None:
                    return  # the back end has gone; the client will connect again
                await answer_to.send(answer)


async def serve(stream):
    """The server's handler: each line is a question for the back end."""
    async with aclosing(lines(stream)) as received:
        async for question in received:
            await stream.send_all(await answer_of(question))


async def answer_of(question):
    while True:
        answer_to, answer = trio.open_memory_channel(1)
        await ask.send((question, answer_to))
        with suppress(trio.EndOfChannel):  # the back end has gone with the question; ask again
            return await answer.receive()


async def lines(stream):
    rest = b""
    async for data in stream:
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(rest) > 10_000:
            raise ValueError("a line without an end")


back = TCPClient("127.0.0.1", 7001, talk, ready_when_connected=True, name="back")
front = TCPServer(7009, serve, host="127.0.0.1", name="front")

# This is the important bit: front stands after back, and a service starts when the one before it is ready.
application = Application("proxy", back, front)
