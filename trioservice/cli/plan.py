"""The tree of an application, drawn for a person to look at; nothing is started."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..net.endpoints import Endpoint
from ..service import MultiService, Service

__all__ = ["drawn"]


def drawn(root: Service) -> str:
    """*root* and all below it, in start order, a line each."""
    return "\n".join(_lines(root, "", "")) + "\n"


def _lines(service: Service, first: str, rest: str) -> Iterator[str]:
    yield f"{first}{service.name}  ({', '.join(_facts(service))})"
    children = list(service) if isinstance(service, MultiService) else []
    for child in children:
        last = child is children[-1]
        yield from _lines(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))


def _facts(service: Service) -> Iterator[str]:
    kind = type(service).__name__
    yield kind
    endpoint = getattr(service, "endpoint", None)
    if isinstance(endpoint, Endpoint):
        yield str(endpoint)
    if service.drain_timeout < math.inf and (service._drains or isinstance(service, MultiService)):
        yield f"drains for up to {service.drain_timeout:g} s"
    elif service._drains:
        yield "drains without a limit of its own"
    if service.start_timeout is not None:
        yield f"ready within {service.start_timeout:g} s"
