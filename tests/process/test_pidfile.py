"""The pid file: a lock, and a number for people."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trioservice.process.exits import CannotRun, Exit
from trioservice.process.pidfile import PidFile, holder_of

HOLD = """if True:
    import sys
    from trioservice.process.pidfile import PidFile
    with PidFile(sys.argv[1]):
        print("locked", flush=True)
        sys.stdin.read()
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the pid file."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        try:
            yield other
        finally:
            other.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.pid"


def refusal(path: Path) -> CannotRun:
    with pytest.raises(CannotRun) as refused:
        PidFile(str(path)).take()
    return refused.value


def test_it_holds_our_number_for_everybody_to_read_while_we_live(path: Path) -> None:
    """Rows 60 and 91: none before is fine, and it is gone afterwards."""
    before = os.umask(0o077)
    try:
        with PidFile(str(path)):
            assert path.read_text() == f"{os.getpid()}\n"
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
            assert holder_of(str(path)) == (os.getpid(), True)
    finally:
        os.umask(before)
    assert not path.exists()


def test_another_that_lives_is_not_displaced(path: Path) -> None:
    """It is named, and so is the way to stop it."""
    with held(path) as other:
        error = refusal(path)
        assert str(error) == f"already running: process {other.pid} holds the pid file {path}"
        assert f"trioservice stop {path}" in error.hint
        assert error.status is Exit.ALREADY_RUNNING
        assert holder_of(str(path)) == (other.pid, True)
        assert path.read_text() == f"{other.pid}\n"


def test_a_file_whose_process_was_killed_is_taken_over(path: Path) -> None:
    """The kernel has let go of the lock, whatever the number says."""
    with held(path) as other:
        other.kill()
        other.wait()
        assert holder_of(str(path)) == (other.pid, False)
        with PidFile(str(path)):
            assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("number", [os.getpid(), os.getppid(), 1], ids=["ours", "our parent's", "init's"])
def test_a_number_that_somebody_has_proves_nothing(path: Path, number: int) -> None:
    """Numbers are reused, and in a container that starts again it is often the very same."""
    path.write_text(f"{number}\n")
    assert holder_of(str(path)) == (number, False)
    with PidFile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_an_empty_file_is_taken(path: Path) -> None:
    """A process that might not remove it has emptied it."""
    path.touch()
    assert holder_of(str(path)) == (None, False)
    with PidFile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("content", ["do not lose me\n", "12 34\n", "9" * 40])
def test_what_is_no_pid_file_is_not_overwritten(path: Path, content: str) -> None:
    """A wrong path on the command line costs nobody a file."""
    path.write_text(content)
    assert f"{path} is no pid file" in str(refusal(path))
    assert path.read_text() == content
    with pytest.raises(CannotRun, match="is no pid file"):
        holder_of(str(path))


def test_a_folder_a_pipe_and_a_link_are_no_pid_files(tmp_path: Path) -> None:
    """A link would lead to where others like, who may write to the folder; a pipe would block."""
    tmp_path.joinpath("folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    tmp_path.joinpath("link").symlink_to(tmp_path / "elsewhere")
    for name in ("folder", "pipe", "link"):
        assert refusal(tmp_path / name).status is Exit.CANNOT_CREATE
    assert not tmp_path.joinpath("elsewhere").exists()


def test_a_folder_that_is_not_there_is_told_before_anything_is_done(tmp_path: Path) -> None:
    """It is opened when the pid file is made, long before it is taken."""
    with pytest.raises(CannotRun, match=r"cannot make the pid file .*: No such file or directory"):
        PidFile(str(tmp_path / "no" / "shop.pid"))
    with pytest.raises(CannotRun, match=r"cannot read the pid file .*: No such file or directory") as gone:
        holder_of(str(tmp_path / "shop.pid"))
    assert gone.value.status is Exit.NOT_RUNNING  # after a clean stop there is none


def test_who_waited_for_a_lock_on_a_removed_file_starts_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holder ended between our opening and our locking; what we locked has no name any more."""
    lock = fcntl.flock
    path.touch()

    def slowly(file: int, how: int) -> None:
        if path.exists() and path.stat().st_ino == os.fstat(file).st_ino:
            monkeypatch.setattr(fcntl, "flock", lock)
            path.unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", slowly)
    with PidFile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
        assert holder_of(str(path)).alive


def test_a_file_that_is_not_ours_any_more_is_left_alone(path: Path) -> None:
    """Row 72: somebody has removed it, and another process has one of the same name."""
    pidfile = PidFile(str(path))
    pidfile.take()
    path.unlink()
    path.write_text("77\n")
    pidfile.release()
    pidfile.release()  # nothing is left to do
    assert path.read_text() == "77\n"


def test_a_file_that_may_not_be_removed_is_emptied(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the privileges are gone the folder may be closed to us."""

    def refuse(path: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch, PidFile(str(path)):
        patch.setattr(os, "unlink", refuse)
    with PidFile(str(path)) as pidfile:
        monkeypatch.setattr(os, "unlink", refuse)
        pidfile.release()
    assert path.read_text() == ""
    assert holder_of(str(path)) == (None, False)


def test_it_is_given_to_whom_the_process_becomes(path: Path) -> None:
    """To ourselves, as everybody may do that."""
    with PidFile(str(path)) as pidfile:
        pidfile.give_to(os.getuid(), os.getgid())
        assert path.stat().st_uid == os.getuid()


def test_a_child_of_ours_does_not_keep_the_lock(path: Path) -> None:
    """Or what a service has started would hold the place of a process that has gone."""
    with PidFile(str(path)), subprocess.Popen(["sleep", "30"], close_fds=False) as child:
        pass_on = {
            os.path.realpath(f"/proc/{child.pid}/fd/{number}")
            for number in os.listdir(f"/proc/{child.pid}/fd")
        }
        child.kill()
    assert str(path) not in pass_on


def test_who_only_looks_keeps_nobody_from_starting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor that asks for the status each second has the lock, too, for a moment."""
    path.touch()
    looker, flock = os.open(path, os.O_RDONLY), fcntl.flock
    flock(looker, fcntl.LOCK_SH)

    def and_then_the_looker_is_done(file: int, how: int) -> None:
        try:
            flock(file, how)
        finally:
            flock(looker, fcntl.LOCK_UN)

    monkeypatch.setattr(fcntl, "flock", and_then_the_looker_is_done)
    with PidFile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    os.close(looker)
