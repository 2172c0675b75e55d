"""A server of the Domain Name System, as a tree: one service for UDP, one for TCP, and those that know.

::

    from trioservice import Application
    from trioservice.plugins.dns import DNSServer, ForwardResolver, HostsResolver

    application = Application("names", DNSServer(53, [HostsResolver(), ForwardResolver("9.9.9.9")]))

The room, from the ground up; each file uses only those above it in this list:

* codes, names, records: numbers of the protocol, names and records in their wire form.  Pure.
* questions, answers: what is asked, read and distrusted; what is answered, and put into a message.  Pure.
* chains: aliases that lead from one who knows to another.
* cache: answers that may be given again.
* events: what there is to tell.
* resolvers: who knows answers; the files among them are read again when they change.
* hosts, zones: those who know by a file.
* upstreams, forwarding: those who know by asking.
* desk: which resolver is asked, for whom, and what became of the same question a moment ago.
* server: the doors to the desk, UDP and TCP.
* command: ``trioservice dns``.

Messages are read and written here, by small functions on bytes, since most of a server's time went
into objects that were made from a message to be made a message again.  dnspython, the
library that knows everything about DNS, reads the files of zones, and the tests have it for a referee.
"""

from typing import TYPE_CHECKING

from ...rooms import opener

if TYPE_CHECKING:
    from .answers import Answer
    from .forwarding import ForwardResolver
    from .hosts import HostsResolver
    from .questions import Question
    from .resolvers import Resolver
    from .server import DNSServer
    from .zones import ZoneResolver

__all__ = [
    "Answer",
    "DNSServer",
    "ForwardResolver",
    "HostsResolver",
    "Question",
    "Resolver",
    "ZoneResolver",
]

# The same for those who run the program; a test holds the two together.
_ROOMS = {
    "answers": ("Answer",),
    "forwarding": ("ForwardResolver",),
    "hosts": ("HostsResolver",),
    "questions": ("Question",),
    "resolvers": ("Resolver",),
    "server": ("DNSServer",),
    "zones": ("ZoneResolver",),
}

__getattr__ = opener(__name__, _ROOMS)
