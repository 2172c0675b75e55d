"""trioservice: describe an application as a tree of services, and let one command run it.

The house, from the ground up; each floor knows only those below it:

* errors, events, lifecycle, retry, run, service, application: the heart.  It knows neither
  sockets nor processes, and can be read in one sitting.
* net: services that own sockets.
* config, process: files that describe applications; the manners of an operating system process.
* cli: the ``trioservice`` command, which joins the rooms.

The names offered here are those of everyday use.
"""

from .application import Application
from .errors import (
    CannotListenError,
    NotReadyError,
    ServiceError,
    ServicesFailed,
    ServiceStateError,
    StartInterrupted,
    StartTimeoutError,
    TreeError,
)
from .lifecycle import State
from .net.servers import TCPServer
from .service import MultiService, Service, TaskService, current_service

__version__ = "0.1.0"

__all__ = [
    "Application",
    "CannotListenError",
    "MultiService",
    "NotReadyError",
    "Service",
    "ServiceError",
    "ServiceStateError",
    "ServicesFailed",
    "StartInterrupted",
    "StartTimeoutError",
    "State",
    "TCPServer",
    "TaskService",
    "TreeError",
    "current_service",
]
