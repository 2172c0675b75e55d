"""An echo server: whatever a client sends comes back.

Run it:        trioservice run examples/01_echo.tac
Talk to it:    printf hello | nc -q1 127.0.0.1 7001
Stop it:       Ctrl-C
"""

from trioservice import Application, TCPServer

port = 7001


async def echo(stream):
    async for data in stream:
        await stream.send_all(data)


# This is the important bit: the file is an application because it has this name at its top level.
application = Application("echo")
echo_service = TCPServer(port, echo, host="127.0.0.1", name="echoService")
echo_service.set_service_parent(application)
