"""Two services that have something to say.  Run it:  trioservice run talk.tac"""

import logging

from trioservice import Application, TaskService

log = logging.getLogger("shop.orders")


async def stock():
    log.debug("counting pears")


async def web():
    log.debug("looking for %s", "pears")
    log.info("sold", extra={"fruit": "pear", "price": 3})


application = Application("shop", TaskService(stock), TaskService(web))
