"""What a simulated life has no twin of: passed sockets, multicast, other programs, other event loops.

A service that needs one of them cannot show itself, so what becomes of it is held against nobody, and whoever
checks the application is told which those are.  One that lives in another event loop, with its own clock and
real sockets, does nothing at all.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..application import Application
from ..net.endpoints import FDEndpoint, StdioServerEndpoint, SystemdEndpoint
from ..programs import ProcessService
from ..run import walk
from ..service import Service

__all__ = ["is_elsewhere", "not_simulated"]

_ELSEWHERE = {"AsyncioService", "TwistedService"}


def not_simulated(app: Application) -> Iterator[tuple[str, str]]:
    """The paths of the services that cannot be simulated, each with the reason."""
    for service in walk(app):
        reason = _reason(service)
        if reason:
            yield service.path, reason


def _reason(service: Service) -> str:
    endpoint = getattr(service, "endpoint", None)
    if isinstance(endpoint, SystemdEndpoint | FDEndpoint | StdioServerEndpoint):
        return f"nobody passes {endpoint} to it"
    if isinstance(service, ProcessService):
        return "other programs live in real time"
    if is_elsewhere(service):
        return "it lives in another event loop, whose clock and sockets are real"
    if "MulticastServer" in _kinds(service):
        return "the simulated network has no multicast"
    return ""


def is_elsewhere(service: Service) -> bool:
    """Whether a service lives in an event loop that is none of trio's."""
    return not _ELSEWHERE.isdisjoint(_kinds(service))


def _kinds(service: Service) -> set[str]:
    # By name: most applications have none of those, and their rooms are not small.
    return {kind.__name__ for kind in type(service).__mro__}
