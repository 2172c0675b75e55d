"""Whatever happens to a tree, whenever it happens, the contract holds."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from world import Act, Branch, Leaf, acts, judge, live, trees

EXAMPLES = int(os.environ.get("TRIOSERVICE_EXAMPLES", "400"))
patient = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    # Thousands of failing services would bury the one that matters.
    caplog.set_level("CRITICAL", logger="trioservice")


def check(plan: Branch, script: list[Act], shutdown_timeout: float | None = 30.0) -> None:
    life = live(plan, script, shutdown_timeout=shutdown_timeout)
    complaints = judge(life)
    if complaints:
        for number, event, _ in life.events:
            note(f"{number:4} {event.time:9.2f} {event.path}: {type(event).__name__} {event}")
        for entry in life.diary:
            note(f"{entry.number:4} {entry.time:9.2f} {entry.path} {entry.what} {entry.error or ''}")
        for outcome in life.outcomes:
            note(f"{outcome}")
    assert complaints == []


@patient
@given(plan=trees(), script=st.lists(acts, max_size=5))
def test_the_contract_holds_whatever_is_done_to_a_tree(plan: Branch, script: list[Act]) -> None:
    """Random trees, random faults, random requests at random moments: every rule holds."""
    check(plan, script)


@patient
@given(plan=trees(3), stop=acts.filter(lambda act: act.what in ("stop all", "cancel", "signal")))
def test_the_contract_holds_when_nobody_meddles(plan: Branch, stop: Act) -> None:
    """A tree that is only started and stopped is held to the strictest reading of each rule."""
    check(plan, [stop])


@patient
@given(plan=trees(2), script=st.lists(acts, min_size=3, max_size=8), budget=st.sampled_from([None, 0.0, 2.0]))
def test_the_contract_holds_under_many_requests_at_once(
    plan: Branch, script: list[Act], budget: float | None
) -> None:
    """Small trees under a hail of requests, with other budgets for the shutdown."""
    check(plan, script, budget)
