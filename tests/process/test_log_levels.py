"""How loud a record must be."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioservice.process.log_levels import Levels, set_level

from .support import as_in_a_fresh_process, record

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR


class Ear(logging.Handler):
    """Hears what it is sent."""

    def __init__(self, levels: Levels | None) -> None:
        super().__init__()
        self.heard: list[str] = []
        logging.getLogger().addHandler(self)
        if levels is not None:
            self.addFilter(levels)
            levels.open_gate()

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


@as_in_a_fresh_process()
def test_without_names_one_level_counts_for_all() -> None:
    """Loggers do not even make what nobody wants."""
    ear = Ear(Levels(WARNING))
    logging.getLogger("a").info("quiet")
    logging.getLogger("a").warning("loud")
    assert ear.heard == ["loud"]
    assert not logging.getLogger("a").isEnabledFor(INFO)


@pytest.mark.parametrize(
    ("service", "logger", "least"),
    [
        ("shop/web", "x", DEBUG),
        ("shop/web/pool", "x", DEBUG),
        ("shop/website", "x", WARNING),
        ("shop", "x", WARNING),
        (None, "db.engine", ERROR),
        (None, "db.engine.pool", ERROR),
        (None, "db", INFO),
        (None, "database", WARNING),
        ("shop/web", "db.engine", DEBUG),  # a service before a logger
    ],
)
@as_in_a_fresh_process()
def test_the_longest_name_counts_and_a_service_before_a_logger(
    service: str | None, logger: str, least: int
) -> None:
    """Whole names only."""
    levels = Levels(WARNING, [("shop/web", DEBUG), ("db.engine", ERROR), ("db", INFO)])
    for level in (DEBUG, INFO, WARNING, ERROR):
        one = record(level=level, name=logger, service=service)
        assert levels.filter(one) is (level >= least)


@as_in_a_fresh_process()
def test_it_can_be_changed_while_the_process_runs_and_taken_back() -> None:
    """For one service, for one logger, for all."""
    ear = Ear(Levels(WARNING))
    log = logging.getLogger("db")
    log.debug("one")
    set_level("db", "debug")
    log.debug("two")
    logging.getLogger("other").debug("three")
    set_level("db", None)
    log.debug("four")
    set_level("", INFO)
    log.info("five")
    set_level("", None)
    log.info("six")
    log.debug("seven")
    assert ear.heard == ["two", "five", "six"]


@as_in_a_fresh_process()
def test_a_level_that_there_is_not_is_told_with_those_that_there_are() -> None:
    """A typing error must not silence a log."""
    with pytest.raises(ValueError, match=r"'LOUD' is no level; there are .*WARNING"):
        set_level("db", "LOUD")


@as_in_a_fresh_process()
def test_a_level_that_a_logger_was_given_counts_whatever_is_named() -> None:
    """The application has said so, in Python's own words."""
    ear = Ear(Levels(WARNING))
    orders = logging.getLogger("test_log_levels.orders")
    orders.setLevel(DEBUG)
    orders.debug("one")
    set_level("shop/web", DEBUG)
    orders.debug("two")
    logging.getLogger("test_log_levels.other").debug("three")
    orders.setLevel(logging.NOTSET)
    assert ear.heard == ["one", "two"]


@as_in_a_fresh_process()
def test_it_can_be_changed_where_the_application_has_set_up_logging_itself() -> None:
    """Its handlers, its level; until somebody says otherwise."""
    ear = Ear(None)
    logging.getLogger().setLevel(ERROR)
    logging.warning("one")
    set_level("shop/web", DEBUG)
    logging.debug("two", extra={"service": "shop/web/pool"})
    logging.warning("three")
    assert ear.heard == ["two"]


@given(
    st.integers(1, 60),
    st.dictionaries(st.sampled_from(["a", "a.b", "c", "shop", "shop/web"]), st.integers(1, 60)),
    st.sampled_from(["a", "a.b", "a.b.c", "c", "d"]),
    st.sampled_from([None, "shop", "shop/web", "shop/web/x", "other"]),
    st.integers(1, 60),
)
def test_the_gate_is_never_lower_than_what_somebody_wants(
    default: int, named: dict[str, int], logger: str, service: str | None, level: int
) -> None:
    """Or a record would not be made that the filter would let through."""
    levels = Levels(default, named.items())
    with as_in_a_fresh_process():
        levels.open_gate()
        gate = logging.getLogger().level
    if named and levels.filter(record(level=level, name=logger, service=service)):
        assert level >= gate
