"""Where the process lives.  A real new root is in tests/real/test_privileges.py."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from trioservice.process.exits import CannotRun, Exit
from trioservice.process.place import move_in


def test_the_folder_to_run_in_becomes_the_present_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 66."""
    monkeypatch.chdir("/")
    move_in(str(tmp_path), None)
    assert os.getcwd() == str(tmp_path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A file in its place, too."""
    (tmp_path / "file").touch()
    with pytest.raises(CannotRun) as missing:
        move_in(str(tmp_path / "no"), None)
    assert str(missing.value) == f"cannot make {tmp_path}/no the rundir: No such file or directory"
    assert missing.value.status is Exit.NO_INPUT
    with pytest.raises(CannotRun, match="Not a directory"):
        move_in(str(tmp_path / "file"), None)


def test_in_a_new_root_everything_is_imported_first_and_the_top_is_the_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is nothing to import it from afterwards; and a folder outside would be a way out."""
    done: list[tuple[str, object]] = []
    monkeypatch.delitem(sys.modules, "trioservice.net.multicast", raising=False)
    monkeypatch.setattr(
        os, "chroot", lambda to: done.append(("chroot", (to, "trioservice.net.multicast" in sys.modules)))
    )
    monkeypatch.setattr(os, "chdir", lambda to: done.append(("chdir", to)))
    move_in("/var", "/jail")
    assert done == [("chroot", ("/jail", True)), ("chdir", "/"), ("chdir", "/var")]


def test_who_may_not_change_the_root_is_told_who_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a matter of rights, and has the status of one."""

    def refuse(to: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chroot", refuse)
    with pytest.raises(CannotRun) as refused:
        move_in(None, "/jail")
    assert str(refused.value) == "cannot make /jail the chroot: Operation not permitted"
    assert refused.value.hint == "only root may do that"
    assert refused.value.status is Exit.NO_PERMISSION
