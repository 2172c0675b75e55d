"""Mistakes in what we were told: by a file, a command line, the environment.

Each is one sentence and one hint, for the person who can mend it, and a fault, from which the command line
chooses its exit status.  None of them is worth a traceback of ours.
"""

from __future__ import annotations

import enum

from ..errors import ServiceError

__all__ = ["Fault", "Mistake"]


class Fault(enum.Enum):
    """What kind of mistake it is."""

    MISSING = "missing"  #: there is no such target, be it a file, a module or an attribute
    INVALID = "invalid"  #: the target is there, and is no application
    RAISED = "raised"  #: the target's own code raised
    USAGE = "usage"  #: the command line
    SETTINGS = "settings"  #: a file of settings, or the environment


class Mistake(ServiceError):
    """What we were told cannot be followed.

    Args:
        message: what is wrong, on one line.
        hint: what to do about it.
        fault: the kind of mistake.
        details: what to show above: the user's own traceback.
    """

    def __init__(self, message: str, *, hint: str, fault: Fault, details: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        self.fault = fault
        self.details = details
