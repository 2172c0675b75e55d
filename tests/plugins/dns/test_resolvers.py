"""Those who know by a file: read before anything runs, again when it changes, and never the worse for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from net.support import eventually, running

from trioservice import ServicesFailed
from trioservice.plugins.dns.answers import Answer
from trioservice.plugins.dns.events import FileLoaded, FileRejected
from trioservice.plugins.dns.hosts import HostsResolver
from trioservice.plugins.dns.names import from_text
from trioservice.plugins.dns.questions import Question
from trioservice.plugins.dns.resolvers import CannotLoadError, Resolver
from trioservice.plugins.dns.zones import ZoneResolver

A_TEST = Question(from_text("a.test"), 1)


def address(resolver: HostsResolver) -> bytes | None:
    answer = resolver.known(A_TEST)
    return None if answer is None else answer.body[-4:]


async def test_the_file_is_read_before_anything_runs_and_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("192.0.2.1 a.test\n")
    resolver = HostsResolver(path, check_interval=0.01)
    async with running(resolver) as (_, events):
        assert address(resolver) == b"\xc0\0\2\1"
        path.write_text("192.0.2.22 a.test b.test\n")
        await eventually(lambda: address(resolver) == b"\xc0\0\2\x16")
        await eventually(lambda: len(events.of(FileLoaded)) == 2)
        assert [str(event) for event in events.of(FileLoaded)] == [
            f"2 names from {path}",
            f"3 names from {path}",
        ]


async def test_another_file_of_that_name_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("192.0.2.1 a.test\n")
    resolver = HostsResolver(path, check_interval=0.01)
    async with running(resolver):
        new = tmp_path / "new"
        new.write_text("192.0.2.3 a.test\n")
        os.utime(new, ns=(path.stat().st_mtime_ns,) * 2)
        new.replace(path)
        await eventually(lambda: address(resolver) == b"\xc0\0\2\3")


async def test_a_file_that_is_gone_changes_nothing_and_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("192.0.2.1 a.test\n")
    resolver = HostsResolver(path, check_interval=0.001)
    async with running(resolver) as (_, events):
        path.unlink()
        await eventually(lambda: events.of(FileRejected))
        assert address(resolver) == b"\xc0\0\2\1"
        await trio.sleep(0.05)
        (event,) = events.of(FileRejected)
        assert (
            str(event)
            == f"cannot read {path} again, so what it said before holds: {path}: No such file or directory"
        )
        with pytest.raises(CannotLoadError):
            await resolver.on_reload()
        path.write_text("192.0.2.4 a.test\n")
        await eventually(lambda: address(resolver) == b"\xc0\0\2\4")


async def test_a_file_that_cannot_be_read_at_the_start_is_a_failed_start(tmp_path: Path) -> None:
    for resolver, reason in (
        (HostsResolver(tmp_path / "hosts"), "No such file"),
        (ZoneResolver(tmp_path / "zone"), "No such file"),
    ):
        with pytest.raises(ServicesFailed) as caught:
            await resolver.main()
        assert isinstance(caught.value.exceptions[0], CannotLoadError)
        assert reason in str(caught.value.exceptions[0])


async def test_a_zone_that_is_wrong_is_told_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "zone"
    path.write_text("$ORIGIN a.test.\n@ 60 IN A 1.2.3\n")
    with pytest.raises(ServicesFailed) as caught:
        await ZoneResolver(path).main()
    assert str(caught.value.exceptions[0]).startswith(f"{path}: it is no zone: line ")


async def test_lines_that_say_nothing_are_worth_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("192.0.2.1 a.test\nnonsense\n")
    async with running(HostsResolver(path)) as (_, events):
        (event,) = events.of(FileLoaded)
        assert str(event).endswith("; lines of it that say nothing that can be served: 1")
        assert event.level == 30


async def test_who_is_recursive_has_to_find() -> None:
    class Hasty(Resolver):
        recursive = True

        def known(self, question: Question) -> Answer | None:
            return None

    with pytest.raises(NotImplementedError, match=r"Hasty is recursive, and has no find\(\)"):
        await Hasty().find(A_TEST)
