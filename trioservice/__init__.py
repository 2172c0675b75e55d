"""trioservice: describe an application as a tree of services, and let one command run it.

The house, from the ground up; each floor knows only those below it:

* errors, events, lifecycle, retry, run, service, timers, application: the heart.  It knows
  neither sockets nor processes, and can be read in one sitting.
* net: services that own sockets.
* config, process: files that describe applications; the manners of an operating system process.
* cli: the ``trioservice`` command, which joins the rooms.

The names offered here are those of everyday use.
"""

from .application import Application
from .errors import (
    CannotConnectError,
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
from .net.clients import SSLClient, StreamClient, TCPClient, UNIXClient
from .net.datagrams import (
    DatagramClient,
    DatagramServer,
    UDPClient,
    UDPServer,
    UNIXDatagramClient,
    UNIXDatagramServer,
)
from .net.endpoints import EndpointError
from .net.multicast import MulticastServer
from .net.servers import SSLServer, StreamServer, TCPServer, UNIXServer
from .service import MultiService, Service, TaskService, current_service
from .timers import TimerService

__version__ = "0.1.0"

__all__ = [
    "Application",
    "CannotConnectError",
    "CannotListenError",
    "DatagramClient",
    "DatagramServer",
    "EndpointError",
    "MultiService",
    "MulticastServer",
    "NotReadyError",
    "SSLClient",
    "SSLServer",
    "Service",
    "ServiceError",
    "ServiceStateError",
    "ServicesFailed",
    "StartInterrupted",
    "StartTimeoutError",
    "State",
    "StreamClient",
    "StreamServer",
    "TCPClient",
    "TCPServer",
    "TaskService",
    "TimerService",
    "TreeError",
    "UDPClient",
    "UDPServer",
    "UNIXClient",
    "UNIXDatagramClient",
    "UNIXDatagramServer",
    "UNIXServer",
    "current_service",
]
