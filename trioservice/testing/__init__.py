"""What a test of your services can use: simulated lives, the contract as a checker, a network in memory.

The names below open their files when they are first asked for: pytest looks in here for fixtures whenever it
starts, and most of its runs want none of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..rooms import opener

if TYPE_CHECKING:
    from .contract import Breach, check_contract
    from .faults import InjectedFault
    from .lives import BrokenPromise, Life, live
    from .network import SimNetwork
    from .scheduling import explored_schedule, seeded_schedule
    from .sim_sockets import NotSimulatedError
    from .within import running

__all__ = [
    "Breach",
    "BrokenPromise",
    "InjectedFault",
    "Life",
    "NotSimulatedError",
    "SimNetwork",
    "check_contract",
    "explored_schedule",
    "live",
    "running",
    "seeded_schedule",
]

# The same for those who run the program; a test holds the two together.
_ROOMS = {
    "contract": ("Breach", "check_contract"),
    "faults": ("InjectedFault",),
    "lives": ("BrokenPromise", "Life", "live"),
    "network": ("SimNetwork",),
    "scheduling": ("explored_schedule", "seeded_schedule"),
    "sim_sockets": ("NotSimulatedError",),
    "within": ("running",),
}

__getattr__ = opener(__name__, _ROOMS)
