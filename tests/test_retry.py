"""How often, how soon again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioservice.retry import Retry

policies = st.builds(
    Retry,
    delay=st.floats(0, 2),
    delay_max=st.floats(2, 100),
    factor=st.floats(1, 4),
    jitter=st.floats(0, 3),
    limit=st.none() | st.integers(0, 6),
)


@given(policies, st.integers(0, 10), st.floats(0, 0.999))
def test_delays_stay_between_the_first_and_the_longest_plus_jitter(
    retry: Retry, tries: int, chance: float
) -> None:
    """However often it was tried, nobody waits less than delay or more than delay_max + jitter."""
    delay = retry.next_delay(tries, chance)
    if delay is None:
        assert retry.limit is not None
        assert tries >= retry.limit
    else:
        assert retry.limit is None or tries < retry.limit
        assert retry.delay <= delay <= retry.delay_max + retry.jitter


@given(policies, st.integers(0, 10))
def test_delays_grow_by_the_factor_until_they_are_capped(retry: Retry, tries: int) -> None:
    """Each delay is the one before times the factor, or the longest."""
    before, after = retry.next_delay(tries), retry.next_delay(tries + 1)
    if before is not None and after is not None:
        assert after == pytest.approx(min(before * retry.factor, retry.delay_max))


@pytest.mark.parametrize(("attempt", "delay"), [(0, 2), (1, 2.5), (10, 58.6650390625), (20, 61)])
def test_the_defaults_are_those_of_twisted(attempt: int, delay: float) -> None:
    """Twisted's own test of its backoff policy: jitter 1, attempts 0, 1, 10, 20."""
    # Conformance row 35; the largest chance below 1 stands for a jitter that always gives 1.
    assert Retry().next_delay(attempt, math.nextafter(1, 0)) == pytest.approx(delay)


def test_a_million_tries_do_not_overflow() -> None:
    """Patience beyond the range of a float is answered with the longest delay."""
    assert Retry(factor=1e10, jitter=0).next_delay(1_000_000) == 60.0  # conformance row 36


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"delay": 5, "delay_max": 1}, "swapped"),
        ({"delay": -1}, "delay"),
        ({"delay": math.nan}, "delay"),
        ({"delay": "1"}, "delay is a number, not '1'"),
        ({"delay_max": None}, "delay_max is a number, not None"),
        ({"factor": "2"}, "factor is a number, not '2'"),
        ({"jitter": None}, "jitter is a number, not None"),
        ({"factor": 0.5}, "factor"),
        ({"factor": math.inf}, "factor"),
        ({"jitter": -1}, "jitter"),
        ({"limit": -1}, "limit"),
        ({"limit": 1.5}, "limit is a whole number of tries, .*, not 1.5"),
        ({"limit": "3"}, "limit is a whole number of tries, .*, not '3'"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_when_it_is_made(wrong: dict[str, object], word: str) -> None:
    """The message names the field."""
    with pytest.raises(ValueError, match=word):
        Retry(**wrong)  # type: ignore[arg-type]
