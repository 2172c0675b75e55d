"""A TCP client: it talks to a server for as long as both are there, and comes back when it was left.

Run the server:   trioservice run examples/01_echo.tac
Run it:           trioservice run examples/03_tcp_client.tac
Try this:         stop the server, wait, and start it again; the client waits too, and connects again
Is one there?     printf hello | nc -q1 127.0.0.1 7001
Stop it:          Ctrl-C; whatever the client is at, it stops at once
"""

import itertools
import logging

import trio

from trioservice import Application, TCPClient

log = logging.getLogger(__name__)


async def greet(stream):
    """Called for each connection, one at a time.  When it returns, the connection is closed."""
    for number in itertools.count(1):
        await stream.send_all(b"hello %d" % number)
        answer = await stream.receive_some()
        if not answer:
            return  # the server has closed the connection; the client will make another
        log.info("the server says: %s", answer.decode())
        await trio.sleep(2)


# This is the important bit: retry= is Retry() if you say nothing, and that is to come back for ever,
# after 1.5 to 2.5 seconds at first, and after about a minute when it has failed a dozen times.
application = Application("greeter", TCPClient("127.0.0.1", 7001, greet, name="client"))
