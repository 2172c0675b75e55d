"""What happens to a server of names: this room's closed list of events."""

from __future__ import annotations

import logging

from ...events import Event
from ...records import record

__all__ = ["FileLoaded", "FileRejected", "QuestionFailed", "UpstreamFailed", "UpstreamRecovered"]


@record
class FileLoaded(Event):
    """A file of names was read: *names* of them; so many lines of it say nothing that can be served."""

    file: str
    names: int
    unread: int = 0

    @property
    def level(self) -> int:
        """Somebody wrote those lines in the belief that they say something."""
        return logging.WARNING if self.unread else logging.INFO

    def __str__(self) -> str:
        but = f"; lines of it that say nothing that can be served: {self.unread}" if self.unread else ""
        return f"{self.names} name{'s' * (self.names != 1)} from {self.file}{but}"


@record
class FileRejected(Event):
    """A file has changed and cannot be read; what it said before goes on being served."""

    file: str
    error: Exception

    @property
    def level(self) -> int:
        """Nothing is broken yet."""
        return logging.WARNING

    def __str__(self) -> str:
        return f"cannot read {self.file} again, so what it said before holds: {self.error}"


@record
class QuestionFailed(Event):
    """A resolver raised an error; whoever asked was told SERVFAIL, and nothing else ended (rule L16)."""

    error: Exception
    times: int = 0

    @property
    def level(self) -> int:
        """A bug, to be mended."""
        return logging.ERROR

    def __str__(self) -> str:
        more = f"; and {self.times} more since the last such line" if self.times else ""
        return f"a question ended with {type(self.error).__name__}: {self.error}{more}"


@record
class UpstreamFailed(Event):
    """A server that others are asked by does not answer, or not as it should; others are asked first."""

    upstream: str
    reason: str

    @property
    def level(self) -> int:
        """Names may not be found."""
        return logging.WARNING

    def __str__(self) -> str:
        return f"{self.upstream} is asked last for a while: {self.reason}"


@record
class UpstreamRecovered(Event):
    """It answers again."""

    upstream: str

    def __str__(self) -> str:
        return f"{self.upstream} answers again"
