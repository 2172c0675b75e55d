"""The tree of an application, drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from trioservice import Application, MultiService, Service, TaskService, TCPServer
from trioservice.cli import main
from trioservice.cli.plan import drawn


async def nothing() -> None:
    raise AssertionError("a plan starts nothing")


class Pool(Service):
    async def drain(self) -> None:
        raise AssertionError("a plan starts nothing")


def test_a_nested_tree_is_drawn_in_start_order_with_its_facts() -> None:
    """One line for each service: what it is, where it will listen, how long it may take."""
    tree = Application(
        "shop",
        MultiService(
            Pool(name="pool", drain_timeout=2.5, start_timeout=3),
            MultiService(TaskService(nothing), name="jobs"),
            name="back",
        ),
        MultiService(
            TCPServer(8080, nothing, host="127.0.0.1", name="web"),
            TCPServer(0, nothing, name="admin"),
            name="front",
            drain_timeout=7,
        ),
        Service(name="last"),
        shutdown_timeout=20,
    )
    assert drawn(tree) == (
        "shop  (Application, drains for up to 20 s)\n"
        "├─ back  (MultiService)\n"
        "│  ├─ pool  (Pool, drains for up to 2.5 s, ready within 3 s)\n"
        "│  └─ jobs  (MultiService)\n"
        "│     └─ nothing  (TaskService)\n"
        "├─ front  (MultiService, drains for up to 7 s)\n"
        "│  ├─ web  (TCPServer, tcp:8080:interface=127.0.0.1, drains for up to 5 s)\n"
        "│  └─ admin  (TCPServer, tcp:0, drains for up to 5 s)\n"
        "└─ last  (Service)\n"
    )


def test_a_tree_without_a_limit_says_nothing_of_one() -> None:
    """What is not bounded is not shown as `inf`."""
    tree = Application("bare", TCPServer(1, nothing, name="web", drain_timeout=None), shutdown_timeout=None)
    assert drawn(tree) == (
        "bare  (Application)\n└─ web  (TCPServer, tcp:1, drains without a limit of its own)\n"
    )


def test_the_command_prints_the_tree_and_starts_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file can be looked at on any machine, without its ports or privileges."""

    def run(*_: object, **__: object) -> None:
        raise AssertionError("a plan starts nothing")

    monkeypatch.setattr(trio, "run", run)
    path = tmp_path / "shop.tac"
    path.write_text(
        "from trioservice import *\n"
        "web = TCPServer(80, print, name='web')\n"
        "application = Application('shop', web, uid='nobody', shutdown_timeout=None)\n"
    )
    assert main(["plan", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out == ("shop  (Application)\n└─ web  (TCPServer, tcp:80, drains for up to 5 s)\n")
    assert err == ""
