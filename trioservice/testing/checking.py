"""``trioservice check``: thousands of lives of one application, in search of a promise that it breaks.

The first that is found is shrunk to the shortest script that shows it, and told: which rule, whose service,
which line, and what to paste into a test.  The seeds are lived in order, so the same seeds find the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TextIO

from ..config.targets import Maker
from .contract import Breach
from .scripts import shown
from .shrinking import shortest
from .simulated import not_simulated
from .story import drawn
from .workers import Outcome, Plan, Workers

__all__ = ["Finding", "check", "search"]

_LIVES_EACH = 100
_WIDTH = 30


class Finding(NamedTuple):
    """A promise that was broken, in the shortest life that was found to show it.

    Args:
        seed: of the life that showed it first.
        outcome: of the shortest.
        lives: how many were lived until then.
    """

    seed: int
    outcome: Outcome
    lives: int

    @property
    def breach(self) -> Breach:
        """The first promise that was broken."""
        return self.outcome.breaches[0]


def check(
    maker: Maker,
    target: str,
    seeds: Sequence[int],
    *,
    jobs: int,
    explain: bool = False,
    draw: Callable[[str], object] | None = None,
    out: Callable[[str], object],
    progress: TextIO | None,
) -> bool:
    """Search, and tell *out*; whether every promise was kept.

    Args:
        maker: makes the application.
        target: what it is called on the command line.
        seeds: of the lives.
        jobs: how many processes live at a time.
        explain: tell the whole story of the life that is found; of the first, if all is well.
        draw: is called with its picture, as SVG.
        out: is called with what is found.
        progress: how far it is; a terminal, or nothing is shown.
    """
    workers = Workers(maker.make, jobs=jobs, lives_each=_LIVES_EACH if maker.anew else 1)
    begun = time.monotonic()
    finding = search(workers, seeds, _Bar(progress, len(seeds)))
    seconds = time.monotonic() - begun
    if finding is None:
        out(f"{target}: {_lives(len(seeds))}, and every promise was kept ({seconds:.1f} s)\n")
        shown_life = Plan(seeds[0])
    else:
        out(report(target, finding, is_explained=explain))
        shown_life = finding.outcome.plan
    for path, reason in not_simulated(maker.make()):
        out(f"{path} cannot show itself in a simulated life: {reason}\n")
    if explain or draw is not None:
        outcome = workers.live(Plan(shown_life.seed, shown_life.script, wants_story=True))
        if explain:
            out(_told(outcome))
        if draw is not None:
            draw(drawn(outcome.story, _pasteable(outcome)))
    return finding is None


def search(workers: Workers, seeds: Sequence[int], bar: _Bar) -> Finding | None:
    """The broken promise of the first of *seeds* that has one, shrunk."""
    found: dict[int, Outcome] = {}
    waiting = set(seeds)
    lives = 0
    for outcome in workers.live_all(map(Plan, seeds)):
        lives += 1
        bar.show(lives)
        seed = outcome.plan.seed
        waiting.discard(seed)
        if outcome.breaches:
            found[seed] = outcome
        # Those that are lived beside it, and come before it, may find something, too.
        if found and not any(seed < min(found) for seed in waiting):
            break
    bar.clear()
    if not found:
        return None
    first = min(found)
    return Finding(first, shortest(found[first], workers.live), lives)


def report(target: str, finding: Finding, *, is_explained: bool = False) -> str:
    """What a person is to read; unless the story *is_explained* as well, also how to have it."""
    breach, outcome = finding.breach, finding.outcome
    lines = [f"{target}: a promise was broken, in life {finding.lives} (seed {finding.seed})", ""]
    lines += [f"  {breach}", *([f"    at {_nearby(breach.where)}"] if breach.where else []), ""]
    lines += ["The shortest life that shows it:", ""]
    lines += [f"  {line}" for line in _pasteable(outcome).splitlines()]
    if not is_explained:
        lines += ["", f"`trioservice check {target} --seed {finding.seed} --explain` tells the whole story."]
    return "\n".join(lines) + "\n"


def _nearby(where: str) -> str:
    """A line of source, as seen from the present folder if it is below that."""
    return where.removeprefix(os.getcwd() + os.sep)


def _pasteable(outcome: Outcome) -> str:
    return f"live(make, {shown(outcome.script)}, seed={outcome.plan.seed}).check()"


def _told(outcome: Outcome) -> str:
    """The story of a life, below what would make it again."""
    return f"\n{_pasteable(outcome)}\n\n" + "".join(f"{line}\n" for line in outcome.story)


def _lives(number: int) -> str:
    return "1 life" if number == 1 else f"{number} lives"


class _Bar:
    """How far it is, on a terminal."""

    def __init__(self, stream: TextIO | None, total: int) -> None:
        self._total = total
        self._stream = stream if stream is not None and stream.isatty() else None
        self._shown = 0.0

    def show(self, count: int) -> None:
        now = time.monotonic()
        if self._stream is not None and now - self._shown > 0.1:
            self._shown = now
            full = _WIDTH * count // self._total
            bar = "█" * full + "░" * (_WIDTH - full)
            self._stream.write(f"\r{bar} {count} of {_lives(self._total)}")
            self._stream.flush()

    def clear(self) -> None:
        if self._stream is not None:
            self._stream.write("\r\033[K")
