"""Answers by asking others, and by remembering what they said.

Questions that wait for the same answer wait together: one is asked, however many want to know, which
also leaves a forger one chance where he would have had a thousand.  Each is an errand of the resolver's own,
so its answer is remembered even if whoever asked has gone.

A server that fails is asked last for some seconds, and told of once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import trio

from ...errors import ServiceStateError
from ...service import Service
from .answers import Answer
from .cache import AnswerCache
from .codes import SERVFAIL
from .events import UpstreamFailed, UpstreamRecovered
from .questions import Question
from .resolvers import Resolver
from .upstreams import NoAnswerError, Upstream, upstream_of

__all__ = ["ForwardResolver"]

_ASKED_LAST = 10.0  # seconds for a server that has failed

# Nobody could be asked; that is not forgotten at once, or the next second brings the same (RFC 9520).
_FAILED = Answer(SERVFAIL, lifetime=5)


class _Errand:
    """A question on its way."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.answer = _FAILED


class ForwardResolver(Resolver, Service):
    """Forwards questions to servers that resolve them, and remembers the answers.

    It serves those clients only that the server names as ``allow_recursion``.  Whom it forwards to is
    trusted: nothing is verified here, and that somebody has verified it (AD) is not passed on.

    Args:
        *upstreams: their addresses, the best first: ``"9.9.9.9"``, ``"[2620:fe::fe]:53"``.
        timeout: seconds that each has for its answer.
        attempts: how often each is tried.
        max_asked: so many questions may be on their way at once; others wait.
        cache_size: so many answers are remembered.
        name: as for :class:`~trioservice.service.Service`; by default ``forward``.

    Raises:
        ValueError: an upstream is no address, there is none, or a limit that cannot be one.
    """

    recursive = True

    def __init__(
        self,
        *upstreams: str,
        timeout: float = 2.0,
        attempts: int = 2,
        max_asked: int = 256,
        cache_size: int = 10_000,
        name: str | None = "forward",
    ) -> None:
        super().__init__(name=name)
        if not upstreams:
            raise ValueError(
                'there is nobody to forward to: give addresses, as in ForwardResolver("9.9.9.9")'
            )
        if not 0 < timeout < math.inf:
            raise ValueError(f"timeout is a number of seconds, not {timeout!r}")
        for limit, value in (("attempts", attempts), ("max_asked", max_asked), ("cache_size", cache_size)):
            if not value >= 1:
                raise ValueError(f"{limit} is a number from 1, not {value!r}")
        self.upstreams = tuple(map(upstream_of, upstreams))
        self.timeout = timeout
        self.attempts = attempts
        self._cache = AnswerCache(cache_size)
        self._limiter = trio.CapacityLimiter(max_asked)
        self._errands: dict[Question, _Errand] = {}
        self._failed_at: dict[Upstream, float] = {}
        self._nursery: trio.Nursery | None = None

    def known(self, question: Question) -> Answer | None:
        """What has been asked before and still holds."""
        return self._cache.get(question, trio.current_time())

    async def find(self, question: Question) -> Answer:
        """Ask, or wait with others for the same answer."""
        errand = self._errands.get(question)
        if errand is None:
            if self._nursery is None:
                raise ServiceStateError(f"{self.path!r} does not run, so it cannot ask; start it before")
            errand = self._errands[question] = _Errand()
            self._nursery.start_soon(self._run_errand, question, errand, name=f"{self.path} errand")
        await errand.over.wait()
        return errand.answer

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        """Have room for errands."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def _run_errand(self, question: Question, errand: _Errand) -> None:
        try:
            async with self._limiter:
                errand.answer = await self._ask(question)
            self._cache.put(question, errand.answer, trio.current_time())
        finally:
            del self._errands[question]
            errand.over.set()

    async def _ask(self, question: Question) -> Answer:
        """Ask one after another, until there is an answer."""
        for _ in range(self.attempts):
            for upstream in self._best_first():
                try:
                    answer = await upstream.ask(question, self.timeout)
                except NoAnswerError as reason:
                    self._note_failure(upstream, reason)
                else:
                    self._note_success(upstream)
                    return answer
        return _FAILED

    # ---- who answers, and who does not

    def _best_first(self) -> Sequence[Upstream]:
        now = trio.current_time()
        return sorted(self.upstreams, key=lambda one: now - self._failed_at.get(one, -math.inf) < _ASKED_LAST)

    def _note_failure(self, upstream: Upstream, reason: NoAnswerError) -> None:
        now = trio.current_time()
        if upstream not in self._failed_at:
            self.emit(UpstreamFailed(self.path, now, str(upstream), str(reason)))
        self._failed_at[upstream] = now

    def _note_success(self, upstream: Upstream) -> None:
        if self._failed_at.pop(upstream, None) is not None:
            self.emit(UpstreamRecovered(self.path, trio.current_time(), str(upstream)))
