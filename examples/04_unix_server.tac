"""A UNIX socket: a server for this machine only, which knows who its clients are.

The file `greeter.sock` appears in the folder in which you start it, and goes when it stops.

Run it:        trioservice run examples/04_unix_server.tac
Talk to it:    socat - UNIX-CONNECT:greeter.sock        (or: nc -U greeter.sock)
Stop it:       Ctrl-C
"""

import os
import pwd

from trioservice import Application, UNIXServer


async def greet(stream):
    # Nobody has to log in: the kernel says which process connected, and whose it is.
    name = pwd.getpwuid(stream.peer.uid).pw_name
    await stream.send_all(f"hello {name}, process {stream.peer.pid}\n".encode())


# Before the first client can connect, the file has this mode and this group.
greeter = UNIXServer("greeter.sock", greet, mode=0o660, group=os.getgid(), name="greeter")

application = Application("greeting", greeter)
