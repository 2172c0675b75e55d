"""A diary is a second witness: it takes down what services did, whatever is told of them."""

from __future__ import annotations

import pytest
import trio

from trioservice import Application, MultiService, Service, TaskService
from trioservice.testing.contract import check_contract
from trioservice.testing.diary import (
    BoundTo,
    BranchSeen,
    Diary,
    DrainBegan,
    DrainEnded,
    Entered,
    Left,
    Released,
    SaidReady,
)


class Desk(Service):
    async def privileged_start(self, stack) -> None:
        stack.callback(list)

    async def drain(self) -> None:
        await trio.sleep(1)


async def lived(*services: Service, add: Service | None = None) -> Diary:
    app = Application("app", *services, handle_signals=False)
    diary = Diary(app)
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        if add is not None:
            await app.start_service(add)
        await app.stop()
    assert check_contract(diary.events) == []
    return diary


def told_of(diary: Diary, path: str) -> list[type]:
    return [type(event) for event in diary.events if event.path == path]


async def test_all_that_a_service_does_is_taken_down_in_order(autojump_clock) -> None:
    diary = await lived(Desk(name="desk"))
    own = [BoundTo, Entered, SaidReady, DrainBegan, DrainEnded, Left, Released]
    assert [kind for kind in told_of(diary, "app/desk") if kind in own] == own


async def test_who_comes_later_has_a_diary_too(autojump_clock) -> None:
    diary = await lived(add=MultiService(Service(name="late"), name="wing"))
    assert Entered in told_of(diary, "app/wing/late")


async def test_a_branch_is_seen_with_its_options(autojump_clock) -> None:
    diary = await lived(MultiService(Service(name="a"), name="b", drain_timeout=3, keep_running=True))
    seen = next(event for event in diary.events if isinstance(event, BranchSeen) and event.path == "app/b")
    assert (seen.children, seen.drain_timeout, seen.keep_running) == (("app/b/a",), 3, True)


async def test_the_error_that_left_a_run_is_taken_down(autojump_clock) -> None:
    async def fails() -> None:
        raise KeyError("nobody")

    app = Application("app", TaskService(fails, name="worker"), handle_signals=False)
    diary = Diary(app)
    with pytest.raises(BaseExceptionGroup):
        await app.main()
    (left,) = (event for event in diary.events if isinstance(event, Left))
    assert isinstance(left.error, KeyError)
    assert str(left) == "run() is left by KeyError"


async def test_what_a_service_says_with_its_readiness_arrives(autojump_clock) -> None:
    async def says(task_status) -> None:
        task_status.started("a value")
        await trio.sleep_forever()

    service = TaskService(says)
    Diary(Application("app", service))
    async with trio.open_nursery() as nursery:
        assert await nursery.start(service.parent.main) is None
        await service.parent.stop()


def test_a_service_is_found_by_its_path_and_nobody_else() -> None:
    app = Application("app", MultiService(Service(name="a"), name="b"))
    diary = Diary(app)
    assert diary.find("app") is app
    assert diary.find("app/b/a") is app["b"]["a"]
    assert diary.find("app/b/a/x") is None
    assert diary.find("app/c") is None
