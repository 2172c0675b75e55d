"""The command ``trioservice portforward``.

What is large is imported when the command is used, since this file is for each ``trioservice --help``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config.endpoint_forms import connecting, listening
from ...config.options import option
from ...config.plugins import Plugin
from ...forms import count, or_never, seconds

if TYPE_CHECKING:
    from .forwarding import PortForward

__all__ = ["portforward"]


def make_forward(
    listen: str, to: str, max_connections: int | None, idle_timeout: float | None
) -> PortForward:
    """The service that the options describe."""
    from .forwarding import PortForward

    return PortForward(listen, to, max_connections=max_connections, idle_timeout=idle_timeout, name="forward")


portforward = Plugin(
    make_forward,
    help="lead whoever comes to one place on to another",
    description=(
        "Listen at one endpoint, and lead each connection on to another. It listens as soon as somebody has "
        "answered at the other."
    ),
    options=(
        option("listen", type=listening, help="where clients come in"),
        option("to", type=connecting, help="where they are led"),
        option(
            "max-connections", None, type=count, help="no more than so many at a time (default: no limit)"
        ),
        option(
            "idle-timeout",
            None,
            type=or_never(seconds),
            help="close what has been silent for so many seconds (default: never)",
        ),
    ),
)
