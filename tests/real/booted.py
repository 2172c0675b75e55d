"""A real systemd, as process 1 of a small world of its own.

The world is a set of namespaces: processes, mounts, and a cgroup of its own that systemd takes for the root.
No unit of the machine's is in it, only those that a test brings, and ``/proc/sys`` can be read only: nothing
is started, mounted or set but what is there already.  Where it cannot be had (it takes root, and a kernel
that lets us), the test is skipped with the reason.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from programs import LIMIT, Process, foreign, running, until

#: Where the files of a test are in that world.
PLACE = "/run/trioservice-test"

_SYSTEMD = "/lib/systemd/systemd"

# What a unit depends on unless it says otherwise, and what nothing in here has to do.
_TARGETS = ("sysinit", "basic", "sockets", "shutdown", "multi-user", "network-online", "the-test")

_BOOT = f"""
set -e
echo $$ > "$1/cgroup.procs"
exec unshare --mount --pid --fork --uts --ipc --cgroup --mount-proc --kill-child sh -ec '
mount --make-rprivate /
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p {PLACE} /run/systemd/system
cp -r "$1"/* {PLACE}
chmod -R a+rX {PLACE}
SYSTEMD_UNIT_PATH={PLACE} container=test exec {_SYSTEMD} --system --unit=the-test.target \
    --log-target=console --show-status=no
' boot "$2"
"""


class World:
    """A systemd that runs."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def do(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in there."""
        enter = ["nsenter", f"--target={self._pid}", "--mount", "--pid", "--uts", "--ipc", "--cgroup"]
        limit = ["timeout", "--signal=KILL", f"{LIMIT:g}"]  # in there: who enters cannot be killed from here
        return subprocess.run([*enter, *limit, *command], capture_output=True, text=True, check=False)

    def systemctl(self, *words: str) -> str:
        """What systemctl prints; it has to succeed."""
        done = self.do("systemctl", *words)
        assert done.returncode == 0, done.stderr + self.do("systemctl", "status", "--no-pager", "shop").stdout
        return done.stdout

    def shown(self, unit: str, what: str) -> str:
        """A property of a unit."""
        return self.systemctl("show", "--value", f"--property={what}", unit).strip()

    def make(self, name: str) -> None:
        """An empty file in :data:`PLACE`."""
        Path(f"/proc/{self._pid}/root{PLACE}/{name}").touch()

    def read(self, name: str) -> str:
        """A file of :data:`PLACE`."""
        path = Path(f"/proc/{self._pid}/root{PLACE}/{name}")
        return path.read_text() if path.exists() else ""


@contextmanager
def booted(folder: Path) -> Iterator[World]:
    """Boot a systemd whose units, and other files, are those of *folder*."""
    _require_what_it_takes()
    for name in _TARGETS:
        (folder / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    with _cgroup() as cgroup, running(["sh", "-c", _BOOT, "sh", str(cgroup), str(folder)]) as process:
        try:
            yield _await(process)
        finally:
            process.send(signal.SIGKILL)  # and with it, all that is in there
            process.ends()


def _require_what_it_takes() -> None:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("to boot a systemd takes Linux and root")
    for program in ("unshare", "nsenter", "systemctl", _SYSTEMD):
        foreign(program)


def whom_to_be() -> str:
    """What a unit has to say if nobody but the owner of this Python may read it."""
    with suppress(OSError):
        nobody = {"user": 65534, "group": 65534, "extra_groups": []}
        subprocess.run([sys.executable, "-c", ""], check=True, **nobody)  # type: ignore[call-overload]
        return ""
    return "DynamicUser=no\nUser=root\n"


@contextmanager
def _cgroup() -> Iterator[Path]:
    """A cgroup below our own, for the time of a test."""
    cgroup = _our_cgroup() / f"trioservice-test-{os.getpid()}"
    try:
        cgroup.mkdir()
    except OSError as error:
        pytest.skip(f"to boot a systemd takes a cgroup of its own: {error}")
    try:
        yield cgroup
    finally:
        until(lambda: _removed(cgroup), "the cgroup is empty")


def _our_cgroup() -> Path:
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    tops = [fields[4] for fields in mounts if fields[fields.index("-") + 1] == "cgroup2"]
    ours = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
    if not tops or not ours:
        pytest.skip("to boot a systemd takes cgroups of version 2")
    return Path(tops[0] + ours[0].removeprefix("0::"))


def _removed(cgroup: Path) -> bool:
    with suppress(OSError):
        for folder, _, _ in os.walk(cgroup, topdown=False):
            os.rmdir(folder)
    return not cgroup.exists()


def _await(process: Process) -> World:
    """Wait until systemd answers; or skip, with what it said."""
    deadline = time.monotonic() + LIMIT
    while process.alive and time.monotonic() < deadline:
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            world = World(int(child))
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                done = world.do("systemctl", "is-active", "the-test.target")
                if done.stdout.strip() == "active":
                    return world
        time.sleep(0.05)
    said = "; ".join((process.out + process.err).strip().splitlines()[-3:])
    pytest.skip(f"no systemd can be booted here: {said or 'it does not answer'}")
