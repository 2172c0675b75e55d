"""The launch is short: nothing is imported that the command at hand does not need."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trioservice.cli.launch import no_search_for_garbage

FOR_PEOPLE = {f"trioservice.cli.{name}" for name in ("help", "manual", "completion", "configuration")}
FOR_MISTAKES = {"difflib", "tomllib", "importlib.metadata", "argparse"}


def imported_by(*argv: str, cwd: Path) -> set[str]:
    """The modules that a process has at the end of a command."""
    script = (
        "import sys\nbefore = {*sys.modules}\n"
        f"from trioservice.cli import main\nmain({list(argv)!r})\n"
        "print('modules:', *{*sys.modules} - before)"
    )
    # A variable of ours that sets nothing is looked at more closely, in search of a slip.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRIOSERVICE_")}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=cwd, timeout=30, env=environ
    )
    return set(done.stdout.rpartition("modules:")[2].split())


def test_run_imports_neither_help_nor_plugins_nor_what_tells_mistakes(tmp_path: Path) -> None:
    """Entry points alone would take as long as everything of ours."""
    (tmp_path / "app.tac").write_text(
        "from trioservice import *\napplication = Application('app', keep_running=False)\n"
        "import trio\napplication.add_service(TaskService(trio.sleep, 0))\n"
    )
    imported = imported_by("run", "app.tac", cwd=tmp_path)
    assert "trioservice.process.runner" in imported
    assert not imported & (
        FOR_PEOPLE | FOR_MISTAKES | {"trioservice.config.plugins", "trioservice.process.daemon"}
    )


@pytest.mark.parametrize(
    "argv", [("--help",), ("run", "--help"), ("man",), ("completion", "bash")], ids=" ".join
)
def test_what_a_person_asks_is_answered_without_trio(tmp_path: Path, argv: tuple[str, ...]) -> None:
    """It would be most of the time that they wait."""
    imported = imported_by(*argv, cwd=tmp_path)
    assert "trioservice.cli.main" in imported
    assert "trio" not in imported


@pytest.mark.parametrize("before", [True, False])
def test_the_garbage_collector_is_left_as_it_was(before: bool) -> None:
    """Also if an import fails."""
    was = gc.isenabled()
    (gc.enable if before else gc.disable)()
    try:
        with pytest.raises(ImportError), no_search_for_garbage():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() is before
    finally:
        (gc.enable if was else gc.disable)()
