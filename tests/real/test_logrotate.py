"""The real logrotate, as Debian has it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from programs import foreign, until

from .daemons import daemons
from .support import IMPORTS, write

pytestmark = pytest.mark.real

COUNTING = (
    IMPORTS
    + """
async def count():
    for number in range(10**9):
        logging.info("number %d", number)
        await trio.sleep(0.001)

application = Application("app", TaskService(count))
"""
)

CONFIG = """
{log} {{
    rotate 9
    postrotate
        kill -HUP $(cat {pidfile})
    endscript
}}
"""


def test_it_rotates_while_the_application_logs_and_no_record_is_lost(tmp_path: Path) -> None:
    """twistd never opened its log anew (#3363): it went on in the file that was put aside."""
    logrotate = foreign("logrotate")
    write(tmp_path, COUNTING)
    config = tmp_path / "logrotate.conf"
    with daemons(tmp_path) as daemon:
        assert daemon.start().returncode == 0
        config.write_text(CONFIG.format(log=daemon.log, pidfile=daemon.pidfile))
        config.chmod(0o644)
        for times in (1, 2, 3):
            subprocess.run([logrotate, "-f", "-s", tmp_path / "state", config], check=True, timeout=20)
            until(lambda: daemon.log.exists() and "number" in daemon.log.read_text(), "it logs to a new file")
            assert daemon.log.with_name(f"app.log.{times}").exists()
        daemon.stop()
        files = [daemon.log.with_name(f"app.log.{number}") for number in (3, 2, 1)] + [daemon.log]
        numbers = [
            int(line.rpartition(" ")[2])
            for file in files
            for line in file.read_text().splitlines()
            if " number " in line
        ]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 10
    assert sorted(os.listdir(tmp_path)) == [
        "app.log",
        "app.log.1",
        "app.log.2",
        "app.log.3",
        "app.tac",
        "logrotate.conf",
        "state",
    ]
