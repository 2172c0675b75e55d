"""Socket activation: systemd listens, and starts this when the first client comes.

Run it:        systemd-socket-activate -l 7011 --fdname=web trioservice run examples/11_socket_activation.tac
Talk to it:    printf hello | nc -q1 127.0.0.1 7011
Stop it:       Ctrl-C

The same socket in a unit, web.socket, beside a web.service that says what to run:

    [Socket]
    ListenStream=7011
    FileDescriptorName=web

    [Install]
    WantedBy=sockets.target
"""

from trioservice import Application, StreamServer


async def shout(stream):
    async for data in stream:
        await stream.send_all(data.upper())


# The port is not ours to choose, nor to be allowed to have: it is passed under this name.
application = Application("shouting", StreamServer("systemd:web", shout, name="web"))
