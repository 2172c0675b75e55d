"""The life of a service, as a table.

Six states and six moves.  All transitions live here, and nothing here knows whether it is a
leaf or a branch that moves, who asked, or what time it is: :mod:`trioservice.run` decides
*when* a move is made, this file *whether* there is such a move.  The diagram in the
documentation is drawn from this table and the property tests walk along it.

Two things may surprise.  A branch in which a child fails does not become FAILED at once: it
is asked to stop (STOPPING), stops the other children in order, and only then has FAILED.
And FAILED, FINISHED and STOPPED are places to start from, alike: a service that ended can
always be started again (rule L3).
"""

from __future__ import annotations

import enum
from types import MappingProxyType

__all__ = ["MOVES", "Move", "State"]


class State(enum.StrEnum):
    """Where a service is in its life."""

    STOPPED = "stopped"  #: never ran, or was stopped
    STARTING = "starting"  #: runs, and has not yet said that it is ready
    RUNNING = "running"  #: ready
    STOPPING = "stopping"  #: was asked to end; drains, or cleans up after its cancellation
    FINISHED = "finished"  #: returned by itself, its work done
    FAILED = "failed"  #: ended with an error


class Move(enum.StrEnum):
    """What may happen to a service."""

    START = "start"  #: its life begins
    READY = "ready"  #: it called ``task_status.started()``
    STOP = "stop"  #: it is asked to end
    END = "end"  #: it has ended after having been asked to
    FINISH = "finish"  #: it returned unasked
    FAIL = "fail"  #: it ended with an error


#: Which state follows; a pair that is not here cannot happen.
MOVES = MappingProxyType(
    {
        (State.STOPPED, Move.START): State.STARTING,
        (State.FINISHED, Move.START): State.STARTING,
        (State.FAILED, Move.START): State.STARTING,
        (State.STARTING, Move.READY): State.RUNNING,
        (State.STARTING, Move.STOP): State.STOPPING,
        (State.STARTING, Move.FAIL): State.FAILED,
        (State.RUNNING, Move.STOP): State.STOPPING,
        (State.RUNNING, Move.FINISH): State.FINISHED,
        (State.RUNNING, Move.FAIL): State.FAILED,
        (State.STOPPING, Move.END): State.STOPPED,
        (State.STOPPING, Move.FAIL): State.FAILED,
    }
)
