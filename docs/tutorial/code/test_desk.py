"""The life that `trioservice check` has found, kept as a test."""

from desk_mended import Desk

from trioservice import Application
from trioservice.testing import live
from trioservice.testing.scripts import again


def make():
    return Application("office", Desk(name="desk"))


def test_the_desk_is_free_again():
    live(make, [again()], seed=0).check()
