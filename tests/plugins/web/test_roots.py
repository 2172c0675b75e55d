"""Nothing outside of a folder is ever opened, whatever leads there."""

from __future__ import annotations

import errno
import itertools
import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trioservice.plugins.web.paths import place_of
from trioservice.plugins.web.roots import Root, read_now, signature

from .support import HELLO, filled


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return filled(tmp_path)


def content(root: Root, *names: str) -> bytes | None:
    opened = root.open(names)
    if opened is None:
        return None
    try:
        return b"a folder" if opened.is_folder else os.read(opened.fileno, 100)
    finally:
        opened.close()


def test_what_is_below_is_opened(site: Path) -> None:
    root = Root(site)
    assert content(root, "hello.txt") == HELLO
    assert content(root, "within") == HELLO
    assert content(root) == content(root, "docs") == b"a folder"


@pytest.mark.parametrize(
    "names", [["out"], ["outfolder"], ["outfolder", "outside.txt"], ["nowhere"], ["pipe"], ["x"]]
)
def test_what_is_outside_or_no_file_is_not_there(site: Path, names: list[str]) -> None:
    assert content(Root(site), *names) is None


def test_a_root_that_is_a_link_is_where_it_leads(site: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(site)
    assert content(Root(tmp_path / "link"), "hello.txt") == HELLO


def test_a_root_beside_one_with_a_longer_name_is_not_left(tmp_path: Path) -> None:
    for name in ("site", "site2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    (tmp_path / "site" / "b").symlink_to(tmp_path / "site2" / "a")
    assert content(Root(tmp_path / "site"), "b") is None


def test_what_is_no_folder_is_no_site(site: Path) -> None:
    with pytest.raises(NotADirectoryError, match="a site is a folder"):
        Root(site / "hello.txt")
    with pytest.raises(FileNotFoundError):
        Root(site / "x")


def test_what_we_may_not_read_says_so(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:  # as root, one may read everything
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError):
        Root(site).open(["hello.txt"])


def test_a_list_has_what_may_be_asked_for(site: Path) -> None:
    root = Root(site)
    (site / "50% off").write_text("")
    opened = root.open([])
    assert opened is not None
    names = {entry.name for entry in root.entries(opened)}
    opened.close()
    assert {"hello.txt", "docs", ".well-known", "50% off"} <= names
    assert not {".env", ".hidden", "nowhere"} & names


def test_a_link_that_is_turned_in_that_very_moment_leads_to_no_secret(site: Path, tmp_path: Path) -> None:
    """Somebody turns a link between a file of the site and one outside, as fast as he can."""
    root, end, seen = Root(site), threading.Event(), set()

    def turn() -> None:
        while not end.is_set():
            for target in (site / "hello.txt", tmp_path / "outside.txt"):
                (tmp_path / "new").symlink_to(target)
                os.replace(tmp_path / "new", site / "turning")

    turner = threading.Thread(target=turn)
    turner.start()
    try:
        looks, deadline = itertools.count(), time.monotonic() + 30
        # On a busy machine nobody may turn it for as long as thousands of looks take.
        while next(looks) < 3000 or (len(seen) < 2 and time.monotonic() < deadline):
            seen.add(content(root, "turning"))
    finally:
        end.set()
        turner.join()
    assert seen == {HELLO, None}


pieces = st.sampled_from(
    ["..", "%2e%2e", "outfolder", "site", "docs", "out", "outside.txt", "%2f", "", ".", "etc"]
)


@given(st.lists(pieces, max_size=6).map("/".join))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=300,
    deadline=None,
)
def test_no_path_leads_to_a_secret(site: Path, path: str) -> None:
    place = place_of(b"/" + path.encode())
    assert place is None or content(Root(site), *place.names) not in (b"secret",)


async def test_a_file_is_read_where_it_is_asked_for(site: Path) -> None:
    opened = Root(site).open(["hello.txt"])
    assert opened is not None
    assert await read_now(opened.fileno, 0, 13) == HELLO
    assert await read_now(opened.fileno, 7, 5) == b"world"
    assert await read_now(opened.fileno, 7, 500) == HELLO[7:]
    opened.close()


def test_a_file_that_has_changed_has_another_signature(site: Path) -> None:
    path = str(site / "hello.txt")
    before = signature(path)
    (site / "hello.txt").write_bytes(b"HELLO, WORLD\n")
    assert signature(path) not in (before, None)
    assert signature(path + "x") is None
