"""The tree with everybody's stack."""

from __future__ import annotations

import re

import trio

from trioservice import Application, MultiService, Service, TaskService
from trioservice.process.stacks import tree_with_stacks


async def sell() -> None:
    await trio.sleep_forever()  # the line where it is


class Busy(Service):
    """A service with tasks of its own."""

    async def run(self, task_status: trio.TaskStatus[object]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sell, name="a helper")
            task_status.started()


async def test_each_service_stands_with_its_state_its_tasks_and_the_lines_where_they_are() -> None:
    """The path says whose, the last line where; trio's and our own machinery are left out."""
    app = Application(
        "shop",
        MultiService(TaskService(sell, name="till"), name="front"),
        Busy(name="busy"),
        handle_signals=False,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(app.main)
        await trio.testing.wait_all_tasks_blocked()
        text = tree_with_stacks(app)
        await app.stop()
    lines = text.splitlines()
    till = lines[lines.index("shop/front/till: running") :]
    assert re.fullmatch(r" {4}task .*", till[1])
    assert till[till.index("            await trio.sleep_forever()  # the line where it is") - 1].endswith(
        "in sell"
    )
    assert "shop: running" in lines
    assert (
        lines.index("shop: running") < lines.index("shop/front: running") < lines.index("shop/busy: running")
    )
    assert any("a helper" in line for line in lines[lines.index("shop/busy: running") :])
    of_services = text[: text.index("tasks of no service:")]
    assert "site-packages/trio/_core" not in of_services
    assert "trioservice/run.py" not in "\n".join(till[:4])


async def test_what_belongs_to_no_service_stands_at_the_end() -> None:
    """Nothing that runs is left out: whoever embeds a tree has tasks beside it."""
    app = Application("shop", handle_signals=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sell, name="a stranger")
        await trio.testing.wait_all_tasks_blocked()
        text = tree_with_stacks(app)
        nursery.cancel_scope.cancel()
    assert text.index("shop: stopped") < text.index("tasks of no service:") < text.index("task a stranger")
