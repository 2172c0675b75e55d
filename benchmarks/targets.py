"""The bar: what we want to be, in ratios of one run, and whether we are.

A ratio is taken of every figure that was measured, in rate and in processor time, and none
is chosen for being kinder.  Where our server was not busy all the time, because the load or the way to it and
back was the limit, its rate says little, and the processor time decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .contestants import (
    ASGI,
    C_EPOLL,
    FAST_LANE,
    HYPERCORN,
    NGINX,
    RAW_TRIO,
    SITE,
    SITE_AFRESH,
    STREAM_LANE,
    TWISTED,
    TWISTED_WEB,
    UVICORN_ASYNCIO,
    UVICORN_UVLOOP,
    UVLOOP_PROTOCOL,
    UVLOOP_STREAMS,
)
from .lifecycle import ELAPSED, LIFE, LIVES, OUR_SERVICES, PHASES
from .lives import TREES
from .measuring import BUSY, RATE, Metric, Result
from .names import P99, REPEATED, UNSEEN
from .workloads import MEMORY

BUSY_ENOUGH = 90.0  # percent of a core, above which a server's rate is its own


@dataclass(frozen=True)
class Target:
    """*ours* is to be at least so many times as good as *peer*, or to cost at most so much.

    Args:
        title: of the workload.
        ours: who of us.
        peer: compared with whom; ``None`` for *most* of what is measured.
        least: how many times better; 0.95 is "no more than a little worse".
        most: how many times the peer's cost, or, without a peer, how much.
        unit: of the figure that alone is meant; all, without one.
        strict: rate and processor time must both keep it.
    """

    title: str
    ours: str
    peer: str | None = None
    least: float = 0.0
    most: float = 0.0
    unit: str | None = None
    strict: bool = False

    @property
    def name(self) -> str:
        """Of the workload, and of its part if it has several that are meant."""
        return f"{self.title}, {self.unit.split(',')[0]}" if self.unit in PHASES else self.title

    @property
    def wanted(self) -> str:
        if self.peer is None:
            return f"<= {self.most:g} {str(self.unit).split()[0]}"
        return f">= {self.least:g} x {self.peer}" if self.least else f"<= {self.most:g} x {self.peer}'s"

    def figure(self, metric: Metric) -> float:
        if self.peer is None:
            return metric.median(self.ours)
        ratio = metric.ratio(self.ours, self.peer)
        return ratio if self.least else 1 / ratio

    def keeps(self, figure: float) -> bool:
        return figure >= self.least if self.least else figure <= self.most


_LANES = {STREAM_LANE: "stream lane", FAST_LANE: "fast lane"}
_ECHO, _LARGE, _ONE = "tcp echo 50 x 64 B", "tcp echo 50 x 16 KiB", "tcp echo 1 x 64 B"
_VISITS, _DATAGRAMS, _DATAGRAM = "connect-echo-close", "udp echo 16 in flight", "udp echo 1 in flight"
_IDLE, _KEPT = "memory of 5,000 idle connections", "memory of 5,000 HTTP connections"
_LAUNCH = "launch to first echo"

TARGETS = (
    Target("asgi hello", ASGI, HYPERCORN, 8.0),
    Target("asgi hello", ASGI, UVICORN_ASYNCIO, 1.2),
    Target("asgi hello", ASGI, UVICORN_UVLOOP, 0.95),
    Target(_KEPT, ASGI, most=8.0, unit=MEMORY),
    Target("file of 5.5 KB", SITE, TWISTED_WEB, 4.0),
    Target("file of 5.5 KB", SITE_AFRESH, TWISTED_WEB, 2.5),
    Target("file of 50 MB", SITE, NGINX, 0.8, unit=RATE),
    Target(_ECHO, STREAM_LANE, TWISTED, 1.6),
    Target(_ECHO, STREAM_LANE, RAW_TRIO, 1.9),
    Target(_ECHO, STREAM_LANE, UVLOOP_STREAMS, 1.0),
    Target(_ECHO, FAST_LANE, TWISTED, 2.3),
    Target(_ECHO, FAST_LANE, UVLOOP_PROTOCOL, 0.9),
    Target(_ECHO, FAST_LANE, C_EPOLL, 0.65),
    Target(_LARGE, STREAM_LANE, TWISTED, 1.6),
    Target(_LARGE, FAST_LANE, TWISTED, 2.4),
    Target(_LARGE, FAST_LANE, UVLOOP_PROTOCOL, 0.95),
    Target(_ONE, STREAM_LANE, RAW_TRIO, 0.95, strict=True),
    Target(_ONE, FAST_LANE, TWISTED, 1.1),
    Target(_VISITS, STREAM_LANE, TWISTED, 1.0),
    Target(_VISITS, STREAM_LANE, RAW_TRIO, 2.1),
    Target(_VISITS, FAST_LANE, TWISTED, 1.35),
    Target(_DATAGRAMS, STREAM_LANE, TWISTED, 1.1),
    Target(_DATAGRAM, STREAM_LANE, TWISTED, 0.95),
    Target(_DATAGRAMS, FAST_LANE, TWISTED, 1.3),
    Target(_DATAGRAMS, FAST_LANE, UVLOOP_PROTOCOL, 1.0),
    Target(_DATAGRAM, FAST_LANE, TWISTED, 1.0),
    Target(_DATAGRAM, FAST_LANE, UVLOOP_PROTOCOL, 1.0),
    Target(_IDLE, STREAM_LANE, most=3.2, unit=MEMORY),
    Target(_IDLE, FAST_LANE, most=0.9, unit=MEMORY),
    Target("tls echo 50 x 64 B", STREAM_LANE, TWISTED, 0.85),
    Target("tls handshakes", STREAM_LANE, TWISTED, 1.0),
    Target(REPEATED, FAST_LANE, TWISTED, 40, unit=RATE),
    Target(REPEATED, FAST_LANE, TWISTED, most=1.0, unit=P99),
    Target(UNSEEN, FAST_LANE, TWISTED, 4.5, unit=RATE),
    Target(UNSEEN, FAST_LANE, TWISTED, most=1.0, unit=P99),
    Target(_LAUNCH, STREAM_LANE, TWISTED, most=0.6, unit=ELAPSED),
    Target(_LAUNCH, STREAM_LANE, RAW_TRIO, most=1.15, unit=ELAPSED),
    *(
        Target(f"life of {count} services", OUR_SERVICES, RAW_TRIO, most=most, unit=phase)
        for count in ("10,000", "40,000")
        for phase, most in zip(PHASES, (1.5, 1.1), strict=True)
    ),
    *(Target(LIVES, tree, most=1000 / 300, unit=LIFE) for tree in TREES),  # 300 a second
)


def verdicts(results: Mapping[str, Result]) -> Iterator[str]:
    """The bar, line by line, as far as its workloads were measured."""
    asked = [target for target in TARGETS if target.title in results]
    if not asked:
        return
    yield ""
    yield "== The bar"
    yield f"   {'':<34}{'':<13}{'wanted':<27}{'rate':>7}{'CPU':>7}   "
    for target in asked:
        result = results[target.title]
        lane = _LANES.get(target.ours, target.ours)
        yield f"   {target.name:<34}{lane:<13}{target.wanted:<27}{_found(target, result)}"


def _found(target: Target, result: Result) -> str:
    meant = [metric for metric in result.metrics if metric.decides and target.unit in (None, metric.unit)]
    needed = {target.ours, target.peer or target.ours}
    metrics = [metric for metric in meant if needed <= metric.figures.keys()]
    if not metrics:
        return f"{'-':>7}{'-':>7}   not measured"
    figures = [target.figure(metric) for metric in metrics]
    verdict = _verdict(target, result, dict(zip((metric.unit for metric in metrics), figures, strict=True)))
    if len(figures) == 1:
        return f"{figures[0]:>14.3f}   {verdict}"
    return f"{figures[0]:>7.3f}{figures[1]:>7.3f}   {verdict}"


def _verdict(target: Target, result: Result, figures: Mapping[str, float]) -> str:
    missed = [unit for unit, figure in figures.items() if not target.keeps(figure)]
    side = "BELOW" if target.least else "ABOVE"
    if not missed:
        return "kept"
    if missed == [RATE] and not target.strict and not _was_busy(target.ours, result):
        return "kept by CPU, which decides"
    if len(missed) == len(figures):
        return side
    return f"{side} by {'rate' if missed == [RATE] else 'CPU'}"


def _was_busy(name: str, result: Result) -> bool:
    return any(metric.unit == BUSY and metric.median(name) >= BUSY_ENOUGH for metric in result.metrics)
