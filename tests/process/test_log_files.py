"""A log file that is put aside, opened anew, and loses nothing."""

from __future__ import annotations

import logging
import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trioservice.process.exits import CannotRun, Exit
from trioservice.process.log_files import LogFile

from .support import as_in_a_fresh_process, record

DAY = 86400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.log"


def opened(path: Path, **options: object) -> LogFile:
    """A log file that the root logger writes to, so that complaints are in it."""
    file = LogFile(str(path), **options)  # type: ignore[arg-type]
    logging.getLogger().addHandler(file)
    return file


def write(file: LogFile, *messages: str) -> None:
    for message in messages:
        file.handle(record(message))


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path.parent))


@as_in_a_fresh_process()
def test_it_appends_and_is_for_its_owner_and_group(path: Path) -> None:
    """Row 84: what was there stays."""
    path.write_text("before\n")
    write(opened(path), "hello", "zażółć \udcff")
    assert path.read_text() == "before\nhello\nzażółć \\udcff\n"
    other = path.with_name("other.log")
    opened(other)
    assert stat.S_IMODE(other.stat().st_mode) & 0o137 == 0


@as_in_a_fresh_process()
def test_one_that_cannot_be_opened_is_told_with_a_status(tmp_path: Path) -> None:
    """Row 84: before anything has begun."""
    with pytest.raises(CannotRun) as refused:
        LogFile(str(tmp_path / "no" / "app.log"))
    assert str(refused.value) == f"cannot open the log file {tmp_path}/no/app.log: No such file or directory"
    assert refused.value.status is Exit.CANNOT_CREATE


@as_in_a_fresh_process()
def test_a_rotation_puts_it_aside_and_moves_the_older_ones_on(path: Path) -> None:
    """Rows 81 and 98: the newest is .1, the oldest beyond the bound is gone; the mode stays."""
    file = opened(path, keep=2)
    path.chmod(0o604)
    for number in range(4):
        write(file, f"{number}")
        file.rotate()
    assert names(path) == ["app.log", "app.log.1", "app.log.2"]
    assert [path.with_name(f"app.log{end}").read_text() for end in ("", ".1", ".2")] == ["", "3\n", "2\n"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@as_in_a_fresh_process()
def test_other_files_of_similar_names_are_left_alone(path: Path) -> None:
    """Row 98."""
    for name in ("app.log.1.gz", "app.log.old", "app.log.02"):
        path.with_name(name).write_text(name)
    file = opened(path, keep=3)
    for message in ("one", "two"):
        write(file, message)
        file.rotate()
    assert path.with_name("app.log.1.gz").read_text() == "app.log.1.gz"
    assert {"app.log.old", "app.log.02"} <= set(names(path))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=50,
    deadline=None,
)
@given(
    st.lists(st.one_of(st.text("abc", max_size=30), st.just("ROTATE"), st.just("REOPEN")), max_size=40),
    st.integers(1, 60),
)
def test_whatever_happens_to_the_file_every_record_is_there_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], limit: int
) -> None:
    """By size, by hand, and anew, in any order."""
    path = tmp_path_factory.mktemp("log") / "app.log"
    with as_in_a_fresh_process():
        file = opened(path, rotate=limit, keep=100)
        for step in steps:
            if step == "ROTATE":
                file.rotate()
            elif step == "REOPEN":
                file.reopen()
            else:
                write(file, step)
        file.close()
    kept = [path.with_name(f"app.log.{number}") for number in range(len(names(path)) - 1, 0, -1)]
    assert "".join(one.read_text() for one in [*kept, path]).splitlines() == [
        step for step in steps if step not in ("ROTATE", "REOPEN")
    ]
    for one in kept:
        assert one.stat().st_size <= limit or one.read_text().count("\n") == 1


@as_in_a_fresh_process()
def test_by_size_a_record_larger_than_the_limit_is_written_all_the_same(path: Path) -> None:
    """Alone, and without an empty file before it."""
    file = opened(path, rotate=10)
    write(file, "x" * 50, "y")
    assert names(path) == ["app.log", "app.log.1"]
    assert path.with_name("app.log.1").read_text() == "x" * 50 + "\n"


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
@as_in_a_fresh_process()
def test_daily_begins_a_fresh_one_at_the_first_record_of_a_day(
    path: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """Of local days, also those that are an hour longer or shorter; a day without records makes no file."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        now = time.mktime((2026, 10, 24, 23, 59, 58, 0, 0, -1))
        monkeypatch.setattr(time, "time", lambda: now)
        file = opened(path, rotate="daily")
        write(file, "saturday")
        now += 1
        write(file, "still saturday")
        now += 1
        write(file, "sunday")
        now = time.mktime((2026, 10, 25, 23, 59, 59, 0, 0, -1))
        write(file, "still sunday")
        now += 1 + 3 * DAY
        write(file, "thursday")
        assert [path.with_name(f"app.log{end}").read_text() for end in ("", ".1", ".2")] == [
            "thursday\n",
            "sunday\nstill sunday\n",
            "saturday\nstill saturday\n",
        ]
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("age", "is_put_aside"), [(0, False), (2 * DAY, True)])
@as_in_a_fresh_process()
def test_daily_knows_how_old_the_file_of_an_earlier_life_is(
    path: Path, age: float, is_put_aside: bool
) -> None:
    """A process that is started anew every noon would never see a midnight."""
    path.write_text("earlier\n")
    os.utime(path, (time.time() - age, time.time() - age))
    write(opened(path, rotate="daily"), "now")
    assert (names(path) == ["app.log", "app.log.1"]) is is_put_aside
    assert path.read_text() == ("now\n" if is_put_aside else "earlier\nnow\n")


@as_in_a_fresh_process()
def test_it_goes_on_in_the_file_that_has_its_name_now(path: Path) -> None:
    """After logrotate has put the old one aside."""
    file = opened(path)
    write(file, "one")
    path.rename(path.with_name("aside"))
    write(file, "two")
    file.reopen()
    write(file, "three")
    assert path.with_name("aside").read_text() == "one\ntwo\n"
    assert path.read_text() == "three\n"


@as_in_a_fresh_process()
def test_what_is_not_permitted_leaves_the_file_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand it is the caller's to tell; by itself it is told once, and not tried with every record."""

    def refuse(old: str, new: str) -> None:
        raise PermissionError(13, "Permission denied")

    file = opened(path, rotate=10)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        write(file, "0123456789", "second", "third")
        with pytest.raises(PermissionError):
            file.rotate()
    lines = path.read_text().splitlines()
    assert lines == [
        "0123456789",
        f"the log {path} cannot be put aside, so it grows on: Permission denied; "
        "its folder has to belong to whom it is",
        "second",
        "third",
    ]
    file.reopen()  # whoever mended it has it opened anew, and it is tried again
    write(file, "fourth")
    assert path.read_text() == "fourth\n"


@as_in_a_fresh_process()
def test_when_no_fresh_file_can_be_made_the_old_one_keeps_its_name(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks for the log finds it where it was."""
    file = opened(path)
    write(file, "one")

    def refuse(*args: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            file.rotate()
    write(file, "two")
    assert path.read_text() == "one\ntwo\n"
    assert os.listdir(path.parent) == [path.name]


@as_in_a_fresh_process()
def test_what_somebody_else_has_put_aside_is_only_left(path: Path) -> None:
    """Another process with the same log, or logrotate: theirs is not put aside once more."""
    file, other = opened(path), opened(path)
    write(file, "one")
    other.rotate()
    write(other, "two")
    file.rotate()
    write(file, "three")
    assert path.read_text() == "two\nthree\n"
    assert sorted(os.listdir(path.parent)) == [path.name, f"{path.name}.1"]


@as_in_a_fresh_process()
def test_an_empty_file_is_fresh_enough(path: Path) -> None:
    """Impatience does not push out those that were kept."""
    file = opened(path)
    file.rotate()
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("keep", [0, 1, 2])
@as_in_a_fresh_process()
def test_no_more_are_kept_than_were_asked_for(path: Path, keep: int) -> None:
    """Nor of an earlier life that kept more."""
    for number in range(1, 6):
        path.with_name(f"{path.name}.{number}").touch()
    file = opened(path, keep=keep)
    write(file, "one")
    file.rotate()
    kept = [path.name, *(f"{path.name}.{number}" for number in range(1, keep + 1))]
    assert sorted(os.listdir(path.parent)) == kept


@as_in_a_fresh_process()
def test_a_file_that_is_gone_is_made_again_with_its_mode(path: Path) -> None:
    """As after logrotate, whatever the umask has become."""
    file = opened(path)
    path.chmod(0o664)
    path.unlink()
    umask = os.umask(0o077)
    try:
        file.reopen()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


@as_in_a_fresh_process()
def test_half_a_record_does_not_spoil_the_next(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a disk that became full has taken of it stays a line of its own."""
    file = opened(path)
    write_for_good = os.write

    def half(number: int, data: bytes) -> int:
        if len(data) < 5:
            raise OSError(28, "No space left on device")
        return write_for_good(number, data[:4])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        write(file, "123456")
    write(file, "whole")
    assert path.read_text() == "1234\n1 record is lost here: No space left on device\nwhole\n"


@as_in_a_fresh_process()
def test_a_file_that_cannot_be_opened_anew_is_still_written_to(path: Path) -> None:
    """Nothing is lost because of a folder that has gone."""
    folder = path.parent / "log"
    folder.mkdir()
    file = opened(folder / "app.log")
    folder.rename(path.parent / "moved")
    with pytest.raises(FileNotFoundError):
        file.reopen()
    write(file, "still here")
    assert (path.parent / "moved" / "app.log").read_text() == "still here\n"


@as_in_a_fresh_process()
def test_on_a_full_disk_what_is_lost_is_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No error, no traceback; and when there is room again, the number."""
    file = opened(path)
    write(file, "one")

    def full(number: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        write(file, "two", "three")
    write(file, "four")
    assert path.read_text() == "one\n2 records are lost here: No space left on device\nfour\n"


@as_in_a_fresh_process()
def test_the_last_lines_are_those_since_it_was_opened(path: Path) -> None:
    """Whole ones, and of this life only."""
    path.write_text("of an earlier life\n")
    file = opened(path)
    assert file.tail() == ""
    write(file, "one", "two")
    assert file.tail() == "one\ntwo\n"
    write(file, *["x" * 99] * 100)
    assert 3000 < len(file.tail()) <= 4096
    assert set(file.tail().splitlines()) == {"x" * 99}
    file.rotate()
    write(file, "afterwards")
    assert file.tail() == "afterwards\n"


@as_in_a_fresh_process()
def test_a_pipe_and_a_device_are_written_to_and_left_in_their_place(tmp_path: Path) -> None:
    """`--logfile /dev/null` and `/dev/stderr` are old habits."""
    null = opened(Path(os.devnull), rotate=1)
    write(null, "one", "two")
    null.rotate()
    null.give_to(os.getuid(), os.getgid())
    assert null.tail() == ""
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write(opened(pipe), "hello")
    assert os.read(reader, 99) == b"hello\n"
    os.close(reader)


def test_a_pipe_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    """Opened all the same it would be full soon, and then block the event loop for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(CannotRun, match="cannot open the log file") as refused:
        LogFile(str(pipe))
    assert refused.value.hint == "it is a pipe: start what reads it first"


@as_in_a_fresh_process()
def test_of_a_pipe_whose_reader_has_gone_only_records_are_lost(tmp_path: Path) -> None:
    """We are not its reader, so it is not filled until it blocks."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = opened(pipe)
    os.close(reader)
    with pytest.raises(OSError, match="Broken pipe"):
        file._append(b"hello")


@as_in_a_fresh_process()
def test_it_is_given_to_whom_the_process_becomes(path: Path) -> None:
    """To ourselves, as everybody may do that."""
    opened(path).give_to(os.getuid(), os.getgid())
    assert path.stat().st_uid == os.getuid()


@as_in_a_fresh_process()
def test_once_closed_it_stays_so(path: Path) -> None:
    """Python closes all handlers at its end, and again whoever closes them by hand."""
    file = opened(path)
    file.close()
    file.close()
