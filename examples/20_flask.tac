"""A WSGI application, Flask's: it blocks, so each request has a thread while it is answered.

    shop
    └─ web        as many requests at one time as threads

Install:       pip install 'trioservice[web]' flask
Run it:        trioservice run examples/20_flask.tac
Ask it:        curl 'http://127.0.0.1:7020/hello?name=you'
Stop it:       Ctrl-C
"""

from flask import Flask, request

from trioservice import Application
from trioservice.integrations.wsgi import WSGIServer

site = Flask(__name__)


@site.get("/hello")
def hello():
    return f"Hello, {request.args.get('name', 'world')}.\n"


application = Application("shop", WSGIServer(site, "tcp:7020:interface=127.0.0.1", threads=4, name="web"))
