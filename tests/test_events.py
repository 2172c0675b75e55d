"""Who hears of what, and in which order."""

import logging

import pytest

from trioservice.events import DrainCut, ErrorRaised, Event, Events, StateChanged, StopOverdue, log_event
from trioservice.lifecycle import State


def event(path: str = "shop/web") -> Event:
    return DrainCut(path, 1.0, 2.0)


def test_every_listener_hears_every_event_in_the_order_in_which_it_happened() -> None:
    """An event that a listener causes waits its turn (L19)."""
    events = Events()
    first: list[str] = []
    second: list[str] = []

    def causes_another(happened: Event) -> None:
        first.append(happened.path)
        if happened.path == "a":
            events.emit(event("b"))

    events.subscribe(causes_another)
    events.subscribe(lambda happened: second.append(happened.path))
    events.emit(event("a"))
    assert first == second == ["a", "b"]


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
def test_a_listener_that_raises_is_logged_and_harms_nobody(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the other listeners nor whoever caused the event notice (L19)."""
    events = Events()
    heard: list[Event] = []

    def raises(happened: Event) -> None:
        raise kind("boom")

    events.subscribe(raises)
    events.subscribe(heard.append)
    events.emit(event())
    events.emit(event())
    assert len(heard) == 2
    assert "boom" in caplog.text


def test_a_subscription_can_be_ended_and_a_function_can_have_two() -> None:
    """Each subscription is its own: ending one leaves the other."""
    events = Events()
    heard: list[Event] = []
    end_first = events.subscribe(heard.append)
    end_second = events.subscribe(heard.append)
    events.emit(event())
    end_first()
    end_first()
    events.emit(event())
    end_second()
    events.emit(event())
    assert len(heard) == 3


def test_events_cannot_be_changed_by_who_hears_them() -> None:
    """They are frozen records."""
    with pytest.raises(AttributeError):
        event().path = "other"  # type: ignore[misc]


def test_the_log_carries_the_path_in_the_message_and_as_a_field(caplog: pytest.LogCaptureFixture) -> None:
    """So that both people and machines find it (L20)."""
    caplog.set_level(logging.INFO)
    log_event(StopOverdue("shop/web", 3.0, 12.5, ("app.py:7 in run",)))
    (record,) = caplog.records
    assert record.service == "shop/web"  # type: ignore[attr-defined]
    assert record.getMessage() == "shop/web: still not stopped 12.5 s after it was cancelled: app.py:7 in run"
    assert record.levelno == logging.WARNING


def test_only_an_error_that_comes_out_nowhere_else_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What leaves main is reported there; telling it twice would be noise."""
    caplog.set_level(logging.INFO)
    log_event(ErrorRaised("a", 0.0, ValueError("boom"), "running", alone=False))
    log_event(ErrorRaised("b", 0.0, ValueError("boom"), "stopping", alone=True))
    to_main, alone = caplog.records
    assert (to_main.levelno, to_main.exc_info) == (logging.INFO, None)
    assert alone.levelno == logging.ERROR
    assert alone.exc_info


def test_nothing_is_recorded_where_nobody_would_hear_it(caplog: pytest.LogCaptureFixture) -> None:
    """Events of the most frequent kind are made only if somebody listens."""
    caplog.set_level(logging.WARNING, logger="trioservice")
    events = Events()
    assert not events.heard
    end = events.subscribe(lambda happened: None)
    assert events.heard
    end()
    caplog.set_level(logging.INFO, logger="trioservice")
    assert events.heard


def test_the_time_a_start_took_is_told_in_a_readable_unit() -> None:
    """Milliseconds below a second, seconds above."""
    fast = StateChanged("a", 0.0, State.STARTING, State.RUNNING, 0.0123)
    slow = StateChanged("a", 0.0, State.STARTING, State.RUNNING, 12.34)
    assert str(fast) == "running, after 12.3 ms of starting"
    assert str(slow) == "running, after 12.3 s of starting"
