"""An ASGI application, Starlette's, with a WebSocket: a kitchen that tells all guests what is ready.

    kitchen
    └─ web        starts when the application has started; at the end, answers what it was asked

Install:       pip install 'trioservice[web]' starlette websockets
Run it:        trioservice run examples/18_starlette.tac
Ask it:        curl http://127.0.0.1:7018/
Tell it:       curl -d soup http://127.0.0.1:7018/ready
Listen:        python -m websockets ws://127.0.0.1:7018/news
Stop it:       Ctrl-C; requests end, guests are told that it stops (1012), then the lifespan ends
"""

import logging
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from trioservice import Application
from trioservice.integrations.asgi import ASGIServer

log = logging.getLogger(__name__)
guests = set()


@asynccontextmanager
async def lifespan(app):
    log.info("the stove is hot")
    yield
    log.info("the stove is off")


async def welcome(request):
    return PlainTextResponse(f"{len(guests)} guests\n")


async def ready(request):
    dish = (await request.body()).decode()
    for guest in list(guests):
        await guest.send_text(f"{dish} is ready")
    return PlainTextResponse("told\n")


async def news(websocket):
    await websocket.accept()
    guests.add(websocket)
    try:
        async for _ in websocket.iter_text():
            await websocket.send_text("be patient")
    finally:
        guests.discard(websocket)


routes = [
    Route("/", welcome),
    Route("/ready", ready, methods=["POST"]),
    WebSocketRoute("/news", news),
]
web = ASGIServer(Starlette(routes=routes, lifespan=lifespan), "tcp:7018:interface=127.0.0.1", name="web")

application = Application("kitchen", web)
