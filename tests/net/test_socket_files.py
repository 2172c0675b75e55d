"""The file of a UNIX socket: who may have the path, who may connect, what is left behind."""

from __future__ import annotations

import errno
import grp
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from trioservice import CannotListenError
from trioservice.net.socket_files import SocketFile

KINDS = pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["stream", "datagram"])
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="a matter of Linux")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def unix_socket(kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, kind) as sock:
        yield sock


def refused(
    path: str | Path, kind: socket.SocketKind = socket.SOCK_STREAM, **options: object
) -> CannotListenError:
    """What is said to a socket that cannot have *path*."""
    before = descriptors()
    file = SocketFile(str(path), **options)  # type: ignore[arg-type]
    with unix_socket(kind) as sock, pytest.raises(CannotListenError) as raised:
        file.bind(sock)
    assert descriptors() == before
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"cannot listen on {path}: ")
    return raised.value


def dead_socket(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
    """Leave a socket file behind which nobody is."""
    with unix_socket(kind) as sock:
        sock.bind(str(path))


def content(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Child:
    """A process of ours that runs *code*, and says a line when it is so far."""

    def __init__(self, code: str) -> None:
        head = "import os, socket, sys, time\nfrom trioservice.net.socket_files import SocketFile\n"
        self.popen = subprocess.Popen(
            [sys.executable, "-c", head + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.popen.kill()
        self.popen.communicate()

    def says(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def goes_on(self) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()


BINDS = """
sock = socket.socket(socket.AF_UNIX)
file = SocketFile({path!r})
file.bind(sock)
sock.listen()
print("bound", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder to which everybody may write."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        yield Path(folder)


# ---- binding and releasing


@KINDS
def test_what_was_bound_can_be_reached_and_is_gone_after_release(
    tmp_path: Path, kind: socket.SocketKind
) -> None:
    """A socket file and its lock, and afterwards neither, and no descriptor."""
    before = descriptors()
    file = SocketFile(str(tmp_path / "s"))
    with unix_socket(kind) as server, unix_socket(kind) as client:
        file.bind(server)
        if kind == socket.SOCK_STREAM:
            server.listen()
        client.connect(str(tmp_path / "s"))
        assert content(tmp_path) == ["s", "s.lock"]
        assert (tmp_path / "s.lock").read_text() == f"{os.getpid()}\n"
        file.release()
        file.release()
    assert content(tmp_path) == []
    assert descriptors() == before


def test_no_descriptor_is_passed_on_to_programs_that_we_start(tmp_path: Path) -> None:
    """A child that outlives us does not hold the lock."""
    file = SocketFile(str(tmp_path / "s"))
    with unix_socket() as sock:
        file.bind(sock)
        for name in os.listdir("/proc/self/fd"):
            number = int(name)
            if number > 2 and os.path.exists(f"/proc/self/fd/{name}"):
                link = os.readlink(f"/proc/self/fd/{name}")
                assert str(tmp_path) not in link or not os.get_inheritable(number), link
        file.release()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777], ids=oct)
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o777], ids=oct)
def test_the_mode_is_the_one_that_was_asked_for_whatever_the_umask(
    tmp_path: Path, mask: int, mode: int
) -> None:
    """And the umask, which belongs to the whole process, is never touched."""
    changes: list[int] = []
    file = SocketFile(str(tmp_path / "s"), mode)
    really, before = os.umask, os.umask(mask)
    try:
        with unix_socket() as sock, pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "umask", lambda value: changes.append(value) or really(value))
            file.bind(sock)
    finally:
        really(before)
    assert stat.S_IMODE(os.stat(tmp_path / "s").st_mode) == mode
    assert changes == []
    file.release()


@LINUX
def test_nobody_else_can_connect_before_mode_and_owner_are_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the moment of the bind the file is the owner's alone, also with an open umask."""
    path = tmp_path / "s"
    seen: list[tuple[str, int]] = []

    def watched(name: str, owner: object) -> None:
        really = getattr(owner, name)

        def act(*args: object, **options: object) -> object:
            result = really(*args, **options)
            seen.append((name, stat.S_IMODE(os.stat(path).st_mode)))
            return result

        monkeypatch.setattr(owner, name, act)

    watched("bind", socket.socket)
    watched("chown", os)
    watched("chmod", os)
    before = os.umask(0)
    file = SocketFile(str(path), 0o666, group=str(os.getegid()))
    try:
        with unix_socket() as sock:
            file.bind(sock)
    finally:
        os.umask(before)
    assert seen == [("bind", 0o600), ("chown", 0o600), ("chmod", 0o666)]
    file.release()


@AS_ROOT
def test_the_file_can_be_given_to_a_user_and_a_group_by_name_or_number(tmp_path: Path) -> None:
    """Names are looked up, numbers taken as they are."""
    file = SocketFile(str(tmp_path / "s"), 0o660, user="nobody", group="12345")
    with unix_socket() as sock:
        file.bind(sock)
    found = os.stat(tmp_path / "s")
    import pwd

    assert (found.st_uid, found.st_gid) == (pwd.getpwnam("nobody").pw_uid, 12345)
    assert stat.S_IMODE(found.st_mode) == 0o660
    file.release()


@pytest.mark.parametrize("what", ["user", "group"])
def test_a_name_that_nobody_has_is_told(tmp_path: Path, what: str) -> None:
    """And nothing has been made."""
    error = refused(tmp_path / "s", **{what: "no-such-one"})
    assert f"there is no {what} 'no-such-one'" in str(error)
    assert content(tmp_path) == []


@pytest.mark.parametrize(
    "number", ["4294967295", "1099511627776", "9" * 5000], ids=["nobody", "large", "huge"]
)
@pytest.mark.parametrize("what", ["user", "group"])
def test_a_number_that_nobody_can_have_is_told(tmp_path: Path, what: str, number: str) -> None:
    """Also the one that means "leave it" to the system, which is not what was asked for."""
    error = refused(tmp_path / "s", **{what: number})
    assert error.errno == errno.EINVAL
    assert f"there is no {what} beyond 4294967294, as {number} is" in str(error)
    assert content(tmp_path) == []


def test_a_name_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    """As one that nobody has."""
    assert r"there is no user '\ud800'" in str(refused(tmp_path / "s", user="\ud800"))


@AS_ROOT
def test_after_privileges_were_dropped_a_file_can_be_given_to_ourselves_and_our_groups_only(
    common: Path,
) -> None:
    """So a restart works for whoever becomes the user that the file is for, and is in its group."""
    file = SocketFile(str(common / "s"), 0o660, user="65534", group="12345")
    before = os.getgroups()
    with unix_socket() as first, unix_socket() as second, unix_socket() as third:
        file.bind(first)
        os.chown(common / "s.lock", 65534, 65534)
        os.setgroups([12345])
        os.seteuid(65534)
        try:
            file.bind(second)
            found = os.stat(common / "s")
            os.seteuid(0)
            os.setgroups([])
            os.seteuid(65534)
            with pytest.raises(CannotListenError, match="to a group, to be in it"):
                file.bind(third)
        finally:
            os.seteuid(0)
            os.setgroups(before)
    assert (found.st_uid, found.st_gid) == (65534, 12345)
    file.release()
    assert content(common) == []


def test_who_may_not_give_the_file_away_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with the wrong owner is not left for somebody to use."""

    def chown(path: str, *_: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", chown)
    error = refused(tmp_path / "s", user="0")
    assert error.errno == errno.EPERM
    assert "to give it to another user needs root" in str(error)
    assert content(tmp_path) == []


def test_the_path_is_the_one_of_the_folder_in_which_it_was_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that changes its folder meanwhile still removes its own file and no other."""
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    monkeypatch.chdir(first)
    file = SocketFile("s")
    with unix_socket() as sock:
        file.bind(sock)
        monkeypatch.chdir(second)
        (second / "s").touch()
        file.release()
    assert content(first) == []
    assert content(second) == ["s"]


def test_a_second_socket_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """As after a restart; even if the first is closed already."""
    before = descriptors()
    file = SocketFile(str(tmp_path / "s"), 0o640)
    with unix_socket() as first:
        file.bind(first)
    with unix_socket() as second, unix_socket() as client:
        file.bind(second)
        second.listen()
        client.connect(str(tmp_path / "s"))
        assert stat.S_IMODE(os.stat(tmp_path / "s").st_mode) == 0o640
        file.release()
    assert content(tmp_path) == []
    assert descriptors() == before


def test_without_a_way_to_pin_a_file_its_name_has_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on systems other than Linux."""
    monkeypatch.delattr(os, "O_PATH")
    file = SocketFile(str(tmp_path / "s"), 0o640)
    with unix_socket() as sock:
        file.bind(sock)
        assert stat.S_IMODE(os.stat(tmp_path / "s").st_mode) == 0o640
    file.release()
    assert content(tmp_path) == []


@LINUX
@pytest.mark.parametrize("make", [Path.touch, dead_socket], ids=["file", "socket"])
def test_a_link_that_takes_the_files_place_at_once_does_not_lead_us_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object]
) -> None:
    """Else whoever may write to the folder could open any file of ours to everybody."""
    make(tmp_path / "secret")
    (tmp_path / "secret").chmod(0o600)
    really = socket.socket.bind

    def bind(sock: socket.socket, path: str) -> None:
        really(sock, path)
        os.unlink(path)
        os.symlink(tmp_path / "secret", path)

    monkeypatch.setattr(socket.socket, "bind", bind)
    error = refused(tmp_path / "s", mode=0o666)
    assert "exchanged at this very moment" in str(error)
    assert stat.S_IMODE(os.stat(tmp_path / "secret").st_mode) == 0o600
    assert content(tmp_path) == ["s", "secret"]


# ---- who is there already


@KINDS
@pytest.mark.parametrize("earlier", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_dead_servers_file_is_replaced(
    tmp_path: Path, kind: socket.SocketKind, earlier: socket.SocketKind
) -> None:
    """A file behind which nobody listens is no obstacle."""
    dead_socket(tmp_path / "s", earlier)
    inode = os.stat(tmp_path / "s").st_ino, os.stat(tmp_path / "s").st_ctime_ns
    file = SocketFile(str(tmp_path / "s"))
    with unix_socket(kind) as sock:
        file.bind(sock)
        assert (os.stat(tmp_path / "s").st_ino, os.stat(tmp_path / "s").st_ctime_ns) != inode
        file.release()


def test_a_dead_servers_file_that_somebody_else_removes_first_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is gone, and that is all that was wanted."""
    dead_socket(tmp_path / "s")
    really = socket.socket.connect

    def connect(sock: socket.socket, path: str) -> None:
        os.unlink(path)
        really(sock, path)

    monkeypatch.setattr(socket.socket, "connect", connect)
    file = SocketFile(str(tmp_path / "s"))
    with unix_socket() as sock:
        file.bind(sock)
        file.release()
    assert content(tmp_path) == []


def test_a_killed_servers_file_and_lock_are_replaced(tmp_path: Path) -> None:
    """SIGKILL leaves both behind; the next server just starts."""
    path = str(tmp_path / "s")
    with Child(BINDS.format(path=path)) as child:
        assert child.says() == "bound"
        child.popen.send_signal(signal.SIGKILL)
        child.popen.wait()
    assert content(tmp_path) == ["s", "s.lock"]
    file = SocketFile(path)
    with unix_socket() as sock:
        file.bind(sock)
        assert (tmp_path / "s.lock").read_text() == f"{os.getpid()}\n"
        file.release()
    assert content(tmp_path) == []


def test_a_lock_that_was_left_is_overwritten_whole(tmp_path: Path) -> None:
    """A longer number than ours leaves none of its digits behind."""
    (tmp_path / "s.lock").write_text("123456789012345\n")
    file = SocketFile(str(tmp_path / "s"))
    with unix_socket() as sock:
        file.bind(sock)
        assert (tmp_path / "s.lock").read_text() == f"{os.getpid()}\n"
        file.release()


def test_a_live_server_of_ours_is_named_and_stays(tmp_path: Path) -> None:
    """The message names the process, and the server answers as before."""
    path = str(tmp_path / "s")
    with Child(BINDS.format(path=path)) as child:
        assert child.says() == "bound"
        error = refused(path)
        assert error.errno == errno.EADDRINUSE
        assert f"process {child.popen.pid} has it; stop that one or choose another path" in str(error)
        with unix_socket() as client:
            client.connect(path)
        assert content(tmp_path) == ["s", "s.lock"]


def test_another_service_of_the_same_process_is_told_as_that(tmp_path: Path) -> None:
    """Nobody is sent to look for a process that is the own one."""
    file = SocketFile(str(tmp_path / "s"))
    with unix_socket() as sock:
        file.bind(sock)
        assert "another service of this process has it" in str(refused(tmp_path / "s"))
        assert content(tmp_path) == ["s", "s.lock"]
        file.release()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_live_foreign_server_stays_and_does_not_even_notice(
    tmp_path: Path, kind: socket.SocketKind
) -> None:
    """Without a lock it is asked by a connect that sends nothing and is not accepted."""
    with unix_socket(kind) as foreign:
        foreign.bind(str(tmp_path / "s"))
        if kind != socket.SOCK_DGRAM:
            foreign.listen()
        foreign.setblocking(False)
        error = refused(tmp_path / "s")
        assert error.errno == errno.EADDRINUSE
        assert "a server listens there" in str(error)
        with pytest.raises(BlockingIOError):
            foreign.recv(1) if kind == socket.SOCK_DGRAM else foreign.accept()
        assert content(tmp_path) == ["s"]


def test_a_datagram_server_that_talks_to_one_client_only_is_alive(tmp_path: Path) -> None:
    """It refuses us in a way of its own, and whatever is not plainly dead is alive."""
    with unix_socket(socket.SOCK_DGRAM) as foreign, unix_socket(socket.SOCK_DGRAM) as client:
        foreign.bind(str(tmp_path / "s"))
        client.bind(str(tmp_path / "c"))
        foreign.connect(str(tmp_path / "c"))
        assert "a server listens there" in str(refused(tmp_path / "s"))
        assert content(tmp_path) == ["c", "s"]


@AS_ROOT
def test_a_socket_that_we_may_not_ask_is_taken_for_alive(common: Path) -> None:
    """EACCES says nothing about who is there."""
    dead_socket(common / "s")
    (common / "s").chmod(0o600)
    os.seteuid(65534)
    try:
        error = refused(common / "s")
    finally:
        os.seteuid(0)
    assert "a server listens there, or may" in str(error)
    assert content(common) == ["s"]


def make_folder(path: Path) -> None:
    path.mkdir()


def make_link(path: Path) -> None:
    dead_socket(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (Path.touch, "a plain file"),
        (make_folder, "a folder"),
        (make_link, "a symbolic link"),
        (make_dangling_link, "a symbolic link"),
        (make_fifo, "no socket"),
    ],
    ids=["file", "folder", "link", "dangling link", "fifo"],
)
def test_what_is_no_socket_is_never_removed(
    tmp_path: Path, make: Callable[[Path], object], what: str
) -> None:
    """A path that was mistyped costs nobody a file."""
    make(tmp_path / "s")
    before = content(tmp_path)
    error = refused(tmp_path / "s")
    assert error.errno == errno.EADDRINUSE
    assert f"it is not removed, as it is {what}" in str(error)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("replace", "what"),
    [(Path.touch, "file"), (dead_socket, "socket"), (lambda path: None, "nothing")],
    ids=["file", "socket", "nothing"],
)
def test_what_somebody_else_has_put_in_our_place_is_not_removed(
    tmp_path: Path, replace: Callable[[Path], object], what: str
) -> None:
    """Only our own file is; it is known by its inode, which nobody else can get meanwhile."""
    for _ in range(20):  # a file system that gives numbers again soon would do so here
        file = SocketFile(str(tmp_path / "s"))
        with unix_socket() as sock:
            file.bind(sock)
        os.unlink(tmp_path / "s")
        replace(tmp_path / "s")
        file.release()
        assert content(tmp_path) == ([] if what == "nothing" else ["s"])
        (tmp_path / "s").unlink(missing_ok=True)


def test_a_lock_file_that_somebody_else_has_put_in_place_of_ours_is_not_removed(tmp_path: Path) -> None:
    """It may be the lock of whoever has come after us."""
    file = SocketFile(str(tmp_path / "s"))
    with unix_socket() as sock:
        file.bind(sock)
    os.unlink(tmp_path / "s.lock")
    (tmp_path / "s.lock").touch()
    file.release()
    assert content(tmp_path) == ["s.lock"]


def test_of_two_who_start_at_once_on_a_dead_servers_path_exactly_one_wins(tmp_path: Path) -> None:
    """Whoever comes second finds the lock, never the other's fresh file."""
    code = """
sys.stdin.readline()
sock = socket.socket(socket.AF_UNIX)
file = SocketFile({path!r})
try:
    file.bind(sock)
    sock.listen()
    print("won", flush=True)
except OSError as error:
    print(error, flush=True)
sys.stdin.readline()
file.release()
print("released", flush=True)
"""
    with ExitStack() as stack:
        path = str(tmp_path / "s")
        code = "for _ in range(20):" + code.format(path=path).replace("\n", "\n    ")
        children = [stack.enter_context(Child(code)) for _ in range(4)]
        for _ in range(20):
            dead_socket(tmp_path / "s")
            for child in children:
                child.goes_on()
            said = [child.says() for child in children]
            assert said.count("won") == 1, said
            assert sum("has it" in what for what in said) == 3, said
            with unix_socket() as client:
                client.connect(path)
            for child in children:
                child.goes_on()
                assert child.says() == "released"
            assert content(tmp_path) == []


def test_a_lock_that_is_removed_between_open_and_lock_guards_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner has just given it up, so it is opened anew; else two would hold two locks."""
    import fcntl

    really, locks = fcntl.flock, 0

    def flock(descriptor: int, how: int) -> None:
        nonlocal locks
        locks += 1
        really(descriptor, how)
        if locks < 3:
            os.unlink(tmp_path / "s.lock")
        if locks == 2:
            (tmp_path / "s.lock").touch()  # already the next one's

    monkeypatch.setattr(fcntl, "flock", flock)
    before = descriptors()
    file = SocketFile(str(tmp_path / "s"))
    with unix_socket() as sock:
        file.bind(sock)
        assert locks == 3
        assert "another service of this process" in str(refused(tmp_path / "s"))
        file.release()
    assert descriptors() == before


def test_a_lock_that_is_always_removed_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who tidies up that eagerly is told of."""
    import fcntl

    monkeypatch.setattr(fcntl, "flock", lambda descriptor, how: os.unlink(tmp_path / "s.lock"))
    assert "s.lock is removed again and again" in str(refused(tmp_path / "s"))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.write_text("my notes"), "s.lock is in the way, as it is no lock of ours"),
        (lambda path: path.symlink_to("4711"), "s.lock is a symbolic link"),
        (make_folder, "s.lock is a folder"),
        (make_fifo, "s.lock is in the way, as it is no lock of ours"),
        (dead_socket, "s.lock is no plain file; remove it"),
    ],
    ids=["notes", "link", "folder", "fifo", "socket"],
)
def test_a_lock_file_that_is_none_is_told_and_stays(
    tmp_path: Path, make: Callable[[Path], object], what: str
) -> None:
    """A file that happens to be called like our lock is somebody's."""
    make(tmp_path / "s.lock")
    assert what in str(refused(tmp_path / "s"))
    assert content(tmp_path) == ["s.lock"]


# ---- what cannot be had


def test_a_missing_folder_is_told_by_its_name(tmp_path: Path) -> None:
    """And not made, as nobody knows whose it should be."""
    error = refused(tmp_path / "no" / "s")
    assert error.errno == errno.ENOENT
    assert f"there is no folder {tmp_path / 'no'}; make it (systemd: RuntimeDirectory=)" in str(error)


def test_a_folder_that_is_a_file_is_told_by_its_name(tmp_path: Path) -> None:
    """Whose name may be a typing error."""
    (tmp_path / "no").touch()
    assert f"{tmp_path / 'no'} is no folder" in str(refused(tmp_path / "no" / "s"))


@LINUX
def test_a_path_that_is_too_long_is_told_with_both_lengths(tmp_path: Path) -> None:
    """107 bytes fit, 108 do not; bytes, not letters."""
    room = 107 - len(os.fsencode(tmp_path)) - 1
    file = SocketFile(str(tmp_path / ("x" * room)))
    with unix_socket() as sock:
        file.bind(sock)
        file.release()
    error = refused(tmp_path / ("x" * (room - 1) + "ü"))
    assert error.errno == errno.ENAMETOOLONG
    assert "it has 108 bytes, and the path of a socket has at most 107" in str(error)


@pytest.mark.parametrize(
    ("name", "shown", "why"),
    [
        ("\ud800", r"\ud800", "it cannot be written in utf-8"),
        ("a\0b", r"a\x00b", "no path has a NUL character in it"),
        ("no\n\x1b[2J/s", r"no\n\x1b[2J/s", r"there is no folder {folder}/no\n\x1b[2J; make it"),
        ("l\rong" * 30, r"l\rong" * 30, "choose a shorter one"),
    ],
    ids=["surrogate", "nul", "control", "long"],
)
def test_what_cannot_stand_in_a_line_of_the_log_is_told_escaped(
    tmp_path: Path, name: str, shown: str, why: str
) -> None:
    """A path may hold anything; what is said of it is one line, and does nothing to a terminal."""
    before = descriptors()
    with unix_socket() as sock, pytest.raises(CannotListenError) as raised:
        SocketFile(f"{tmp_path}/{name}").bind(sock)
    said = str(raised.value)
    assert said.startswith(f"cannot listen on {tmp_path}/{shown}: ")
    assert why.format(folder=tmp_path) in said
    assert said.isprintable()
    assert descriptors() == before


def test_a_lock_in_the_way_is_told_escaped_as_well(tmp_path: Path) -> None:
    """As it is called by the path."""
    (tmp_path / "s\n.lock").write_text("my notes")
    with unix_socket() as sock, pytest.raises(CannotListenError, match="is in the way") as raised:
        SocketFile(f"{tmp_path}/s\n").bind(sock)
    assert str(raised.value).isprintable()


@AS_ROOT
def test_a_folder_that_we_may_not_write_to_is_told_with_the_user(tmp_path: Path) -> None:
    """Who it is matters, when privileges have been dropped."""
    os.seteuid(65534)
    try:
        error = refused(tmp_path / "s")
    finally:
        os.seteuid(0)
    assert error.errno == errno.EACCES
    assert f"user 65534 may not write to {tmp_path}" in str(error)
    assert "RuntimeDirectory=" in str(error)


@AS_ROOT
def test_a_lock_of_another_user_is_told_as_that(common: Path) -> None:
    """The folder may be written to, the lock may not."""
    (common / "s.lock").touch(0o600)
    os.seteuid(65534)
    try:
        error = refused(common / "s")
    finally:
        os.seteuid(0)
    assert "s.lock is another user's" in str(error)


@AS_ROOT
def test_who_may_not_remove_the_files_at_the_end_leaves_them_and_closes_the_rest(tmp_path: Path) -> None:
    """After privileges were dropped; the next server finds a dead server's file."""
    before = descriptors()
    file = SocketFile(str(tmp_path / "s"))
    with unix_socket() as sock:
        file.bind(sock)
        os.seteuid(65534)
        try:
            file.release()
        finally:
            os.seteuid(0)
    assert content(tmp_path) == ["s", "s.lock"]
    assert descriptors() == before
    with unix_socket() as sock:
        file.bind(sock)
        file.release()
    assert content(tmp_path) == []


# ---- abstract names


@LINUX
@KINDS
def test_an_abstract_name_has_neither_file_nor_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: socket.SocketKind
) -> None:
    """It can be reached, is told when it is taken, and leaves nothing."""
    monkeypatch.chdir(tmp_path)
    name = f"@trioservice-test-{os.getpid()}-{kind}"
    before = descriptors()
    file = SocketFile(name)
    with unix_socket(kind) as server, unix_socket(kind) as client:
        file.bind(server)
        if kind == socket.SOCK_STREAM:
            server.listen()
        client.connect("\0" + name[1:])
        error = refused(name, kind)
        assert error.errno == errno.EADDRINUSE
        assert "another program, or another service of this one, has the name" in str(error)
        file.release()
    assert content(tmp_path) == []
    assert descriptors() == before


@LINUX
def test_an_abstract_name_that_is_too_long_is_told_with_both_lengths() -> None:
    """Its sign counts as the byte that stands for it."""
    assert "it has 109 bytes, and the path of a socket has at most 108" in str(refused("@" + "x" * 108))
    with unix_socket() as sock:
        SocketFile("@" + "x" * 107).bind(sock)


@LINUX
def test_an_abstract_name_that_cannot_be_written_is_told() -> None:
    """With a NUL in it, it can."""
    with unix_socket() as sock, pytest.raises(CannotListenError, match=r"@\\ud800: it cannot be written"):
        SocketFile("@\ud800").bind(sock)
    with unix_socket() as sock:
        SocketFile(f"@trioservice\0{os.getpid()}").bind(sock)


def test_a_group_is_looked_up_by_its_name(tmp_path: Path) -> None:
    """One's own group can be given to without being root."""
    name = grp.getgrgid(os.getegid()).gr_name
    file = SocketFile(str(tmp_path / "s"), group=name)
    with unix_socket() as sock:
        file.bind(sock)
    assert os.stat(tmp_path / "s").st_gid == os.getegid()
    file.release()
