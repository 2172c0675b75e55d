"""One line for each answer: the access log, as others write it, or as JSON.

The lines go to the logger ``trioservice.access``, so where they go, and whether, is a matter of logging.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

from ...net.addresses import show_address
from ...net.http import Answered

__all__ = ["FORMATS", "as_json", "combined", "log_access"]

logger = logging.getLogger("trioservice.access")


def combined(answered: Answered, now: float) -> str:
    """Apache's "combined": what most programs that read such logs can read."""
    when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now))
    line, referrer, agent = "-", "-", "-"
    if answered.request is not None:
        request = answered.request
        line = f"{request.method} {_text(request.target)} HTTP/{request.http_version}"
        referrer, agent = (_text(request.headers.get(name, b"-")) for name in (b"referer", b"user-agent"))
    size = answered.bytes or "-"
    return f'{_host(answered)} - - [{when}] "{line}" {answered.status} {size} "{referrer}" "{agent}"'


def as_json(answered: Answered, now: float) -> str:
    """The same and the time that it took, as one object."""
    request = answered.request
    fields: dict[str, object] = {
        "time": round(now, 3),
        "peer": show_address(answered.peer),
        "status": answered.status,
        "bytes": answered.bytes,
        "seconds": round(answered.seconds, 6),
    }
    if request is not None:
        fields |= {
            "method": request.method,
            "target": request.target.decode("latin-1"),
            "version": request.http_version,
            "referrer": request.headers.get(b"referer", b"").decode("latin-1"),
            "agent": request.headers.get(b"user-agent", b"").decode("latin-1"),
        }
    return json.dumps(fields)


#: The formats by their names on the command line.
FORMATS: dict[str, Callable[[Answered, float], str]] = {"combined": combined, "json": as_json}


def log_access(
    form: Callable[[Answered, float], str], then: Callable[[Answered], object] | None = None
) -> Callable[[Answered], object]:
    """What an :class:`~trioservice.net.http.HTTPServer` calls after each answer, to have it logged.

    Args:
        form: makes the line, of the answer and the time.
        then: is called after that.
    """

    def log(answered: Answered) -> None:
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s", form(answered, time.time()))
        if then is not None:
            then(answered)

    return log


def _host(answered: Answered) -> str:
    peer = answered.peer
    return str(peer[0]) if isinstance(peer, tuple) else "-"  # programs that read this want one word


def _text(value: bytes) -> str:
    """Nothing in it ends the line, or the quotes."""
    return value.decode("latin-1").encode("unicode_escape").decode("ascii").replace('"', '\\"')
