"""The pictures of the documentation, drawn from the code whenever the pages are built.

``states()`` draws an arrow for each move of ``trioservice.lifecycle.MOVES``; only where a state
stands, and how an arrow bends, is decided here.  ``order()`` runs a small tree under a clock that
jumps, and draws what its events tell.  ``lanes()`` asks each function that it shows for its name.  So
none of the pictures can speak of what is no longer there.

They are SVG that is put into the page, so that they take the colours of its light or dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import trio
import trio.testing

from trioservice import Application, MultiService, Service, State
from trioservice.events import Event, StateChanged
from trioservice.lifecycle import MOVES, Move
from trioservice.net.accepting import Acceptor
from trioservice.net.polls import Poll
from trioservice.net.protocols import SocketTransport, StreamProtocol
from trioservice.net.servers import StreamServer
from trioservice.net.streams import SocketStream

INK = "var(--color-foreground-primary, currentColor)"
SOFT = "var(--color-foreground-muted, #8a8f98)"
PAPER = "var(--color-background-primary, Canvas)"
# Strong enough on white, light enough on black; fills are the same colours, thinned.
COLOUR = {
    State.STOPPED: "#7b8494",
    State.STARTING: "#c58a1a",
    State.RUNNING: "#2f9e55",
    State.STOPPING: "#3f83d6",
    State.FINISHED: "#7b8494",
    State.FAILED: "#d8483e",
}

# ---- the table of states and moves


@dataclass(frozen=True)
class Point:
    x: float
    y: float

    def __add__(self, other: Point) -> Point:
        return Point(self.x + other.x, self.y + other.y)

    def __sub__(self, other: Point) -> Point:
        return Point(self.x - other.x, self.y - other.y)

    def __mul__(self, factor: float) -> Point:
        return Point(self.x * factor, self.y * factor)

    def __str__(self) -> str:
        return f"{self.x:.1f} {self.y:.1f}"


#: Where each state stands.  FAILED is in the middle, since every living state can lead there.
PLACES = {
    State.FINISHED: Point(460, 40),
    State.STARTING: Point(250, 150),
    State.RUNNING: Point(670, 150),
    State.FAILED: Point(460, 250),
    State.STOPPING: Point(460, 400),
    State.STOPPED: Point(90, 400),
}
#: How far the middle of an arrow stands off the straight line, to its left.  Others are straight.
BENDS = {
    (State.FINISHED, State.STARTING): -20,
    (State.RUNNING, State.FINISHED): -20,
    (State.STARTING, State.FAILED): 17,
    (State.FAILED, State.STARTING): 17,
    (State.STARTING, State.STOPPING): -34,
    (State.RUNNING, State.STOPPING): 34,
    (State.STOPPED, State.STARTING): 34,
}
WIDTH, HEIGHT = 780, 450
HALF = Point(58, 21)  # of a box


def states() -> str:
    """The states of a service, and one arrow for every move of the table."""
    arrows = [_arrow(old, move, new) for (old, move), new in MOVES.items()]
    boxes = [_box(state, PLACES[state]) for state in State]
    first = PLACES[State.STOPPED] - Point(HALF.x, 0)
    begin = f'<circle cx="{first.x - 26:.0f}" cy="{first.y:.0f}" r="5" fill="{SOFT}"/>' + _line(
        f"M {first - Point(20, 0)} L {first - Point(3, 0)}"
    )
    return _svg(WIDTH, HEIGHT, "The states of a service and the moves between them", [begin, *arrows, *boxes])


def _box(state: State, at: Point) -> str:
    corner = at - HALF
    resting = state in (State.STOPPED, State.FINISHED, State.FAILED)
    dashes = ' stroke-dasharray="5 4"' if resting else ""
    return (
        f'<g class="state" data-state="{state}"><rect x="{corner.x:.0f}" y="{corner.y:.0f}" '
        f'width="{2 * HALF.x:.0f}" height="{2 * HALF.y:.0f}" rx="9" fill="{COLOUR[state]}" '
        f'fill-opacity="0.16" stroke="{COLOUR[state]}" stroke-width="1.8"{dashes}/>'
        f"{_text(at + Point(0, 5), state.name, weight=600)}</g>"
    )


def _arrow(old: State, move: Move, new: State) -> str:
    begin, end = PLACES[old], PLACES[new]
    away = end - begin
    length = math.hypot(away.x, away.y)
    normal = Point(away.y / length, -away.x / length)
    middle = (begin + end) * 0.5 + normal * BENDS.get((old, new), 0)
    control = middle * 2 - (begin + end) * 0.5  # so that the curve goes through `middle`
    start, stop = _border(begin, control, 2), _border(end, control, 5)
    label = (start + stop) * 0.25 + control * 0.5
    return (
        f'<g class="move" data-move="{old} {move} {new}">{_line(f"M {start} Q {control} {stop}")}'
        f"{_text(label + Point(0, 4), move.value, size=13, halo=True)}</g>"
    )


def _border(centre: Point, towards: Point, gap: float) -> Point:
    """Where the way from *centre* leads out of its box, and *gap* further."""
    away = towards - centre
    share = min(
        (half + gap) / abs(part) for half, part in ((HALF.x, away.x), (HALF.y, away.y)) if abs(part) > 1e-9
    )
    return centre + away * share


# ---- start order and stop order of a tree


class _Slow(Service):
    """A leaf that takes its time to start and to clean up."""

    def __init__(self, name: str, starts: float, stops: float) -> None:
        super().__init__(name=name)
        self._starts, self._stops = starts, stops

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        try:
            await trio.sleep(self._starts)
            task_status.started()
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(self._stops)


def observed_order() -> list[StateChanged]:
    """What the events of a small tree tell: it starts, runs for a while, and is stopped."""
    back = MultiService(_Slow("stock", 2, 1.5), _Slow("restock", 1, 1), name="back")
    app = Application("shop", back, _Slow("front", 1, 2), handle_signals=False)
    seen: list[StateChanged] = []

    def listen(event: Event) -> None:
        if isinstance(event, StateChanged):
            seen.append(event)

    async def main() -> None:
        app.subscribe(listen)
        async with trio.open_nursery() as nursery:
            await nursery.start(app.main)
            await trio.sleep(2.5)
            await app.stop()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return seen


def order() -> str:
    """A row for each service of a tree, time to the right: starting, running, stopping."""
    seen = observed_order()
    begin, end = seen[0].time, seen[-1].time
    paths = list(dict.fromkeys(event.path for event in seen))  # in the order in which they began
    left, top, row, scale = 150.0, 34.0, 36.0, 590 / (end - begin)
    parts = []
    for index, path in enumerate(paths):
        y = top + row * index
        depth = path.count("/")
        name = path.rpartition("/")[2]
        parts.append(_text(Point(14 + 20 * depth, y + 17), name, weight=600, anchor="start"))
        moves = [event for event in seen if event.path == path]
        for event, following in pairwise(moves):
            x = left + (event.time - begin) * scale
            width = (following.time - event.time) * scale
            colour = COLOUR[event.new]
            parts.append(
                f'<rect class="{event.new}" x="{x:.1f}" y="{y:.1f}" width="{max(width - 1.5, 1):.1f}" '
                f'height="24" rx="4" fill="{colour}" fill-opacity="0.3" stroke="{colour}"/>'
            )
            if width > 70:
                parts.append(_text(Point(x + width / 2, y + 17), event.new.value, size=12))
    height = top + row * len(paths) + 14
    asked = next(event.time for event in seen if event.new is State.STOPPING)
    x = left + (asked - begin) * scale
    parts.append(f'<path d="M {x:.1f} 26 V {height - 14:.0f}" stroke="{SOFT}" stroke-dasharray="3 4"/>')
    parts.append(_text(Point(x, 18), "stop()", size=13))
    parts.append(_text(Point(left, 18), "main()", size=13, anchor="start"))
    return _svg(760, height, "Start order and stop order of a tree, as its events tell it", parts)


# ---- the two lanes of a server

_TASK, _CALL, _SHARED = "#2f9e55", "#c58a1a", "#7b8494"  # of the stream lane, of the fast lane, of both
_COLUMNS = 104, 330, 556, 782
_UPPER, _MIDDLE, _LOWER = 75, 145, 215
_STEP = Point(98, 22)  # half of a box


def lanes() -> str:
    """The way of a connection and of its messages: what calls what, in either lane."""
    first, second, third, fourth = _COLUMNS
    edges = [column + _STEP.x for column in _COLUMNS]
    parts = [
        _text(Point(second - _STEP.x, 30), "stream lane: a handler", weight=600, anchor="start"),
        _text(Point(second - _STEP.x, 268), "fast lane: a protocol", weight=600, anchor="start"),
        _step(Point(first, _MIDDLE), Acceptor.run, "takes connections", _SHARED),
        _step(Point(second, _MIDDLE), Poll.run, "one task for all sockets", _SHARED),
        _step(Point(second, _UPPER), StreamServer._serve, "a task and its stream", _TASK),
        _step(Point(third, _UPPER), SocketStream.ready, "wakes the task", _TASK),
        _step(Point(fourth, _UPPER), SocketStream.receive_some, "your handler goes on", _TASK),
        _step(Point(second, _LOWER), StreamServer._serve_by_poll, "a transport, no task", _CALL),
        _step(Point(third, _LOWER), SocketTransport.ready, "receives, and calls", _CALL),
        _step(Point(fourth, _LOWER), StreamProtocol.data_received, "your callback", _CALL),
        _line(f"M {edges[2]} {_UPPER} L {edges[2] + 27} {_UPPER}", dashed=True),  # in another task
        _line(f"M {edges[2]} {_LOWER} L {edges[2] + 27} {_LOWER}"),
    ]
    for edge in edges[:2]:
        parts.append(_line(f"M {edge} {_MIDDLE - 10} L {edge + 27} {_UPPER + 12}"))
        parts.append(_line(f"M {edge} {_MIDDLE + 10} L {edge + 27} {_LOWER - 12}"))
    return _svg(890, 284, "A connection is accepted and its messages arrive, in the two lanes", parts)


def _step(at: Point, function: Callable[..., object], what: str, colour: str) -> str:
    corner = at - _STEP
    return (
        f'<g class="step"><rect x="{corner.x:.0f}" y="{corner.y:.0f}" width="{2 * _STEP.x:.0f}" '
        f'height="{2 * _STEP.y:.0f}" rx="7" fill="{colour}" fill-opacity="0.16" stroke="{colour}" '
        f'stroke-width="1.5"/>{_text(at + Point(0, -3), function.__qualname__, size=11, weight=600)}'
        f"{_text(at + Point(0, 13), what, size=12)}</g>"
    )


# ---- SVG


def _svg(width: float, height: float, title: str, parts: list[str]) -> str:
    marker = (
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="8.5" refY="5" markerWidth="7.5" markerHeight="7.5" '
        f'orient="auto"><path d="M 0 1 L 9 5 L 0 9 z" fill="{SOFT}"/></marker></defs>'
    )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'style="max-width: {width:.0f}px; width: 100%; height: auto" font-family="inherit">\n'
        f"<title>{escape(title)}</title>\n{marker}\n{body}\n</svg>\n"
    )


def _line(path: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<path d="{path}" fill="none" stroke="{SOFT}" stroke-width="1.6"{dashes} marker-end="url(#tip)"/>'


def _text(
    at: Point, text: str, *, size: int = 14, weight: int = 400, anchor: str = "middle", halo: bool = False
) -> str:
    behind = (
        f' stroke="{PAPER}" stroke-width="6" paint-order="stroke" stroke-linejoin="round"' if halo else ""
    )
    return (
        f'<text x="{at.x:.1f}" y="{at.y:.1f}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}" fill="{INK}"{behind}>{escape(text)}</text>'
    )
