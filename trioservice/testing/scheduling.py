"""In which order tasks take their steps: from a seed, or chosen by whoever explores.

trio steps the tasks that can run in an order that means nothing, and shuffles it so that nobody comes to
rely on it.  A test wants the opposite: the same order from the same seed, and, in search of a race, any
order at all.  trio has no public way to say so.  This is the one file that uses private names of trio;
its test tells when they are no longer there.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, MutableSequence, Sequence
from contextlib import contextmanager
from typing import Any

from trio._core import _run

__all__ = ["Chooser", "explored_schedule", "is_available", "seeded_schedule"]


# Whether the order may be chosen at all, and the source of chance that chooses.
_PRIVATE = ("_ALLOW_DETERMINISTIC_SCHEDULING", "_r")


def is_available() -> bool:
    """Whether this trio can be told in which order tasks take their steps."""
    return all(hasattr(_run, name) for name in _PRIVATE)


@contextmanager
def seeded_schedule(seed: object) -> Iterator[None]:
    """Within, each :func:`trio.run` steps its tasks in an order that follows from *seed* alone."""
    with _stepping_by(random.Random(f"schedule {seed}")):
        yield


@contextmanager
def explored_schedule(choices: Sequence[int]) -> Iterator[Chooser]:
    """Within, one task takes a step at a time, and *choices* say which.

    ::

        @given(choices=st.lists(st.integers(0, 7)))
        def test_no_update_is_lost(choices):
            with explored_schedule(choices):
                trio.run(two_clerks)

    Each choice is an index into the tasks that can run, oldest first, modulo their number; when there are no
    more, the oldest is stepped.  So a shorter list is a simpler schedule, and Hypothesis finds the race and
    shrinks it.
    """
    chooser = Chooser(choices)
    with _stepping_by(chooser):
        yield chooser


class Chooser(random.Random):
    """Stands where trio keeps its source of chance, and has one chosen task step at a time.

    Args:
        choices: who is next, each time that there is more than one.

    Attributes:
        steps: the names of the tasks that had a turn when others could have had it.
    """

    def __init__(self, choices: Sequence[int]) -> None:
        super().__init__(0)
        self._choices = iter(choices)
        self.steps: list[str] = []

    def shuffle(self, batch: MutableSequence[Any]) -> None:
        """Leave in *batch*, which trio has sorted by age, the one whose turn it is."""
        if len(batch) < 2:
            return
        chosen = batch.pop(next(self._choices, 0) % len(batch))
        self.steps.append(chosen.name)
        _run.GLOBAL_RUN_CONTEXT.runner.runq.extend(batch)
        batch[:] = [chosen]


@contextmanager
def _stepping_by(chance: random.Random) -> Iterator[None]:
    before = {name: getattr(_run, name) for name in _PRIVATE}
    for name, value in zip(_PRIVATE, (True, chance), strict=True):
        setattr(_run, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(_run, name, value)
