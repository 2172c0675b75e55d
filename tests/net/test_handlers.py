"""What users give us to call."""

from __future__ import annotations

import pytest

from trioservice.net.handlers import awaitable, require_function


async def handler(stream: object) -> None: ...


def test_whatever_can_be_called_will_do() -> None:
    """A lambda that calls an async function is no async function itself, and as good."""
    require_function("handler", handler)
    require_function("handler", lambda stream: handler(stream))


def test_the_call_of_a_function_where_the_function_was_meant_is_named() -> None:
    """And nobody is told that a coroutine was never awaited besides."""
    with pytest.raises(
        TypeError, match=r"that takes a stream, not <coroutine .*; write handler where handler\(\.\.\.\) was"
    ):
        require_function("handler", handler(None))


def test_what_cannot_be_called_is_shown() -> None:
    """With the name of the argument, and what it is called with."""
    with pytest.raises(TypeError, match=r"prepare is an async function that takes data, not 7$"):
        require_function("prepare", 7, "data")


async def test_what_cannot_be_awaited_is_told_in_words() -> None:
    """The likely slip is a `def` that should have been an `async def`."""
    assert await awaitable("the handler", handler(None)) is None
    with pytest.raises(TypeError, match="the handler gave None, which cannot be awaited; is it an async"):
        awaitable("the handler", None)  # type: ignore[arg-type]
