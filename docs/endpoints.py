"""The tables of the endpoints page, made from the dataclasses whenever the pages are built.

What an argument is called in text, what it has to be and what it is by default are asked of the
code that reads texts, and every example is read by it.  So no row can promise what would be refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Annotated, get_args, get_origin, get_type_hints

from sphinx.util.typing import stringify_annotation

from trioservice.net import endpoints
from trioservice.net.endpoint_text import Argument, Endpoint, Form, arguments_of, quote
from trioservice.net.endpoints import (
    client_endpoint,
    datagram_client_endpoint,
    datagram_server_endpoint,
    server_endpoint,
)

#: A heading, the reader of that role, and one text for each kind, in the order of the page.
ROLES: list[tuple[str, Callable[[str], Endpoint], list[str]]] = [
    (
        "Stream servers",
        server_endpoint,
        [
            "tcp:8080:interface=127.0.0.1",
            "tcp6:8080",
            "unix:/run/shop.sock:mode=660:group=www-data",
            "ssl:443:certKey=shop.pem:privateKey=shop.key",
            "tls:/etc/shop/certs:alpn=h2,http/1.1",
            "haproxy:trust=10.0.0.0/8:tcp:8080",
            "systemd:web",
            "fd:3",
            "stdio:",
        ],
    ),
    (
        "Datagram servers",
        datagram_server_endpoint,
        ["udp:5353:interface=127.0.0.1", "unix-datagram:/run/shop.log:mode=660", "systemd:index=0", "fd:3"],
    ),
    (
        "Stream clients",
        client_endpoint,
        [
            "tcp:shop.example:8080:timeout=5",
            "unix:/run/shop.sock",
            "ssl:shop.example:443:caCertsDir=/etc/shop/ca",
            r"tls:shop.example:endpoint=unix\:/run/tunnel.sock",
        ],
    ),
    (
        "Datagram clients",
        datagram_client_endpoint,
        [r"udp:\:\:1:5353", "unix-datagram:/run/shop.log"],
    ),
]


def kinds() -> str:
    """A section for each role, a table for each of its kinds."""
    parts, forgotten = [], {kind for kind in vars(endpoints).values() if is_dataclass(kind)} - {Form}
    for heading, read, examples in ROLES:
        parts.append(f"## {heading}\n")
        for text in examples:
            kind = type(read(text))
            forgotten.discard(kind)
            reference = f"{{py:class}}`~{kind.__module__}.{kind.__name__}`"
            parts.append(f"### `{kind.kind}:` ({heading.lower()})\n\n{reference}, for example `{text}`\n")
            parts.append(_table(kind))
    if forgotten:
        raise ValueError(f"the page of endpoints has no example of {forgotten}")
    return "\n".join(parts)


def _table(kind: type[Endpoint]) -> str:
    arguments = arguments_of(kind)
    if not arguments:
        return "It takes no arguments.\n"
    rows = [
        f"| {_name(argument)} | {argument.form.wanted} | {_default(argument)} |" for argument in arguments
    ]
    return "\n".join(["| argument | is | if left out |", "|---|---|---|", *rows, ""])


def _name(argument: Argument) -> str:
    return "*what follows*" if argument.form.rest else f"`{argument.key}`"


def _default(argument: Argument) -> str:
    if argument.required:
        return "must be given"
    if argument.default in (None, ()):
        return "none"
    return f"`{quote(argument.form.show(argument.default))}`"


def forms() -> str:
    """A row for each form that a field of a kind can be annotated with."""
    found = {name: getattr(endpoints, name) for name in endpoints.__all__}
    rows = [
        f"| `{name}` | `{stringify_annotation(get_args(form)[0])}` | {get_args(form)[1].wanted} |"
        for name, form in found.items()
        if get_origin(form) is Annotated
    ]
    return "\n".join(["| form | in Python | is |", "|---|---|---|", *rows, ""])


def hide_forms() -> None:
    """Let signatures show ``int`` for what is annotated as a ``Port``, once the tables have told the rest."""
    for kind in vars(endpoints).values():
        if isinstance(kind, type) and is_dataclass(kind):
            hints = get_type_hints(kind)
            kind.__annotations__ = {name: hints[name] for name in kind.__annotations__}
