"""Mistakes: a sentence, a hint and a fault."""

from __future__ import annotations

from trioservice import ServiceError
from trioservice.cli.main import _STATUSES
from trioservice.config.mistakes import Fault, Mistake


def test_a_mistake_is_a_sentence_with_a_hint() -> None:
    """And is caught with all that are ours."""
    mistake = Mistake("no", hint="yes", fault=Fault.USAGE)
    assert (str(mistake), mistake.hint, mistake.details) == ("no", "yes", "")
    assert isinstance(mistake, ServiceError)


def test_each_fault_has_an_exit_status_of_its_own() -> None:
    """So that a supervisor can tell them apart."""
    assert set(_STATUSES) == set(Fault)
    assert len(set(_STATUSES.values())) == len(Fault)
