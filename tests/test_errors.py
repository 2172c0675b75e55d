"""What a person at the keyboard is told."""

import contextlib
import traceback

import pytest
import trio

from trioservice.errors import (
    CannotListenError,
    ServiceError,
    ServicesFailed,
    StartTimeoutError,
    UnknownServiceError,
    failed,
    flatten,
    paths_of,
    report,
    users_traceback,
)


def raised(error: Exception) -> Exception:
    with contextlib.suppress(type(error)):
        raise error
    return error


def test_groups_are_taken_apart_and_each_part_says_where_it_comes_from() -> None:
    """However deep a leaf's own nurseries nest, what comes out is flat, with one note each (L14)."""
    one, two = ValueError("one"), KeyError("two")
    group = ExceptionGroup("outer", [one, ExceptionGroup("inner", [two])])
    group.add_note("while counting")
    assert list(flatten(group, "shop/web")) == [one, two]
    assert paths_of(one) == paths_of(two) == ["shop/web"]
    assert "while counting" in two.__notes__


def test_an_error_raised_again_by_the_same_service_keeps_one_note() -> None:
    """A restarted service may raise the very same object."""
    error = ValueError("one")
    list(flatten(error, "a"))
    list(flatten(error, "a"))
    assert error.__notes__ == ["in service a"]


def test_the_message_of_the_group_names_the_culprits() -> None:
    """So that even one line of a log tells who it was."""
    errors = [*flatten(ValueError("x"), "shop/db"), *flatten(KeyError("y"), "shop/web")]
    group = failed("shop", [error for error in errors if isinstance(error, Exception)])
    assert str(group) == "shop: shop/db, shop/web failed (2 sub-exceptions)"


def test_what_is_left_after_an_except_star_is_still_of_our_kind() -> None:
    """A report can be made of the rest."""
    with pytest.raises(ServicesFailed) as rest:
        try:
            raise ServicesFailed("shop failed", [ValueError("x"), KeyError("y")])
        except* ValueError:
            pass
    assert [type(error) for error in rest.value.exceptions] == [KeyError]


def test_a_report_begins_with_the_path_and_shows_only_the_users_lines() -> None:
    """No group, no frame of the machinery, no note twice."""
    (error,) = flatten(raised(ValueError("boom")), "shop/web")
    text = report([error])
    first, *rest = text.splitlines()
    assert first == "shop/web failed"
    assert rest[-1] == "  ValueError: boom"
    assert "in service" not in text
    assert "test_errors.py" in text


def test_a_report_shows_what_led_to_an_error_too() -> None:
    """The chain of causes is kept, and shortened alike."""

    def chain() -> Exception:
        try:
            try:
                raise KeyError("first")
            except KeyError as first:
                raise ValueError("second") from first
        except ValueError as second:
            return second

    (error,) = flatten(chain(), "shop")
    text = report([error])
    assert "direct cause" in text
    assert text.index("KeyError") < text.index("ValueError")


def test_an_error_that_is_a_sentence_already_is_told_without_a_traceback() -> None:
    """Ours are written for the operator."""
    (error,) = flatten(raised(StartTimeoutError("not ready within 2 s")), "shop/db")
    assert report([error]) == "shop/db: not ready within 2 s\n"


@pytest.mark.parametrize(
    "error", [CannotListenError(98, "port 80 is taken"), UnknownServiceError("no child named 'x'")]
)
def test_errors_print_as_sentences(error: ServiceError) -> None:
    """Whatever builtin they derive from: neither an errno in brackets nor the repr of a key."""
    assert str(error) in ("port 80 is taken", "no child named 'x'")


def test_a_traceback_for_the_user_has_the_users_steps_only() -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError) as caught:
        trio.run(fail)
    steps = [frame.f_code.co_name for frame, _ in traceback.walk_tb(users_traceback(caught.tb))]
    assert steps == ["test_a_traceback_for_the_user_has_the_users_steps_only", "fail"]


def test_a_traceback_without_the_users_steps_stays_whole() -> None:
    with pytest.raises(RuntimeError) as caught:
        trio.current_time()
    ours = caught.tb.tb_next
    assert ours is not None
    assert users_traceback(ours) is ours
    assert users_traceback(None) is None
