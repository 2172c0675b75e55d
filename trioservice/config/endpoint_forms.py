"""Endpoints as options: a text that is one, told to be none before anything is made of it.

The text stays a text, which every service that listens or connects takes.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ServiceError
from ..forms import Form, FormError

__all__ = ["connecting", "listening"]


# What knows endpoints is imported when one is read: plugins are declared for each `trioservice --help`.
def _listening(given: str) -> None:
    from ..net.endpoints import server_endpoint

    server_endpoint(given)


def _connecting(given: str) -> None:
    from ..net.endpoints import client_endpoint

    client_endpoint(given)


def _form(wanted: str, look: Callable[[str], None]) -> Form:
    def parse(given: str) -> str:
        try:
            look(given)
        except ServiceError as error:  # an EndpointError, which points at the mistake
            raise FormError(str(error), f"give {wanted}") from None
        return given

    return Form("ENDPOINT", wanted, parse)


#: Where to listen.
listening = _form("an endpoint to listen at, such as tcp:8080 or unix:/run/shop.sock", _listening)
#: Whom to connect to.
connecting = _form("an endpoint to connect to, such as tcp:10.0.0.7:80", _connecting)
