"""Answers that may be given again, as long as their times to live allow.

Two generations: the young one takes what is new and what has been asked for again; when it is full
it becomes the old one, and the old one is forgotten.  So what is in use stays, memory is bounded,
and nobody searches for what is to be thrown away.
"""

from __future__ import annotations

from .answers import Answer, aged
from .questions import Question

__all__ = ["AnswerCache"]

_LARGEST = 4096  # bytes of an answer; a larger one is asked for again


class AnswerCache:
    """A bounded memory of answers.

    Args:
        size: how many answers are kept at most.
        longest: seconds after which one is forgotten, whatever it says itself.
    """

    def __init__(self, size: int = 10_000, longest: float = 86_400.0) -> None:
        self._half = max(size // 2, 1)
        self._longest = longest
        self._young: dict[Question, tuple[Answer, float]] = {}
        self._old: dict[Question, tuple[Answer, float]] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, question: Question, now: float) -> Answer | None:
        """What is known at *now*, with its times to live shortened; ``None`` if nothing is, or no longer."""
        kept = self._young.get(question)
        if kept is None:
            kept = self._old.pop(question, None)
            if kept is None:
                return None
            self._keep(question, kept)
        answer, since = kept
        if now - since >= min(answer.lifetime, self._longest):
            return None
        return aged(answer, int(now - since))

    def put(self, question: Question, answer: Answer, now: float) -> None:
        """Remember an answer that came at *now*, if it may live at all."""
        if answer.lifetime > 0 and len(answer.body) <= _LARGEST:
            self._old.pop(question, None)
            self._keep(question, (answer, now))

    def _keep(self, question: Question, kept: tuple[Answer, float]) -> None:
        if len(self._young) >= self._half:
            self._young, self._old = {}, self._young
        self._young[question] = kept
