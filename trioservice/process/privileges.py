"""Privileges: who the process becomes, once what needs them is done.

A port below 1024 is bound and a private key is read as root; everything else is done as somebody
with fewer rights.  The moment in between is the application's (rule L18): everything is bound, and
nothing runs.

The order is groups, group, user, since after the user has changed nothing else may be.  Then it is
verified, as setuid(2) advises: that we are who we wanted to be, and that there is no way back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from ..records import record
from .exits import CannotRun, Exit

__all__ = ["Identity", "become", "identity"]

T = TypeVar("T")

_LARGEST = 2**32 - 2  # the number after it says to the kernel "as it is"


@record
class Identity:
    """Whom to become.

    Args:
        uid: the user's number.
        gid: the group's.
        groups: all groups that the process shall be in.
        name: how it was said, for messages.
    """

    uid: int
    gid: int
    groups: tuple[int, ...]
    name: str

    def is_ours(self) -> bool:
        """Whether the process is that already."""
        return (self.uid, self.gid) == (os.geteuid(), os.getegid())


def identity(uid: int | str | None, gid: int | str | None) -> Identity | None:
    """Whom *uid* and *gid*, names or numbers, mean; ``None`` if neither is given.

    A user alone brings the user's primary group.  A user who is known brings all of that user's
    groups; of a number that no user has, only the group.

    Raises:
        CannotRun: there is no such user or group, or no group can be told from the number.
    """
    if uid is None and gid is None:
        return None
    try:
        import grp
        import pwd
    except ImportError:
        raise CannotRun(
            "this system has no users and groups that a process could become",
            hint="leave out uid and gid",
            status=Exit.NO_PERMISSION,
        ) from None

    entry = None
    if uid is None:
        user = os.geteuid()
    else:
        entry = _entry(uid, pwd.getpwnam, pwd.getpwuid, "user")
        user = entry.pw_uid if entry is not None else int(uid)
    if gid is not None:
        found = _entry(gid, grp.getgrnam, grp.getgrgid, "group")
        group = found.gr_gid if found is not None else int(gid)
    elif entry is not None:
        group = entry.pw_gid
    else:
        raise CannotRun(
            f"no user has the number {uid}, so there is no telling to which group the process shall belong",
            hint="say the group, too: --gid",
            status=Exit.NO_PERMISSION,
        )
    groups = os.getgrouplist(entry.pw_name, group) if entry is not None else [group]
    said = ", ".join(f"{key}={value}" for key, value in (("uid", uid), ("gid", gid)) if value is not None)
    return Identity(user, group, tuple(sorted({group, *groups})), said)


def _entry(
    wanted: int | str, by_name: Callable[[str], T], by_number: Callable[[int], T], what: str
) -> T | None:
    """What the system knows of *wanted*; ``None`` of a number that nobody has."""
    said = str(wanted)
    is_number = said.isascii() and said.isdigit()
    if is_number and int(said) > _LARGEST:
        raise CannotRun(
            f"no {what} can have the number {said}",
            hint=f"the largest there can be is {_LARGEST}",
            status=Exit.NO_PERMISSION,
        )
    try:
        return by_number(int(said)) if is_number else by_name(said)
    except KeyError:
        if is_number:
            return None
        database = "passwd" if what == "user" else "group"
        raise CannotRun(
            f"there is no {what} named {said!r}",
            hint=f"`getent {database}` lists those that there are; a number may be given as well",
            status=Exit.NO_PERMISSION,
        ) from None


def become(whom: Identity, *, effective: bool = False) -> None:
    """Become *whom*, for good; nothing happens if the process is that already.

    Args:
        whom: from :func:`identity`.
        effective: change only what counts when rights are checked, so that the program can change
            back (twistd's ``--euid``).

    Raises:
        CannotRun: it is not allowed, or it did not have the effect that it should.
    """
    if whom.is_ours():
        return
    try:
        os.setgroups(whom.groups)
        if effective:
            os.setegid(whom.gid)
            os.seteuid(whom.uid)
        else:
            os.setgid(whom.gid)
            os.setuid(whom.uid)
    except OSError as error:
        raise _refused(whom, f"{error.strerror}") from None
    if not whom.is_ours():
        raise _refused(whom, "the system has not done it, and has not said so")
    if not effective and whom.uid != 0 and _can_go_back():
        raise _refused(whom, "the system would let it become root again")


def _can_go_back() -> bool:
    try:
        os.setuid(0)
    except OSError:
        return False
    return True


def _refused(whom: Identity, why: str) -> CannotRun:
    return CannotRun(
        f"cannot become {whom.name}: {why}",
        hint="only root may become somebody else; leave it out where the right user starts the process",
        status=Exit.NO_PERMISSION,
    )
