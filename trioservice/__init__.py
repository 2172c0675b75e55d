"""trioservice: describe an application as a tree of services, and let one command run it.

The house, from the ground up; each floor knows only those below it:

* errors, records, events, lifecycle, retry, run, service, timers, application: the heart.  It
  knows neither sockets nor processes, and can be read in one sitting.
* programs: other programs as services.
* net: services that own sockets.
* config, process: files that describe applications; the manners of an operating system process.
* cli: the ``trioservice`` command, which joins the rooms.

The names offered here are those of everyday use.  A room is opened when one of its names is first
asked for, so that an application loads only what it is made of.
"""

from typing import TYPE_CHECKING

from .rooms import opener

if TYPE_CHECKING:
    from .application import Application
    from .config.parameters import parameter
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
    from .net.endpoint_text import EndpointError
    from .net.multicast import MulticastServer
    from .net.servers import SSLServer, StreamServer, TCPServer, UNIXServer
    from .programs import ProcessService
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
    "ProcessService",
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
    "parameter",
]

# The same for those who run the program as the imports above for those who check its types; a test
# holds the two together.
_ROOMS = {
    "application": ("Application",),
    "config.parameters": ("parameter",),
    "errors": (
        "CannotConnectError",
        "CannotListenError",
        "NotReadyError",
        "ServiceError",
        "ServiceStateError",
        "ServicesFailed",
        "StartInterrupted",
        "StartTimeoutError",
        "TreeError",
    ),
    "lifecycle": ("State",),
    "net.clients": ("SSLClient", "StreamClient", "TCPClient", "UNIXClient"),
    "net.datagrams": (
        "DatagramClient",
        "DatagramServer",
        "UDPClient",
        "UDPServer",
        "UNIXDatagramClient",
        "UNIXDatagramServer",
    ),
    "net.endpoint_text": ("EndpointError",),
    "net.multicast": ("MulticastServer",),
    "net.servers": ("SSLServer", "StreamServer", "TCPServer", "UNIXServer"),
    "programs": ("ProcessService",),
    "service": ("MultiService", "Service", "TaskService", "current_service"),
    "timers": ("TimerService",),
}


__getattr__ = opener(__name__, _ROOMS)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
