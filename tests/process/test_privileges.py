"""Whom the process becomes.  What really changes its user is in tests/real/test_privileges.py."""

from __future__ import annotations

import errno
import grp
import os
import pwd

import pytest

from trioservice.process.exits import CannotRun, Exit
from trioservice.process.privileges import Identity, become, identity

NOBODY = pwd.getpwnam("nobody")
UNUSED = 3_000_000_000 % 2**31 + 12345  # a number that no user and no group has


def test_nobody_asks_for_nothing() -> None:
    """Then there is nothing to become."""
    assert identity(None, None) is None


def test_a_user_alone_brings_the_primary_group_and_all_others() -> None:
    """Row 70."""
    whom = identity("nobody", None)
    assert whom is not None
    assert (whom.uid, whom.gid) == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert set(whom.groups) == set(os.getgrouplist("nobody", NOBODY.pw_gid))
    assert whom.name == "uid=nobody"


@pytest.mark.parametrize("uid", [NOBODY.pw_uid, str(NOBODY.pw_uid), "nobody"])
@pytest.mark.parametrize("gid", [1, "1", grp.getgrgid(1).gr_name])
def test_names_and_numbers_mean_the_same(uid: int | str, gid: int | str) -> None:
    """Row 63."""
    whom = identity(uid, gid)
    assert whom is not None
    assert (whom.uid, whom.gid) == (NOBODY.pw_uid, 1)
    assert 1 in whom.groups


def test_a_group_alone_leaves_the_user() -> None:
    """And takes all other groups away."""
    assert identity(None, 1) == Identity(os.geteuid(), 1, (1,), "gid=1")


def test_a_number_that_no_user_has_needs_a_group() -> None:
    """Containers run as such numbers; but which group it should be in is nobody's guess."""
    assert identity(UNUSED, UNUSED) == Identity(UNUSED, UNUSED, (UNUSED,), f"uid={UNUSED}, gid={UNUSED}")
    with pytest.raises(CannotRun, match=f"no user has the number {UNUSED}") as refused:
        identity(UNUSED, None)
    assert refused.value.hint == "say the group, too: --gid"


@pytest.mark.parametrize(("uid", "gid"), [("4294967295", 1), (1, 99999999999999)])
def test_a_number_that_nobody_can_have_is_told(uid: int | str, gid: int | str) -> None:
    """The first of them would mean, to the kernel: as it is."""
    with pytest.raises(CannotRun, match=r"no (user|group) can have the number (4294967295|99999999999999)"):
        identity(uid, gid)


@pytest.mark.parametrize(
    ("uid", "gid", "said"),
    [
        ("no-such-user", None, "there is no user named 'no-such-user'"),
        (None, "no-such-group", "there is no group named 'no-such-group'"),
        ("-1", None, "there is no user named '-1'"),
        ("\u00b9", None, "there is no user named '\u00b9'"),
    ],
)
def test_a_name_that_nobody_has_is_told(uid: str | None, gid: str | None, said: str) -> None:
    """With the command that lists those that there are."""
    with pytest.raises(CannotRun) as refused:
        identity(uid, gid)
    assert str(refused.value) == said
    assert "getent" in refused.value.hint
    assert refused.value.status is Exit.NO_PERMISSION


class System:
    """The calls that change a user, written down instead of made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, obedient: bool = True, back: bool = False) -> None:
        self.calls: list[tuple[str, object]] = []
        self._back = back
        ids = {"uid": 0, "gid": 0}

        def change(what: str, which: str, number: int) -> None:
            if self.calls and what == "setuid" and number == 0 and not self._back:
                raise PermissionError(errno.EPERM, "Operation not permitted")
            self.calls.append((what, number))
            if obedient:
                ids[which] = number

        monkeypatch.setattr(os, "geteuid", lambda: ids["uid"])
        monkeypatch.setattr(os, "getegid", lambda: ids["gid"])
        monkeypatch.setattr(os, "setgroups", lambda groups: self.calls.append(("setgroups", groups)))
        for what, which in (("setgid", "gid"), ("setuid", "uid"), ("setegid", "gid"), ("seteuid", "uid")):
            monkeypatch.setattr(os, what, lambda number, what=what, which=which: change(what, which, number))


WHOM = Identity(1000, 1000, (10, 1000), "uid=shop")


def test_the_groups_go_first_and_the_user_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the user nothing else may be changed."""
    system = System(monkeypatch)
    become(WHOM)
    assert system.calls == [("setgroups", (10, 1000)), ("setgid", 1000), ("setuid", 1000)]


def test_the_effective_user_alone_is_changed_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    """As twistd's --euid does; the way back is wanted there."""
    system = System(monkeypatch)
    become(WHOM, effective=True)
    assert system.calls == [("setgroups", (10, 1000)), ("setegid", 1000), ("seteuid", 1000)]


def test_who_is_that_already_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 71: and needs no right to."""
    system = System(monkeypatch)
    become(Identity(0, 0, (0,), "uid=root"))
    assert system.calls == []


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ({"obedient": False}, "cannot become uid=shop: the system has not done it, and has not said so"),
        ({"back": True}, "cannot become uid=shop: the system would let it become root again"),
    ],
)
def test_what_the_system_says_is_verified(
    monkeypatch: pytest.MonkeyPatch, system: dict[str, bool], said: str
) -> None:
    """A program that believes it has dropped its rights is worse than one that never tried."""
    System(monkeypatch, **system)
    with pytest.raises(CannotRun) as refused:
        become(WHOM)
    assert str(refused.value) == said
    assert refused.value.status is Exit.NO_PERMISSION


def test_who_may_not_is_told_who_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 71: it ends the program."""

    def refuse(groups: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    System(monkeypatch)
    monkeypatch.setattr(os, "setgroups", refuse)
    with pytest.raises(CannotRun, match="cannot become uid=shop: Operation not permitted") as refused:
        become(WHOM)
    assert "only root may become somebody else" in refused.value.hint
