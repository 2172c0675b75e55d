from trioservice import Application, TCPServer, parameter
from trioservice.forms import seconds

port = parameter("port", 7005, help="where customers come in")
greeting = parameter("greeting", "hello", help="what they are told")
patience = parameter("patience", 60.0, type=seconds, help="how long one may be silent")


async def greet(stream):
    await stream.send_all(f"{greeting}\n".encode())


front = TCPServer(port, greet, host="127.0.0.1", name="front", idle_timeout=patience)
application = Application("greeter", front)
