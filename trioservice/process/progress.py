"""What a tree of services is about while it starts or stops, in one line for people.

Whoever waits for a stop wants to know for whom: not that ``shop`` is stopping, but that it waits for
``shop/web``, which has three connections open, and for how long.  Nothing here keeps anything; it looks.
"""

from __future__ import annotations

import math

from ..application import Application
from ..lifecycle import State
from ..service import MultiService, Service

__all__ = ["progress"]


def progress(application: Application, now: float) -> str:
    """Whom it waits for, at the moment *now* of trio's clock; else just its state."""
    if application.state is State.STARTING:
        return f"starting {_innermost(application).path}"
    if application.state is State.STOPPING:
        return _stopping(_innermost(application), now)
    return application.state.value


def _innermost(service: Service) -> Service:
    """The one at work: a branch that starts or stops waits for a child of which the same is true."""
    state = service.state
    while isinstance(service, MultiService):
        alike = [child for child in service if child.state is state]
        if not alike:
            break
        service = alike[-1]  # several, if they were stopped alone; in the order of a stop this one is first
    return service


def _stopping(service: Service, now: float) -> str:
    left = service.drain_deadline - now
    parts = [service.in_progress] if service.in_progress else []
    parts += [f"{left:.0f} s left"] if 0 < left < math.inf else []
    return f"waiting for {service.path}" + (f": {', '.join(parts)}" if parts else "")
