"""An ASGI application, FastAPI's, beside a service of which it tells: one tree, one start, one end.

    shop
    ├─ restock    brings an apple now and then
    └─ web        starts after it, and stops before it

Install:       pip install 'trioservice[web]' fastapi
Run it:        trioservice run examples/19_fastapi.tac
Ask it:        curl http://127.0.0.1:7019/stock/apples
Stop it:       Ctrl-C
"""

from fastapi import FastAPI, HTTPException

from trioservice import Application, TimerService
from trioservice.integrations.asgi import ASGIServer

stock = {"apples": 3}
api = FastAPI()


@api.get("/stock/{fruit}")
async def count(fruit: str) -> dict[str, str | int]:
    if fruit not in stock:
        raise HTTPException(404, f"no {fruit}")
    return {"fruit": fruit, "count": stock[fruit]}


def restock() -> None:
    stock["apples"] += 1


application = Application(
    "shop",
    TimerService(5, restock, name="restock"),
    ASGIServer(api, "tcp:7019:interface=127.0.0.1", name="web"),
)
