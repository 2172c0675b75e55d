"""Random trees and faults, and a heart that keeps its promises under them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from trioservice.testing.faults import Stage
from trioservice.testing.lives import live, paths_of
from trioservice.testing.strategies import TreePlan, faults, lifecycle_scripts, service_trees


@settings(max_examples=60, deadline=None, derandomize=True)
@given(tree=service_trees(), data=st.data(), seed=st.integers(0, 99))
def test_the_heart_keeps_its_promises(tree: TreePlan, data: st.DataObject, seed: int) -> None:
    leaves, _ = paths_of(tree.application())
    live(tree.application, data.draw(lifecycle_scripts(list(leaves))), seed=seed).check()


@given(fault=faults("stop"))
def test_faults_are_of_the_stages_that_were_asked_for(fault) -> None:
    assert fault.stage is Stage.STOP
