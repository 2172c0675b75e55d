"""Hypothesis strategies: trees of services, faults, and scripts of what happens to them.

::

    @given(tree=service_trees(), seed=st.integers(0, 999))
    def test_the_heart_keeps_its_promises(tree, seed):
        live(tree.application, seed=seed).check()

A tree is drawn as a :class:`TreePlan`, from which any number of applications can be made.
"""

from __future__ import annotations

import trio

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "trioservice.testing.strategies needs Hypothesis: pip install 'trioservice[testing]'",
        name="hypothesis",
    ) from error

from ..application import Application
from ..records import record
from ..service import MultiService, Service
from . import scripts
from .faults import KINDS, Fault, Stage
from .scripts import Deed

__all__ = ["LeafPlan", "TreePlan", "faults", "lifecycle_scripts", "service_trees"]


@record
class LeafPlan:
    """A leaf that behaves well.

    Args:
        start: seconds until it is ready.
        drain: seconds that its drain takes; ``None`` for a leaf without one.
        cleanup: seconds from its cancellation to its end.
    """

    start: float = 0.0
    drain: float | None = None
    cleanup: float = 0.0

    def service(self) -> Service:
        """A service that behaves so."""
        return Planned(self) if self.drain is None else PlannedWithDrain(self)


@record
class TreePlan:
    """A branch: its *children* in start order, and whether it stays when all of them have finished."""

    children: tuple[LeafPlan | TreePlan, ...] = ()
    keep_running: bool = True

    def service(self) -> Service:
        """A MultiService that is so."""
        return MultiService(*(child.service() for child in self.children), keep_running=self.keep_running)

    def application(self) -> Application:
        """An application that is so."""
        children = (child.service() for child in self.children)
        return Application("app", *children, keep_running=self.keep_running)


class Planned(Service):
    """A leaf that does as planned."""

    def __init__(self, plan: LeafPlan) -> None:
        super().__init__()
        self._plan = plan

    def _default_name(self) -> str:
        return "leaf"

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        """Be ready after a while, and tidy up in the end."""
        await trio.sleep(self._plan.start)
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(self._plan.cleanup, shield=True):
                await trio.sleep_forever()


class PlannedWithDrain(Planned):
    """One that has something to finish."""

    async def drain(self) -> None:
        """Take as long as planned."""
        await trio.sleep(self._plan.drain or 0.0)


_seconds = st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0])


def service_trees(*, depth: int = 3, width: int = 4) -> st.SearchStrategy[TreePlan]:
    """Trees of well-behaved services.

    Args:
        depth: levels below the root, at most.
        width: children of one branch, at most.
    """
    leaf = st.builds(LeafPlan, start=_seconds, drain=st.none() | _seconds, cleanup=_seconds)
    node: st.SearchStrategy[LeafPlan | TreePlan] = leaf
    for _ in range(depth - 1):
        node = leaf | _branches(node, width)
    return _branches(node, width)


def _branches(node: st.SearchStrategy[LeafPlan | TreePlan], width: int) -> st.SearchStrategy[TreePlan]:
    return st.builds(TreePlan, st.lists(node, max_size=width).map(tuple), st.booleans())


def faults(*stages: Stage | str) -> st.SearchStrategy[Fault]:
    """Faults at some stages, or at any: ``start``, ``run``, ``drain``, ``stop``.

    All that :data:`trioservice.testing.faults.KINDS` has; none of them keeps a life from coming to its end.
    """
    chosen = [Stage(stage) for stage in stages] or list(Stage)
    kinds = [(stage, what) for stage in chosen for what in KINDS[stage]]
    return st.builds(lambda kind, seconds: Fault(kind[0], kind[1], seconds), st.sampled_from(kinds), _seconds)


def lifecycle_scripts(paths: list[str], *, max_size: int = 8) -> st.SearchStrategy[list[Deed]]:
    """Scripts of requests and faults.

    Args:
        paths: of the services that may be asked or struck; without any, only the application is.
        max_size: deeds of one script, at most.
    """
    one = st.sampled_from(paths) if paths else st.nothing()
    return st.lists(
        st.one_of(
            st.builds(scripts.advance, _seconds),
            st.sampled_from([scripts.shutdown(), scripts.signal(), scripts.cancel(), scripts.again()]),
            st.builds(lambda act, path: act(path), st.sampled_from(REQUESTS), one),
            st.builds(injected, one, faults()),
        ),
        max_size=max_size,
    )


#: What may be asked of one service.
REQUESTS = (
    scripts.stop,
    scripts.stop_at_once,
    scripts.start,
    scripts.restart,
    scripts.remove,
    scripts.put_back,
)


def injected(path: str, fault: Fault) -> Deed:
    """The deed that lets *fault* strike the service at *path*."""
    return scripts.inject(path, fault.stage.value, fault.what, fault.seconds)
