from trioservice import Application
from trioservice.net.http import HTTPLimits, HTTPServer


async def notes(exchange):
    request = exchange.request
    if request.method == "POST":
        note = b"".join([data async for data in exchange.body])
        await exchange.respond(200, [(b"content-type", b"text/plain")], note.upper())
    elif request.path == "/count":
        await exchange.start(200, [(b"content-type", b"text/plain")])
        for number in range(3):
            await exchange.write(b"%d\n" % number)
    else:
        await exchange.respond(404, [(b"content-type", b"text/plain")], b"There is nothing here.\n")


server = HTTPServer(
    "tcp:7021:interface=127.0.0.1",
    notes,
    limits=HTTPLimits(body_bytes=1_000_000, request_timeout=30, concurrency=200),
    name="notes",
)

application = Application("desk", server)
