from trioservice import TCPServer
from trioservice.config.options import option
from trioservice.config.plugins import Plugin


def make_front(port, greeting, loud):
    async def greet(stream):
        text = greeting.upper() if loud else greeting
        await stream.send_all(f"{text}\n".encode())

    return TCPServer(port, greet, host="127.0.0.1", name="door")


front = Plugin(
    make_front,
    help="greet whoever comes in",
    options=(
        option("port", 7006, help="where customers come in", short="t"),
        option("greeting", "hello", help="what they are told"),
        option("loud", False, help="say it loudly"),
    ),
)
