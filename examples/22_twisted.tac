"""Twisted's services and ours in one tree, each started and stopped when it is its turn.

    shop
    ├─ stock            ours: it keeps what there is
    ├─ web              Twisted's: a web site on port 7022
    └─ delivery         Twisted's: a TimerService

Needs Twisted:    pip install 'trioservice[twisted]'
Run it:           trioservice run examples/22_twisted.tac
Talk to it:       curl http://127.0.0.1:7022/apples
Try this:         curl http://127.0.0.1:7022/worms; the failure is logged with the path shop/web
Stop it:          Ctrl-C; the delivery ends first, then the site, and the stock is there to the last
"""

import logging

import trio
from twisted.application import internet
from twisted.web import resource, server

from trioservice import Application, TaskService
from trioservice.integrations.twisted import TwistedService

logger = logging.getLogger("shop")


class Stock:
    def __init__(self):
        self.counts = {}

    async def keep(self, task_status):
        self.counts = {b"apples": 3, b"pears": 2}
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            logger.info("the stock is put away: %d apples", self.counts[b"apples"])


class Shelf(resource.Resource):
    isLeaf = True

    def render_GET(self, request):
        count = stock.counts[request.postpath[0]]  # a KeyError is logged, and answered with a status of 500
        return b"%d %s\n" % (count, request.postpath[0])


def deliver():
    stock.counts[b"apples"] += 1
    logger.info("an apple has come")


stock = Stock()
site = internet.TCPServer(7022, server.Site(Shelf()), interface="127.0.0.1")

application = Application(
    "shop",
    TaskService(stock.keep, name="stock"),
    TwistedService(site, name="web"),
    TwistedService(internet.TimerService(1, deliver), name="delivery"),
)
