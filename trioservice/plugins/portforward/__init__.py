"""A port that leads elsewhere: ``trioservice portforward``, and the same as a service.

::

    from trioservice import Application
    from trioservice.plugins.portforward import PortForward

    application = Application("proxy", PortForward("tcp:8080", "tcp:10.0.0.7:80"))

Two leaves in start order.  The *far* side is ready when somebody has answered there once; so the *near* side,
which stands after it, does not open its door before there is something behind it.  In the end the near side
goes first, and drains: what was begun is carried through.

Each connection of the near side has one of its own to the far side.  What comes is carried on as it comes, at
the pace of whoever is slower.  The end of one direction is carried on, too, and leaves the other open (a
*half close*, RFC 9293, 3.6); where that cannot be said, as in TLS, it ends both.
"""

from typing import TYPE_CHECKING

from ...rooms import opener

if TYPE_CHECKING:
    from .events import Forwarded, NotForwarded
    from .forwarding import FarSide, NearSide, PortForward

__all__ = ["FarSide", "Forwarded", "NearSide", "NotForwarded", "PortForward"]

# The same for those who run the program; a test holds the two together.
_ROOMS = {"events": ("Forwarded", "NotForwarded"), "forwarding": ("FarSide", "NearSide", "PortForward")}

__getattr__ = opener(__name__, _ROOMS)
