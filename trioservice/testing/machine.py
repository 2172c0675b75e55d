"""A Hypothesis state machine over the life of your application.

::

    class ShopMachine(LifecycleMachine):
        def make(self):
            return make_shop()

        def invariant(self, app):
            assert app["front"].state is not State.RUNNING or app["back"].running

    TestShop = ShopMachine.TestCase

Each rule is one deed.  The life is lived when the script is complete, from the beginning, so nothing is left
over between two attempts, and what Hypothesis prints is a script that can be pasted.  More lives, and longer
ones, are a matter of its settings::

    TestShop.settings = settings(max_examples=1000, stateful_step_count=20)
"""

from __future__ import annotations

from collections.abc import Callable

try:
    from hypothesis import note
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "LifecycleMachine needs Hypothesis: pip install 'trioservice[testing]'", name="hypothesis"
    ) from error

from ..application import Application
from . import scripts
from .faults import Fault
from .lives import live, paths_of
from .scripts import Deed, shown
from .strategies import REQUESTS, faults, injected

__all__ = ["LifecycleMachine"]

_moments = st.sampled_from([0.1, 0.5, 1.0, 5.0, 60.0])


class LifecycleMachine(RuleBasedStateMachine):
    """Starts, stops, cancels, removes, lets go wrong; checks the contract and your own invariant."""

    def make(self) -> Application:
        """Make the application, a new one each time; to be overridden."""
        raise NotImplementedError(
            f"{type(self).__name__} has to override make(), which returns an Application"
        )

    def invariant(self, app: Application) -> None:
        """Assert what is true whenever a service has changed its state; to be overridden."""

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed: int) -> None:
        """Choose a schedule, and know the services."""
        self._seed = seed
        self._script: list[Deed] = []
        leaves, branches = paths_of(self.make())
        self._leaves = list(leaves) or [""]
        self._all = [*leaves, *branches] or [""]

    @rule(seconds=_moments)
    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._script.append(scripts.advance(seconds))

    @rule(act=st.sampled_from(REQUESTS), number=st.integers(0, 20))
    def ask_one(self, act: Callable[[str], Deed], number: int) -> None:
        """Ask something of one service."""
        self._script.append(act(self._all[number % len(self._all)]))

    @rule(deed=st.sampled_from([scripts.shutdown(), scripts.signal(), scripts.cancel(), scripts.again()]))
    def ask_all(self, deed: Deed) -> None:
        """Ask something of the application."""
        self._script.append(deed)

    @rule(fault=faults(), number=st.integers(0, 20))
    def let_go_wrong(self, fault: Fault, number: int) -> None:
        """Let something go wrong in one leaf."""
        self._script.append(injected(self._leaves[number % len(self._leaves)], fault))

    @rule(number=st.integers(0, 7), manner=st.sampled_from(scripts.MANNERS))
    def visit(self, number: int, manner: str) -> None:
        """Have a client come."""
        self._script.append(scripts.visit(number, manner))

    def teardown(self) -> None:
        """Live the life, and judge it."""
        if not hasattr(self, "_script"):
            return
        note(f"live(self.make, {shown(self._script)}, seed={self._seed}, invariant=self.invariant).check()")
        live(self.make, self._script, seed=self._seed, invariant=self.invariant).check()
