"""From a life in which a promise was broken to the shortest script that breaks the same promise.

Deeds are left out, several at a time and then one by one; what is left is made plainer; and the plainest
schedule that will do, seed 0, is tried.  Each attempt is a life, and lives are cheap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from .contract import Breach
from .scripts import Deed, advance
from .workers import Outcome, Plan

__all__ = ["same", "shortest"]

_PLAIN_SECONDS = (0.0, 0.1, 1.0, 5.0)


def shortest(outcome: Outcome, live: Callable[[Plan], Outcome], *, seconds: float = 20.0) -> Outcome:
    """The outcome of the plainest plan that was found in *seconds* of real time.

    Args:
        outcome: of a life in which a promise was broken.
        live: lives one more.
        seconds: how long to search.
    """
    end = time.monotonic() + seconds
    best = outcome
    progress = True
    while progress:
        progress = False
        for plan in _plainer(best):
            if time.monotonic() > end:
                return best
            attempt = live(plan)
            if same(attempt, outcome):
                best, progress = attempt, True
                break
    return best


def same(one: Outcome, other: Outcome) -> bool:
    """Whether the same promise of the same service was broken first in both."""
    return bool(one.breaches) and _kind(one.breaches[0]) == _kind(other.breaches[0])


def _kind(breach: Breach) -> tuple[str, str, str]:
    return breach.rule, breach.path, breach.where


def _plainer(best: Outcome) -> Iterator[Plan]:
    """Plans that are plainer: shorter ones, then those with plainer deeds, then the plainest seed."""
    script, seed = best.script, best.plan.seed
    size = len(script)
    while size:
        for begin in range(0, len(script), size):
            yield Plan(seed, script[:begin] + script[begin + size :])
        size //= 2
    for number, deed in enumerate(script):
        for plain in _plainer_deeds(deed):
            yield Plan(seed, (*script[:number], plain, *script[number + 1 :]))
    if seed:
        yield Plan(0, script)


def _plainer_deeds(deed: Deed) -> Iterator[Deed]:
    *first, last = deed.args or (None,)
    if isinstance(last, float):
        yield from (Deed(deed.verb, (*first, plain)) for plain in _PLAIN_SECONDS if plain < last)
    if deed.verb == "visit":
        yield from (
            Deed("visit", (0, manner)) for manner in ("ask", deed.args[1]) if deed.args != (0, manner)
        )
    if deed.verb == "again":
        yield advance(0.0)
