"""What is left of a block is named: threads, descriptors, tasks."""

from __future__ import annotations

import socket
import threading

import pytest
import trio

from trioservice.testing.leaks import no_leaks


def test_what_is_closed_in_time_is_no_leak() -> None:
    with no_leaks(), socket.socket():
        pass


def test_a_descriptor_that_is_left_is_named() -> None:
    kept = []
    with pytest.raises(AssertionError, match="left behind: the descriptor"), no_leaks():
        kept.append(socket.socket())
    kept.pop().close()


def test_a_thread_that_is_left_is_named() -> None:
    end = threading.Event()
    with pytest.raises(AssertionError, match="the thread 'worker'"), no_leaks():
        threading.Thread(target=end.wait, name="worker").start()
    end.set()


async def test_a_task_that_is_left_is_named() -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(AssertionError, match="the task 'sleeper'"), no_leaks():
            nursery.start_soon(trio.sleep_forever, name="sleeper")
        nursery.cancel_scope.cancel()


async def test_threads_that_trio_keeps_are_no_leak() -> None:
    with no_leaks():
        await trio.to_thread.run_sync(list)
