"""What a folder looks like in a browser: one page, without scripts or anything from elsewhere.  Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import NamedTuple
from urllib.parse import parse_qsl, quote

__all__ = ["Entry", "page_of", "wanted_order"]

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 12%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.25rem; font-weight: 600; overflow-wrap: anywhere; }
h1 a { font-weight: 400; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .75rem; border-bottom: 1px solid var(--line); }
th { font-size: .8rem; font-weight: 500; }
td:first-child { overflow-wrap: anywhere; }
th:nth-child(n+2), td:nth-child(n+2) { white-space: nowrap; font-variant-numeric: tabular-nums; }
th:nth-child(2), td:nth-child(2) { text-align: right; }
tbody tr:hover { background: var(--line); }
a { color: light-dark(#0b57d0, #8ab4f8); text-decoration: none; }
a:hover { text-decoration: underline; }
th a { color: inherit; }
.folder::before { content: "\\1F4C1\\A0"; }
.file::before { content: "\\1F4C4\\A0"; }
.up::before { content: "\\2B06\\A0"; }
footer { margin-top: 1.5rem; font-size: .8rem; opacity: .7; }
@media (max-width: 34rem) { th:nth-child(3), td:nth-child(3) { display: none; } }
"""

_COLUMNS = {"name": "Name", "size": "Size", "time": "Modified"}


class Entry(NamedTuple):
    """What is in a folder: its name, its size in bytes, when it was modified, and whether it is a folder."""

    name: str
    size: int
    time: float
    is_folder: bool


class Order(NamedTuple):
    """By which column the entries stand, and whether the greatest stands first."""

    column: str = "name"
    descending: bool = False


def wanted_order(query: bytes) -> Order:
    """The order that a query asks for, such as ``sort=size&order=desc``; else by name."""
    fields = dict(parse_qsl(query.decode("latin-1")[:200]))
    column = fields.get("sort", "")
    if column not in _COLUMNS:
        return Order()
    return Order(column, fields.get("order") == "desc")


def page_of(names: Sequence[str], entries: Iterable[Entry], order: Order = Order()) -> bytes:  # noqa: B008
    """The page of the folder that has these *names* on the way to it."""
    title = escape("/" + "/".join(map(_shown, names)))
    rows = [_row(entry) for entry in _sorted(entries, order)]
    count = "1 entry" if len(rows) == 1 else f"{len(rows)} entries"
    up = ['<tr><td><a class="up" href="../">parent folder</a></td><td></td><td></td></tr>'] if names else []
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_way(names)}</h1>",
        f"<table><thead><tr>{''.join(_heading(column, order) for column in _COLUMNS)}</tr></thead><tbody>",
        *up,
        *rows,
        f"</tbody></table><footer>{count}</footer></body></html>",
    ]
    return "\n".join(lines).encode("utf-8")


def _sorted(entries: Iterable[Entry], order: Order) -> list[Entry]:
    """Folders first, whatever the order."""
    by_name = sorted(entries, key=lambda entry: (entry.name.casefold(), entry.name))
    if order.column != "name":
        by_name.sort(key=lambda entry: getattr(entry, order.column), reverse=order.descending)
    elif order.descending:
        by_name.reverse()
    return sorted(by_name, key=lambda entry: not entry.is_folder)


def _way(names: Sequence[str]) -> str:
    """The names from the root on, each a link to its folder but for the last."""
    steps = [f'<a href="{"../" * (len(names) - place)}">{text}</a>' for place, text in enumerate(["root"])]
    steps = [] if not names else steps
    for place, name in enumerate(names[:-1], 1):
        steps.append(f'<a href="{"../" * (len(names) - place)}">{escape(_shown(name))}</a>')
    return " / ".join([*steps, escape(_shown(names[-1]) if names else "root")])


def _heading(column: str, order: Order) -> str:
    is_this = order.column == column
    turned = "desc" if is_this and not order.descending else "asc"
    arrow = (" \u2193" if order.descending else " \u2191") if is_this else ""
    return f'<th><a href="?sort={column}&amp;order={turned}">{_COLUMNS[column]}{arrow}</a></th>'


def _row(entry: Entry) -> str:
    slash = "/" if entry.is_folder else ""
    # A name with a colon in it would be taken for a scheme.
    link = "./" + quote(os.fsencode(entry.name)) + slash
    kind = "folder" if entry.is_folder else "file"
    size = "" if entry.is_folder else _size(entry.size)
    when = datetime.fromtimestamp(entry.time, UTC).strftime("%Y-%m-%d %H:%M")
    name = escape(_shown(entry.name)) + slash
    return f'<tr><td><a class="{kind}" href="{link}">{name}</a></td><td>{size}</td><td>{when}</td></tr>'


def _shown(name: str) -> str:
    """A name as text; what is no text in it is shown as what cannot be read."""
    return os.fsencode(name).decode("utf-8", "replace")


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"
