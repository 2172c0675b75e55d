"""A web server for a folder: the first .tac file that Twisted's documentation shows, with our names.

    site
    └─ web              listens on port 7026, and serves the files beside this one

Run it:           trioservice run examples/26_static_web.tac
Look at it:       http://127.0.0.1:7026/
A part of a file: curl -r 0-3 http://127.0.0.1:7026/menu/today.txt
Without a file:   trioservice web --path examples --listen tcp:7026:interface=127.0.0.1
Stop it:          Ctrl-C; what is being sent is sent to its end
"""

from pathlib import Path

from trioservice import Application
from trioservice.plugins.web import StaticSite


def get_web_service():
    """A service for an application: it serves the files below the folder of this file."""
    return StaticSite(
        Path(__file__).parent, "tcp:7026:interface=127.0.0.1", access_log="combined", name="web"
    )


# This is the core part of any .tac file, the object at the root of the tree.
application = Application("site")

# Attach the service to its parent.
service = get_web_service()
service.set_service_parent(application)
