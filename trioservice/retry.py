"""How often, and how soon again?

Whatever is tried again (an ``accept`` that found no free descriptor, later a restart or a
reconnect) asks the same two questions, so they are answered once, here, without a clock and
without chance: the caller brings both.

The delay before the n-th consecutive try grows geometrically from ``delay`` to ``delay_max``;
``jitter`` adds up to that many seconds, so that a thousand clients cut off by one event do
not come back in one instant.  After ``limit`` consecutive tries the answer is "no more".
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY

from .records import record

__all__ = ["Retry"]


@record
class Retry:
    """A policy for trying again.

    Args:
        delay: seconds before the first retry.
        delay_max: the longest delay in seconds, jitter not counted.
        factor: by how much each delay exceeds the one before; at least 1.
        jitter: at most this many seconds are added to a delay, in proportion to *chance*.
        limit: consecutive tries after which to give up; ``None`` never does.

    Raises:
        ValueError: a field is no number, or out of range; said when the policy is made, not when it is used.

    The defaults are those of Twisted's ``backoffPolicy``: 1 s, times 1.5, to 60 s, plus up to 1 s.
    """

    _: KW_ONLY
    delay: float = 1.0
    delay_max: float = 60.0
    factor: float = 1.5
    jitter: float = 1.0
    limit: int | None = None

    def __post_init__(self) -> None:
        for field in ("delay", "delay_max", "factor", "jitter"):
            if not isinstance(getattr(self, field), int | float):
                raise ValueError(f"{field} is a number, not {getattr(self, field)!r}")
        if not 0 <= self.delay <= self.delay_max:
            raise ValueError(
                f"delay must lie between 0 and delay_max, but delay={self.delay} and "
                f"delay_max={self.delay_max}; were they swapped?"
            )
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"factor must be a finite number of at least 1, not {self.factor}")
        if not 0 <= self.jitter < math.inf:
            raise ValueError(f"jitter is a number of seconds, 0 or more, not {self.jitter}")
        if self.limit is not None and not (isinstance(self.limit, int) and self.limit >= 0):
            raise ValueError(
                f"limit is a whole number of tries, 0 or more, or None for no limit, not {self.limit!r}"
            )

    def next_delay(self, tries: int, chance: float = 0.0) -> float | None:
        """Seconds to wait after *tries* consecutive tries have failed; ``None`` to give up.

        Args:
            tries: how many retries there have been already, 0 for none.
            chance: a number in [0, 1), drawn by the caller, that decides the share of jitter.
        """
        if self.limit is not None and tries >= self.limit:
            return None
        try:
            grown = self.delay * self.factor**tries
        except OverflowError:  # 1.5**2000 is no float, and patient people exist
            grown = self.delay_max
        return min(grown, self.delay_max) + self.jitter * chance
