"""The state machine: it finds what breaks, by the contract and by an invariant of the user's own."""

from __future__ import annotations

import importlib
import sys

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from trioservice import Application, Service, State
from trioservice.testing.lives import BrokenPromise
from trioservice.testing.machine import LifecycleMachine

from . import planted

quick = settings(max_examples=40, stateful_step_count=6, deadline=None, derandomize=True, database=None)


class Sound(LifecycleMachine):
    def make(self) -> Application:
        return Application("shop", Service(name="back"), Service(name="front"))

    def invariant(self, app) -> None:
        if app.state is State.STOPPED:
            assert not app["front"].running


class Wrong(Sound):
    def invariant(self, app) -> None:
        assert not app["front"].running


class Planted(LifecycleMachine):
    def make(self) -> Application:
        return planted.no_finally()


def test_a_sound_application_passes() -> None:
    run_state_machine_as_test(Sound, settings=quick)


def test_a_broken_promise_is_found_and_shown_as_a_script() -> None:
    with pytest.raises(BrokenPromise, match="L3: shop/Desk cannot be started again") as caught:
        run_state_machine_as_test(Planted, settings=quick)
    assert "live(self.make, [" in "".join(caught.value.__notes__)


def test_a_broken_invariant_is_found() -> None:
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(Wrong, settings=quick)
    assert "invariant=self.invariant).check()" in "".join(caught.value.__notes__)


def test_without_hypothesis_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    for name in ("machine", "strategies"):
        monkeypatch.delitem(sys.modules, f"trioservice.testing.{name}", raising=False)
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'trioservice\[testing\]'"):
            importlib.import_module(f"trioservice.testing.{name}")
