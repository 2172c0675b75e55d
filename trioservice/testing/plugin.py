"""Fixtures for pytest, beside pytest-trio or without it.

``sim_network``
    A :class:`~trioservice.testing.network.SimNetwork` factory: ``with sim_network(seed=3) as network:``.
``service_tree``
    Makes an :class:`~trioservice.application.Application` of services, and keeps what its tree tells.
``running``
    ``async with running(app):`` is ready within, and is stopped in the end.
``assert_no_leaks``
    The test fails if it leaves threads or descriptors behind.

They are plain functions, so they need no event loop, and pytest loads nothing of ours before one is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..application import Application
    from ..service import Service
    from .network import SimNetwork

__all__ = ["assert_no_leaks", "running", "service_tree", "sim_network"]


@pytest.fixture
def sim_network() -> type[SimNetwork]:
    """Makes a network in memory; to be opened in the test, where trio runs."""
    from .network import SimNetwork

    return SimNetwork


@pytest.fixture
def service_tree() -> Callable[..., Application]:
    """Makes an application of the services it is given; its ``heard`` is what was told."""
    from ..application import Application

    def make(*services: Service, name: str = "app") -> Application:
        app = Application(name, *services, handle_signals=False)
        app.heard = []  # type: ignore[attr-defined]
        app.subscribe(app.heard.append)  # type: ignore[attr-defined]
        return app

    return make


@pytest.fixture
def running() -> Callable[[Application], AbstractAsyncContextManager[Application]]:
    """Runs an application for as long as an ``async with`` lasts."""
    from .within import running as run_within

    return run_within


@pytest.fixture
def assert_no_leaks() -> Iterator[None]:
    """Fail if the test leaves something behind."""
    from .leaks import no_leaks

    with no_leaks():
        yield
