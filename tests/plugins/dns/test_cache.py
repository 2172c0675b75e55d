"""Answers that may be given again: for as long as they live, and not more of them than there is room for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from trioservice.plugins.dns.answers import Answer
from trioservice.plugins.dns.cache import AnswerCache
from trioservice.plugins.dns.names import from_text
from trioservice.plugins.dns.questions import Question

KEPT = Answer(
    counts=(1, 0, 0), body=b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1", needed=16, lifetime=60, ttls=(6,)
)


def asked(name: str) -> Question:
    return Question(from_text(name), 1)


def test_an_answer_is_given_again_until_it_has_lived() -> None:
    cache = AnswerCache()
    cache.put(asked("a.test"), KEPT, 100.0)
    assert cache.get(asked("a.test"), 100.5) == KEPT
    later = cache.get(asked("a.test"), 159.9)
    assert later is not None
    assert later.body[6:10] == b"\0\0\0\1"
    assert cache.get(asked("a.test"), 160.0) is None
    assert cache.get(asked("b.test"), 100.0) is None


def test_signatures_make_another_question() -> None:
    cache = AnswerCache()
    cache.put(asked("a.test"), KEPT, 0.0)
    assert cache.get(asked("a.test")._replace(dnssec_ok=True), 0.0) is None


def test_what_may_not_live_is_not_kept_and_nothing_lives_for_ever() -> None:
    cache = AnswerCache(longest=10)
    cache.put(asked("a.test"), KEPT._replace(lifetime=0), 0.0)
    cache.put(asked("b.test"), KEPT._replace(body=b"x" * 5000, ttls=()), 0.0)
    assert len(cache) == 0
    cache.put(asked("c.test"), KEPT, 0.0)
    assert cache.get(asked("c.test"), 9.9)
    assert cache.get(asked("c.test"), 10.0) is None


@settings(deadline=None)
@given(st.integers(2, 20), st.lists(st.integers(0, 50), max_size=200))
def test_it_never_keeps_more_than_it_may(size: int, names: list[int]) -> None:
    cache = AnswerCache(size)
    for name in names:
        if cache.get(asked(f"n{name}.test"), 0.0) is None:
            cache.put(asked(f"n{name}.test"), KEPT, 0.0)
        assert cache.get(asked(f"n{name}.test"), 0.0)
        assert len(cache) <= size


def test_what_is_asked_for_stays() -> None:
    cache = AnswerCache(10)
    cache.put(asked("often.test"), KEPT, 0.0)
    for number in range(100):
        cache.put(asked(f"n{number}.test"), KEPT, 0.0)
        assert cache.get(asked("often.test"), 0.0), number
