"""The files of a folder, by HTTP: ``trioservice web``, and the same as a service.

::

    from trioservice import Application
    from trioservice.plugins.web import StaticSite

    application = Application("site", StaticSite("public", "tcp:8080"))

The room, from the ground up:

* paths: which names a request may mean at all.  Pure.
* conditions, codings, kinds: whether a client has it, which form it takes, and what it is.  Pure.
* folders: what a folder looks like.  Pure.
* roots: files below one folder, and nothing else.
* access: a line for each answer.
* files: from a request to the file that answers it.
* site: the service.
* command: ``trioservice web``.
"""

from typing import TYPE_CHECKING

from ...rooms import opener

if TYPE_CHECKING:
    from .site import StaticSite

__all__ = ["StaticSite"]

# The same for those who run the program; a test holds the two together.
_ROOMS = {"site": ("StaticSite",)}

__getattr__ = opener(__name__, _ROOMS)
