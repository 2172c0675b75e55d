"""The order of a life, as one process lives it (docs/explanation/life-of-a-process.md)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from programs import outcome, trioservice

from .daemons import daemons, let_others_enter
from .support import IMPORTS, write

pytestmark = pytest.mark.real

# Writes down, at each step, what is true by then.
DIARY = (
    IMPORTS
    + """
import atexit, fcntl, os, sys

BOOK = os.open(os.path.abspath("diary"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
HERE, STARTED_AS = os.getcwd(), os.getpid()

def note(step):
    mask = os.umask(0)
    os.umask(mask)
    is_locked = False
    try:
        with open(os.path.join(HERE, "app.pid")) as pidfile:
            try:
                fcntl.flock(pidfile, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                is_locked = True
    except OSError:
        pass
    facts = {
        "logs": logging.getLogger().hasHandlers(),
        "moved": os.getcwd() != HERE,
        "umask": mask == 0o027,
        "daemon": os.getpid() != STARTED_AS,
        "locked": is_locked,
        "user": os.geteuid() == 65534,
    }
    os.write(BOOK, f"{step}: {' '.join(name for name, is_so in facts.items() if is_so)}\\n".encode())

class Diary(Service):
    async def privileged_start(self, stack):
        note("bind")
        stack.callback(note, "release")

    async def run(self, task_status):
        note("start")
        task_status.started()
        await trio.lowlevel.checkpoint()
        note("run")
        try:
            await trio.sleep_forever()
        finally:
            note("stop")

def load():
    note("load")
    application = Application("app", Diary())

    def notice(event):
        if event.path == "app" and str(event).startswith("running"):
            note("ready")

    application.subscribe(notice)
    return application

atexit.register(note, "exit")
"""
)

STEPS = """\
load:{}
bind: logs moved umask daemon locked
start: logs moved umask daemon locked{user}
ready: logs moved umask daemon locked{user}
run: logs moved umask daemon locked{user}
stop: logs moved umask daemon locked{user}
release: logs moved umask daemon locked{user}
exit: logs moved umask daemon{user}
"""


@pytest.mark.parametrize("user", [[], ["--uid", "65534", "--gid", "65534"]], ids=["as we are", "as nobody"])
def test_everything_happens_in_its_order(tmp_path: Path, user: list[str]) -> None:
    """Row 62: load, logs, folder, umask, daemon, pid file, bind, drop, start, ready, run, stop, exit."""
    if user and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    let_others_enter(tmp_path)
    write(tmp_path, DIARY, "diary_app.py")
    (tmp_path / "run").mkdir()
    with daemons(tmp_path) as daemon:
        options = ["--rundir", "run", "--umask", "027", *user]
        done = daemon.start(*options, target="diary_app:load")
        assert done.returncode == 0, done.stderr
        daemon.stop()
        told = (tmp_path / "diary").read_text()
    assert told.replace("load: \n", "load:\n") == STEPS.format("", user=" user" if user else "")


def test_a_contradiction_is_told_before_the_file_is_touched(tmp_path: Path) -> None:
    """The first step is to look at the options."""
    write(tmp_path, "open('loaded', 'w')\n")
    status, _, err = outcome(trioservice("run", "app.tac", "--daemon", "--debug"), cwd=tmp_path)
    assert status == 64
    assert "a daemon cannot be debugged" in err
    assert not (tmp_path / "loaded").exists()
