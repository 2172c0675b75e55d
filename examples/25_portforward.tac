"""A port that leads elsewhere: a door in front of the echo server of the first example.

    forward
    └─ door
       ├─ far          waits until somebody answers on port 7001
       └─ near         listens on port 7025, and does not start before that

Run the echo:     trioservice run examples/01_echo.tac
Run it:           trioservice run examples/25_portforward.tac
Talk through it:  printf 'hello\n' | nc -N 127.0.0.1 7025
Or without a file: trioservice portforward --listen tcp:7025:interface=127.0.0.1 --to tcp:127.0.0.1:7001
Try this:         stop the echo, and talk again; start it, and talk again
Stop it:          Ctrl-C; connections that are open have five seconds to end
"""

from trioservice import Application
from trioservice.plugins.portforward import PortForward

door = PortForward("tcp:7025:interface=127.0.0.1", "tcp:127.0.0.1:7001", max_connections=100, name="door")

application = Application("forward", door)
