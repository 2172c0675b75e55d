"""A service that does not stop, and an operator who will not wait for it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from programs import running, trioservice

from trioservice.process.exits import Exit

from .support import IMPORTS, write

pytestmark = pytest.mark.real

STUBBORN = (
    IMPORTS
    + """
async def stubborn():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()  # the line that keeps it

application = Application("app", TaskService(stubborn, stop_timeout=0.05), shutdown_timeout=0.1)
"""
)
BLOCKING = STUBBORN.replace("import trio\n", "import time, trio\n").replace(
    "        await trio.sleep_forever()", "        await trio.sleep(0.3); time.sleep(3600)"
)


@pytest.mark.parametrize("text", [STUBBORN, BLOCKING], ids=["in a shield", "in a call that blocks"])
def test_with_a_limit_the_process_ends_with_a_status_of_its_own(tmp_path: Path, text: str) -> None:
    """It says who was waited for and where that is, and leaves no pid file."""
    pidfile = tmp_path / "app.pid"
    command = trioservice("run", write(tmp_path, text), "--stuck-timeout", "0.4", "--pidfile", pidfile)
    with running(command) as app:
        app.says("app: running")
        app.send(signal.SIGTERM)
        assert app.ends() == Exit.STUCK
        assert "app: not stopped after 0.5 s" in app.err
        assert "it waited for app/stubborn" in app.err
        assert "# the line that keeps it" in app.err
    assert not pidfile.exists()


def test_two_terms_and_a_stuck_service_need_no_kill_9(tmp_path: Path) -> None:
    """With twistd they did (#4406, #6011): the third signal ends the process whatever it does."""
    with running(trioservice("run", write(tmp_path, BLOCKING))) as app:
        app.says("app: running")
        for answer in ("stopping: SIGTERM", "again, so all drains are cut", ""):
            app.send(signal.SIGTERM)
            app.says(answer)
        assert app.ends(within=10) == -signal.SIGTERM
