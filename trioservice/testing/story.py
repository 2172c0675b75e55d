"""The story of a life: a line for each thing that was told, and a picture of the states."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import NamedTuple

from ..events import Event, StateChanged
from .diary import BranchSeen

__all__ = ["Line", "drawn", "story_of"]


class Line(NamedTuple):
    """One thing that was told: when, of whom, what, and the state that it led to, if it did."""

    time: float
    path: str
    words: str
    state: str = ""

    def __str__(self) -> str:
        return f"{self.time:12.6f} {self.path}: {self.words}"


def story_of(events: Iterable[Event]) -> Iterator[Line]:
    """A line for each event that is worth one; the same for the same life, on any machine."""
    for event in events:
        if not isinstance(event, BranchSeen):
            state = event.new.value if isinstance(event, StateChanged) else ""
            yield Line(event.time, event.path, _without_folders(str(event)), state)


def _without_folders(words: str) -> str:
    # Whoever has the project elsewhere is to see the same.
    return re.sub(r"[^\s'\"(]*[/\\]([^\s/\\:]+\.\w+):", r"\1:", words)


# ---- a picture

_COLOURS = {
    "starting": "#e9b44c",
    "running": "#4f9d69",
    "stopping": "#d1694e",
    "failed": "#8b1e3f",
    "finished": "#6c8ebf",
    "stopped": "#dddddd",
}
_STEP, _ROW, _LEFT, _TOP = 14, 22, 220, 30


def drawn(story: Sequence[Line], title: str) -> str:
    """The states of all services, as SVG: a row for each, a step to the right for each line."""
    rows = {path: row for row, path in enumerate(dict.fromkeys(line.path for line in story if line.state))}
    width, height = _LEFT + _STEP * (len(story) + 2), _TOP + _ROW * (len(rows) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" rx="6" fill="white"/>',  # the page around it may be dark
        f'<text x="8" y="18" font-weight="600">{_text(title)}</text>',
        *(_label(path, row) for path, row in rows.items()),
        *_bars(story, rows),
        *_moments(story, _TOP + _ROW * (len(rows) + 1)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


# What XML 1.0 has no way to write (its production 2).
_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _text(words: str) -> str:
    return escape(_NOT_IN_XML.sub("\ufffd", words))


def _label(path: str, row: int) -> str:
    return f'<text x="{_LEFT - 8}" y="{_TOP + _ROW * row + 15}" text-anchor="end">{_text(path)}</text>'


def _bars(story: Sequence[Line], rows: dict[str, int]) -> Iterator[str]:
    changes = {path: [i for i, line in enumerate(story) if line.path == path and line.state] for path in rows}
    for path, places in changes.items():
        for begin, end in zip(places, [*places[1:], len(story)], strict=True):
            yield _bar(story[begin], rows[path], begin, end)


def _bar(line: Line, row: int, begin: int, end: int) -> str:
    x, y = _LEFT + _STEP * begin, _TOP + _ROW * row
    return (
        f'<rect x="{x}" y="{y}" width="{_STEP * (end - begin)}" height="{_ROW - 4}" '
        f'fill="{_COLOURS[line.state]}">'
        f"<title>{_text(f'{line.time:.3f} s: {line.path} {line.words}')}</title></rect>"
    )


def _moments(story: Sequence[Line], y: int) -> Iterator[str]:
    """Where time passes, and how much has passed."""
    before = 0.0
    for place, line in enumerate(story):
        if line.time > before:
            before = line.time
            x = _LEFT + _STEP * place
            yield f'<line x1="{x}" x2="{x}" y1="{_TOP}" y2="{y}" stroke="#888" stroke-dasharray="2 3"/>'
            yield f'<text x="{x}" y="{y + 14}" font-size="9">{line.time:.1f} s</text>'
