"""The ways between hosts: how long they take, and what gets lost on them.

A link leads one way, and draws its fates from a random source of its own, which is seeded with the
network's seed and its two ends.  So what happens between two hosts does not depend on what others say
to each other, and adding a host to a test leaves the rest as it was.

A stream's segment is never lost for good: what is lost is sent again, as TCP does, and that takes
time.  A datagram is.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypedDict, Unpack

from ..records import record

__all__ = ["PERFECT", "Changes", "Clock", "Conditions", "Link", "changed"]

# After so long TCP sends again what was lost, and after twice, four times ... that, once more (RFC 6298).
_FIRST_TIMEOUT = 0.2
_LAST_TIMEOUT = 120.0


@record
class Conditions:
    """What a link is like.

    Args:
        latency: seconds for one way, from and to; each crossing draws its own.
        loss: how many of the crossings fail, 0 to 1.
        duplicate: how many of the datagrams arrive twice.
        reorder: how many of the datagrams are overtaken by those sent after them.
        segment: a stream's bytes cross in pieces of at most so many, each on its own.
    """

    latency: tuple[float, float] = (0.0, 0.0)
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    segment: int = 65_536


class Changes(TypedDict, total=False):
    """Some of the conditions, by name; a latency may be one number."""

    latency: float | tuple[float, float]
    loss: float
    duplicate: float
    reorder: float
    segment: int


#: Between two sockets of one process nothing is lost and nothing takes time.
PERFECT = Conditions()


def changed(before: Conditions, **changes: Unpack[Changes]) -> Conditions:
    """*before* with *changes*, each of which is checked.

    Raises:
        ValueError: one of them cannot be; it says which.
    """
    latency = changes.get("latency", before.latency)
    low, high = latency if isinstance(latency, Sequence) else (latency, latency)
    if not 0 <= low <= high < math.inf:
        raise ValueError(f"latency is a number of seconds, or two, the lesser first, not {latency!r}")
    fields: dict[str, Any] = {**changes, "latency": (low, high)}
    after = replace(before, **fields)
    for name in ("loss", "duplicate", "reorder"):
        _require_share(name, getattr(after, name))
    if after.segment < 1:
        raise ValueError(f"segment is a number of bytes from 1, not {after.segment!r}")
    return after


def _require_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"{name} is a share from 0 to 1, not {share!r}")
    if name == "loss" and share == 1:  # a stream's segment would be sent again for ever
        raise ValueError("loss is less than 1; to lose everything cut the link by partition()")


class Clock(Protocol):
    """What a link asks of its network."""

    @property
    def now(self) -> float:
        """The time, in seconds."""

    def at(self, due: float, act: Callable[[], object]) -> None:
        """Call *act* when it is *due*."""


class Link:
    """One way from a host to another.

    Args:
        clock: tells the time and calls when it has come.
        seed: the network's.
        source: the name of the host at its beginning.
        target: the name of the host at its end.
        conditions: what it is like.
    """

    def __init__(self, clock: Clock, seed: object, source: str, target: str, conditions: Conditions) -> None:
        self.source = source
        self.target = target
        self.conditions = conditions
        self._clock = clock
        # A text is hashed the same way by every Python, on every machine.
        self._random = random.Random(f"{seed} {source} {target}")
        self._held: deque[Callable[[], object]] = deque()
        self._cuts = 0

    @property
    def is_cut(self) -> bool:
        """Whether nothing gets across."""
        return self._cuts > 0

    def cut(self) -> None:
        """Let nothing get across, until it has been mended as often as it was cut."""
        self._cuts += 1

    def mend(self) -> None:
        """Undo one cut; what waits sets out again after the last."""
        self._cuts = max(0, self._cuts - 1)
        while self._held and not self._cuts:
            self._held.popleft()()

    def hold(self, set_out: Callable[[], object]) -> None:
        """Call *set_out* when this is mended."""
        self._held.append(set_out)

    def crossing(self) -> float:
        """How many seconds the next crossing takes."""
        low, high = self.conditions.latency
        return low if low == high else self._random.uniform(low, high)

    def _happens(self, share: float) -> bool:
        return share > 0 and self._random.random() < share

    def segment(self) -> tuple[float, int]:
        """How many seconds the next segment takes, and how often it is lost in that time."""
        taken, lost, timeout = self.crossing(), 0, _FIRST_TIMEOUT
        while self._happens(self.conditions.loss):
            taken, lost = taken + timeout, lost + 1
            timeout = min(2 * timeout, _LAST_TIMEOUT)
        return taken, lost

    def datagram(self) -> list[float]:
        """After how many seconds the next datagram arrives: once, not at all, or twice."""
        copies = 2 if self._happens(self.conditions.duplicate) else 1
        return [self._late(self.crossing()) for _ in range(copies) if not self._happens(self.conditions.loss)]

    def _late(self, taken: float) -> float:
        if not self._happens(self.conditions.reorder):
            return taken
        # Overtaken at least by what sets out before the slowest crossing is over.
        return taken + max(self.conditions.latency[1], 0.001) * (1 + self._random.random())

    def carry(self, land: Callable[[], object]) -> None:
        """Call *land* once it has got across, however often that takes a new try."""
        taken, _ = self.segment()
        if taken or self.is_cut:
            self._clock.at(self._clock.now + taken, lambda: self._arrive(land))
        else:
            land()

    def _arrive(self, land: Callable[[], object]) -> None:
        if self.is_cut:
            self.hold(lambda: self.carry(land))
        else:
            land()
