"""The shortest script: deeds are left out, and what is left is made plainer."""

from __future__ import annotations

from trioservice.testing.contract import Breach
from trioservice.testing.scripts import advance, restart, stop, visit
from trioservice.testing.shrinking import same, shortest
from trioservice.testing.workers import Outcome, Plan

BREACH = Breach("L3", "shop/b", "cannot be started again")


def lived(plan: Plan) -> Outcome:
    """Broken is what restarts b after a second."""
    script = plan.script or ()
    late = any(deed.verb == "advance" and deed.args[0] >= 1.0 for deed in script)
    broken = late and restart("shop/b") in script
    return Outcome(plan, tuple(script), (BREACH,) if broken else ())


def test_only_what_is_needed_is_left() -> None:
    script = (
        stop("shop/a"),
        advance(65.0),
        visit(3, "stay"),
        restart("shop/b"),
        advance(5.0),
    )
    found = shortest(lived(Plan(17, script)), lived)
    assert found.plan == Plan(0, (restart("shop/b"), advance(1.0)))


def test_another_breach_is_another_matter() -> None:
    one = Outcome(Plan(0), (), (BREACH,))
    assert same(one, one)
    assert not same(Outcome(Plan(0), (), (Breach("L6", "shop/b", ""),)), one)
    assert not same(Outcome(Plan(0), ()), one)
