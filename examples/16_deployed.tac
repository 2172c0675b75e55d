"""What an operator wants: a port to choose, a list that can be reloaded, and a process that behaves.

    menu
    └─ counter     tells what there is today, from a file that is read again at every reload

Run it:        trioservice run examples/16_deployed.tac
               trioservice run examples/16_deployed.tac --set port=9000 --log-format json
               trioservice run examples/16_deployed.tac --daemon --pidfile menu.pid --logfile menu.log
See it:        nc 127.0.0.1 7016
Reload it:     trioservice reload menu.pid, or kill -HUP
Look at it:    trioservice run examples/16_deployed.tac --help; trioservice unit examples/16_deployed.tac
Stop it:       trioservice stop menu.pid, or Ctrl-C
"""

from pathlib import Path

from trioservice import Application, TCPServer, parameter

port = parameter("port", 7016, help="where guests ask")
menu = parameter("menu", Path(__file__).parent / "menu" / "today.txt", help="a file with today's dishes")


class Counter(TCPServer):
    """A server whose answers come from a file."""

    def __init__(self):
        super().__init__(port, self.answer, host="127.0.0.1", name="counter")

    async def privileged_start(self, stack):
        """Read it before anything runs: without a menu nothing is served."""
        await super().privileged_start(stack)
        self.dishes = menu.read_bytes()

    async def on_reload(self):
        """Read it again. What is raised here is logged, and the old menu stays."""
        await super().on_reload()
        self.dishes = menu.read_bytes()

    async def answer(self, stream):
        await stream.send_all(self.dishes)


application = Application("menu", Counter())
