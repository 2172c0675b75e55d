"""What a site answers, over a real connection."""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from net.http_support import ENDPOINT, Client
from net.support import connect, running

from trioservice.plugins.web import StaticSite
from trioservice.plugins.web.conditions import http_date

from .support import HELLO, filled, get, serving


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return filled(tmp_path)


async def test_a_file_comes_with_all_that_is_told_of_it(site: Path) -> None:
    os.utime(site / "hello.txt", (1000, 1000))
    async with serving(site, cache_control="max-age=60") as client:
        answer = await get(client, "/hello.txt")
        assert (answer.status, answer.body) == (200, HELLO)
        told = {
            b"content-type": b"text/plain; charset=utf-8",
            b"content-length": b"13",
            b"last-modified": http_date(1000),
            b"accept-ranges": b"bytes",
            b"cache-control": b"max-age=60",
            b"x-content-type-options": b"nosniff",
            b"vary": b"accept-encoding",
        }
        assert told.items() <= answer.headers.items()
        again = await get(client, "/hello.txt", "If-None-Match: " + answer.headers[b"etag"].decode())
        assert (again.status, again.body) == (304, b"")


async def test_the_same_answer_is_given_from_memory_until_the_file_changes(site: Path) -> None:
    async with serving(site) as client:
        for text in (b"one", b"another", b"a third one"):  # of other sizes: a clock may tick slowly
            (site / "hello.txt").write_bytes(text)
            for _ in range(3):
                assert (await get(client, "/hello.txt")).body == text
        (site / "hello.txt").unlink()
        assert (await get(client, "/hello.txt")).status == 404
        (site / "hello.txt").symlink_to(site.parent / "outside.txt")
        assert (await get(client, "/hello.txt")).status == 404


async def test_what_is_in_memory_goes_with_the_folder_that_it_was_in(site: Path) -> None:
    """Moved out of the site, it is not sent, though a link leads to it."""
    async with serving(site) as client:
        for name in ("one", "two"):
            assert (await get(client, "/docs/index.html")).status == 200
            (site / "docs" / name).touch()  # which changes the folder, and not the file
        (site / "docs").rename(site.parent / "docs")
        (site / "docs").symlink_to(site.parent / "docs")
        assert (await get(client, "/docs/index.html")).status == 404


async def test_a_large_file_comes_whole_and_in_parts(site: Path) -> None:
    data = (site / "large.bin").read_bytes()
    async with serving(site) as client:
        assert (await get(client, "/large.bin")).body == data
        part = await get(client, "/large.bin", "Range: bytes=999990-")
        assert (part.status, part.body) == (206, data[-10:])
        assert part.headers[b"content-range"] == b"bytes 999990-999999/1000000"
        none = await get(client, "/large.bin", "Range: bytes=1000000-")
        assert (none.status, none.headers[b"content-range"]) == (416, b"bytes */1000000")


async def test_head_says_the_same_and_sends_nothing(site: Path) -> None:
    async with serving(site) as client:
        for path, size in (("/hello.txt", b"13"), ("/large.bin", b"1000000"), ("/docs/", b"11")):
            answer = await get(client, path, method="HEAD")
            assert (answer.status, answer.headers[b"content-length"], answer.body) == (200, size, b"")


async def test_a_folder_is_its_index_or_a_list(site: Path) -> None:
    async with serving(site) as client:
        assert (await get(client, "/docs/")).body == b"<p>docs</p>"
        moved = await get(client, "/docs?a=b")
        assert (moved.status, moved.headers[b"location"]) == (301, b"/docs/?a=b")
        page = await get(client, "/docs/deep/")
        assert page.status == 200
        assert b"./a%20b.css" in page.body
        assert b"secret" not in (await get(client, "/")).body
        assert (await get(client, "/hello.txt/")).status == 404


async def test_an_index_that_comes_or_goes_is_noticed(site: Path) -> None:
    async with serving(site, index=["index.html", "other.html"]) as client:
        (site / "empty/other.html").write_bytes(b"other")
        assert (await get(client, "/empty/")).body == b"other"
        assert (await get(client, "/empty/")).body == b"other"
        (site / "empty/index.html").write_bytes(b"first")
        assert (await get(client, "/empty/")).body == b"first"


async def test_lists_can_be_switched_off(site: Path) -> None:
    async with serving(site, listings=False) as client:
        assert (await get(client, "/empty/")).status == 403
        assert (await get(client, "/docs/")).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/.env",
        "/.hidden/key",
        "/out",
        "/outfolder/",
        "/outfolder/outside.txt",
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/pipe",
        "/nowhere",
        "/hello.txt%00",
        "/docs%2findex.html",
        "//hello.txt",
        "/..%5coutside.txt",
        "/x",
    ],
)
async def test_what_may_not_be_seen_is_not_there(site: Path, path: str) -> None:
    async with serving(site) as client:
        answer = await get(client, path)
        assert answer.status == 404
        assert b"secret" not in answer.body
    assert (site / ".well-known").exists()


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets the system refuse files by the end of their name, as it does for who is not root."""
    ends: list[str] = []
    really_open = os.open

    def refuse(path: str, *rest: int) -> int:
        if any(os.fspath(path).endswith(end) for end in ends):
            raise PermissionError(13, "Permission denied", path)
        return really_open(path, *rest)

    monkeypatch.setattr("os.open", refuse)
    return ends.append


@pytest.mark.parametrize("path", ["/hello.txt", "/docs/"])
async def test_what_we_may_not_read_is_refused(site: Path, unreadable, path: str) -> None:
    async with serving(site) as client:
        unreadable("hello.txt")
        unreadable("docs/index.html")
        assert (await get(client, path)).status == 403


async def test_an_extra_that_cannot_be_read_is_done_without(site: Path, unreadable) -> None:
    """A compressed sibling, or a page for what is not there."""
    (site / "hello.txt.gz").write_bytes(b"")
    (site / "404.html").write_bytes(b"")
    (site / "hello.txt.br").mkdir()
    unreadable(".gz")
    unreadable("404.html")
    async with serving(site) as client:
        for _ in range(2):
            assert (await get(client, "/hello.txt", "Accept-Encoding: gzip, br")).body == HELLO
        assert (await get(client, "/x")).body == b"404 Not Found\n"


async def test_an_index_that_is_a_folder_is_none(site: Path) -> None:
    (site / "empty/index.html").mkdir()
    (site / "empty/index.htm").write_bytes(b"shorter")
    async with serving(site) as client:
        assert (await get(client, "/empty/")).body == b"shorter"
        (site / "empty/index.html").rmdir()
        (site / "empty/index.html").write_bytes(b"longer")
        assert (await get(client, "/empty/")).body == b"longer"


async def test_a_site_may_say_in_its_own_words_what_is_not_there(site: Path) -> None:
    (site / "404.html").write_bytes(b"<p>lost?</p>")
    async with serving(site) as client:
        answer = await get(client, "/x", "If-None-Match: *", "Range: bytes=0-1")
        assert (answer.status, answer.body) == (404, b"<p>lost?</p>")


async def test_other_methods_are_refused_with_those_there_are(site: Path) -> None:
    async with serving(site) as client:
        answer = await get(client, "/hello.txt", "Content-Length: 0", method="POST")
        assert (answer.status, answer.headers[b"allow"]) == (405, b"GET, HEAD")


async def test_who_takes_a_compressed_sibling_is_given_it(site: Path) -> None:
    packed = gzip.compress(HELLO)
    async with serving(site) as client:
        assert (await get(client, "/hello.txt", "Accept-Encoding: gzip, br")).body == HELLO
        (site / "hello.txt.gz").write_bytes(packed)
        answer = await get(client, "/hello.txt", "Accept-Encoding: gzip, br")
        assert (answer.headers[b"content-encoding"], answer.body) == (b"gzip", packed)
        assert answer.headers[b"content-type"] == b"text/plain; charset=utf-8"
        plain = await get(client, "/hello.txt")
        assert (plain.headers.get(b"content-encoding"), plain.body) == (None, HELLO)
        assert plain.headers[b"etag"] != answer.headers[b"etag"]


async def test_what_is_compressed_goes_with_what_it_was_made_of(site: Path) -> None:
    (site / "hello.txt.gz").write_bytes(gzip.compress(HELLO))
    async with serving(site) as client:
        assert (await get(client, "/hello.txt", "Accept-Encoding: gzip")).status == 200
        (site / "hello.txt").unlink()
        assert (await get(client, "/hello.txt", "Accept-Encoding: gzip")).status == 404


async def test_a_list_may_stand_in_several_lines(site: Path) -> None:
    """RFC 9110, 5.3."""
    (site / "hello.txt.gz").write_bytes(gzip.compress(HELLO))
    async with serving(site) as client:
        answer = await get(client, "/hello.txt", "Accept-Encoding: deflate", "Accept-Encoding: gzip")
        assert answer.headers[b"content-encoding"] == b"gzip"
        etag = (await get(client, "/hello.txt")).headers[b"etag"].decode()
        assert (await get(client, "/hello.txt", 'If-None-Match: "x"', f"If-None-Match: {etag}")).status == 304


async def test_nothing_was_modified_in_the_future(site: Path) -> None:
    """RFC 9110, 8.8.2.1."""
    os.utime(site / "hello.txt", (2**32, 2**32))
    async with serving(site) as client:
        answer = await get(client, "/hello.txt")
        told = parsedate_to_datetime(answer.headers[b"last-modified"].decode())
        assert told <= parsedate_to_datetime(answer.headers[b"date"].decode())


async def test_a_long_list_keeps_nobody_waiting(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def page_of(*_: object) -> bytes:
        threads.append(threading.current_thread())
        return b"a page"

    monkeypatch.setattr("trioservice.plugins.web.files.page_of", page_of)
    async with serving(site) as client:
        assert (await get(client, "/empty/")).body == b"a page"
    assert threads[0] is not threading.main_thread()


async def test_memory_is_for_what_was_asked_for_of_late(site: Path) -> None:
    for number in range(20):
        (site / f"{number}.txt").write_bytes(b"x" * 1000)
    async with serving(site, memory=5000) as client:
        for number in (*range(20), *range(20)):
            assert (await get(client, f"/{number}.txt")).body == b"x" * 1000


async def test_what_is_asked_besides_the_path_costs_no_memory(tmp_path: Path) -> None:
    """Nobody can fill it with one file under many names."""
    server = StaticSite(filled(tmp_path), ENDPOINT)
    async with running(server), await connect(server.addresses[0]) as stream:
        client = Client(stream)
        for number in range(20):
            assert (await get(client, f"/hello.txt?{number}")).body == HELLO
            assert (await get(client, f"http://host{number}/hello.txt")).body == HELLO
    assert len(server.files._kept._files) == 1


async def test_a_range_is_of_get_only(tmp_path: Path) -> None:
    """RFC 9110, 14.2."""
    async with serving(filled(tmp_path)) as client:
        assert (await get(client, "/hello.txt", "Range: bytes=0-1", method="HEAD")).status == 200


async def test_a_date_of_asctime_means_utc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9110, 5.6.7."""
    site = filled(tmp_path)
    os.utime(site / "hello.txt", (784111777, 784111777))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        async with serving(site) as client:
            asked = "If-Modified-Since: Sun Nov  6 08:49:37 1994"
            assert (await get(client, "/hello.txt", asked)).status == 304
            earlier = "If-Modified-Since: Sun Nov  6 08:49:36 1994"
            assert (await get(client, "/hello.txt", earlier)).status == 200
    finally:
        monkeypatch.undo()
        time.tzset()
