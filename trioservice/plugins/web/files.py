"""From a request to the file that answers it.

What is small is kept in memory, head and all, and each time it is asked for, the system is asked whether
the file is still that file: one ``stat``, for which nobody has to wait.  What is large is sent by the kernel,
and never seen by Python.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache

import trio

from ...net.http import Exchange, phrase_of
from ...records import record
from .codings import CODINGS, taken
from .conditions import CONDITIONS, Part, answer_to, etag_of, http_date, part_of
from .folders import page_of, wanted_order
from .kinds import kind_of
from .paths import Place, place_of
from .roots import Opened, Root, Signature, folder_signature, read_now, signature, signature_of

__all__ = ["Files"]

Header = tuple[bytes, bytes]

# What decides which file it is: a path, as it came, and the codings that are taken.
Wanted = tuple[bytes, tuple[str, ...]]

# How it was looked at a path, and what was there; nothing, where nothing was.
Seen = tuple[Callable[[str], Signature | None], str, Signature | None]

#: What is not larger is read and kept; what is larger is sent out of the file.
_SMALL = 64 * 1024

_SLASH, _QUESTION_MARK = b"/?"

# A page of ours runs nothing and loads nothing.
_PAGE = [
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
    (b"x-content-type-options", b"nosniff"),
]
_TEXT = (b"content-type", b"text/plain; charset=utf-8")


@record
class Told:
    """What is told of a file.

    Args:
        headers: of the answer.
        etag: its tag.
        modified: when, in seconds since 1970.
        size: in bytes.
    """

    headers: tuple[Header, ...]
    etag: bytes
    modified: float
    size: int


@record
class Found:
    """A small file that has answered a request.

    Args:
        told: what is told of it.
        body: what it holds.
        seen: all that was looked at to find it.
    """

    told: Told
    body: bytes
    seen: tuple[Seen, ...]

    def is_still_so(self) -> bool:
        """Whether nothing that was looked at has changed."""
        for look, path, there in self.seen:  # noqa: SIM110 - a generator for all() would double what it costs
            if look(path) != there:
                return False
        return True


# What remembering a file costs besides its bytes, about.
_EACH = 1024


class Kept:
    """The small files that were asked for of late, up to so many bytes."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._files: OrderedDict[object, Found] = OrderedDict()

    def get(self, key: object) -> Found | None:
        """The file that answered such a request, if it would still do so."""
        found = self._files.get(key)
        if found is not None and not found.is_still_so():
            self._forget(key)
            return None
        return found

    def has_room_for(self, size: int) -> bool:
        """Whether a file of so many bytes may be kept at all."""
        return size + _EACH <= self._most

    def keep(self, key: object, found: Found) -> None:
        """Remember it, and forget others for that."""
        if key in self._files:
            self._forget(key)
        self._files[key] = found
        self._size += found.told.size + _EACH
        while self._size > self._most:
            self._forget(next(iter(self._files)))

    def _forget(self, key: object) -> None:
        self._size -= self._files.pop(key).told.size + _EACH


class Files:
    """What answers requests from the files below a folder; a handler for an HTTPServer.

    The arguments are those of :class:`~.site.StaticSite`.
    """

    def __init__(
        self,
        root: Root,
        *,
        listings: bool,
        index: Sequence[str],
        not_found: str | None,
        cache_control: str | None,
        memory: int,
    ) -> None:
        self._root = root
        self._listings = listings
        self._index = tuple(index)
        self._not_found = None if not_found is None else place_of(b"/" + not_found.encode())
        self._always: tuple[Header, ...] = ((b"x-content-type-options", b"nosniff"),)
        if cache_control is not None:
            self._always += ((b"cache-control", cache_control.encode("ascii")),)
        self._kept = Kept(memory)

    # ---- one request

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request."""
        request = exchange.request
        if request.method not in ("GET", "HEAD"):
            await exchange.respond(405, [(b"allow", b"GET, HEAD"), _TEXT], b"only GET and HEAD, here\n")
            return
        raw_path = request.target
        if raw_path[0] != _SLASH or _QUESTION_MARK in raw_path:
            raw_path = request.raw_path  # whatever else is said is no other file
        wanted = raw_path, taken(request.headers.get_list(b"accept-encoding"))
        found = self._kept.get(wanted)
        if found is not None:
            await self._answer(exchange, found.told, found.body)
            return
        try:
            await self._look(exchange, wanted)
        except PermissionError:  # nothing is said before it is opened
            await self._say(exchange, 403)

    async def _look(self, exchange: Exchange, wanted: Wanted) -> None:
        """Answer with what is there now."""
        place = place_of(wanted[0])
        opened = None if place is None else self._root.open(place.names)
        if place is None or opened is None:
            await self._miss(exchange)
            return
        try:
            if opened.is_folder:
                await self._folder(exchange, wanted, place, opened)
            elif place.is_folder:
                await self._miss(exchange)
            else:
                await self._file(exchange, wanted, place.names, opened, [])
        finally:
            opened.close()

    async def _folder(self, exchange: Exchange, wanted: Wanted, place: Place, folder: Opened) -> None:
        if not place.is_folder:
            await self._say(exchange, 301, [(b"location", _with_a_slash(exchange))])
            return
        seen: list[Seen] = []
        for name in self._index:
            names = (*place.names, name)
            index = self._file_at(names)
            if index is None:
                seen.append(_seen_at(self._root.where(names)))
                continue
            try:
                await self._file(exchange, wanted, names, index, seen)
            finally:
                index.close()
            return
        if self._listings:
            # A folder may be long, and its disk slow.
            page = await trio.to_thread.run_sync(self._page, place, folder, exchange.request.query)
            await exchange.respond(200, [*_PAGE, (b"cache-control", b"no-cache")], page)
        else:
            await self._say(exchange, 403)

    def _page(self, place: Place, folder: Opened, query: bytes) -> bytes:
        return page_of(place.names, self._root.entries(folder), wanted_order(query))

    async def _file(
        self, exchange: Exchange, wanted: Wanted, names: tuple[str, ...], opened: Opened, seen: list[Seen]
    ) -> None:
        """Answer with what was opened, or with a compressed sibling of it."""
        kind = kind_of(names[-1])
        # A folder on the way may be moved out of the site, and a link to it take its place.
        seen += [_seen_at(self._root.where(names[:end]), folder_signature) for end in range(1, len(names))]
        seen.append((signature, opened.path, signature_of(opened.facts)))
        for coding in wanted[1]:
            sibling = self._extra_at((*names[:-1], names[-1] + CODINGS[coding]))
            if sibling is None:
                seen.append(_seen_at(opened.path + CODINGS[coding]))
                continue
            seen.append((signature, sibling.path, signature_of(sibling.facts)))
            try:
                await self._send(exchange, wanted, sibling, self._told(sibling, kind, coding), seen)
            finally:
                sibling.close()
            return
        await self._send(exchange, wanted, opened, self._told(opened, kind), seen)

    async def _send(
        self, exchange: Exchange, wanted: Wanted, opened: Opened, told: Told, seen: list[Seen]
    ) -> None:
        """Answer with what was opened, and keep it, if it is small."""
        body = None
        if told.size <= _SMALL:
            body = await read_now(opened.fileno, 0, told.size)
            if len(body) < told.size:  # it has been cut in this moment
                body = None
            elif self._kept.has_room_for(told.size):
                self._kept.keep(wanted, Found(told, body, tuple(seen)))
        await self._answer(exchange, told, body, opened.fileno)

    def _file_at(self, names: tuple[str, ...]) -> Opened | None:
        opened = self._root.open(names)
        if opened is not None and opened.is_folder:
            opened.close()
            return None
        return opened

    def _extra_at(self, names: tuple[str, ...]) -> Opened | None:
        """A file that can be done without: one that we may not read is none."""
        with suppress(PermissionError):
            return self._file_at(names)
        return None

    def _told(self, opened: Opened, kind: bytes, coding: str = "") -> Told:
        facts = opened.facts
        modified = min(facts.st_mtime, time.time())  # RFC 9110, 8.8.2.1: not in the future
        return _told(modified, facts.st_mtime_ns, facts.st_size, kind, coding, self._always)

    async def _answer(
        self, exchange: Exchange, told: Told, body: bytes | None, fileno: int | None = None
    ) -> None:
        """Send a file, or what the request's conditions leave of it."""
        status, headers, part = 200, told.headers, None
        asked = exchange.request.headers.pick(CONDITIONS)
        if asked:
            status = answer_to(asked, told.etag, told.modified)
            if status != 200:
                await exchange.respond(status, headers)
                return
            if exchange.request.method == "GET":  # RFC 9110, 14.2: of GET only
                try:
                    part = part_of(asked, told.size, told.etag, told.modified)
                except ValueError:
                    nothing = (b"content-range", b"bytes */%d" % told.size)
                    await self._say(exchange, 416, [nothing])
                    return
            if part is not None:
                last = part.start + part.length - 1
                status = 206
                headers += ((b"content-range", b"bytes %d-%d/%d" % (part.start, last, told.size)),)
        if body is not None:
            if part is not None:
                body = body[part.start : part.start + part.length]
            await exchange.respond(status, headers, body)
        else:
            assert fileno is not None
            await _send_out_of(fileno, exchange, status, headers, part or Part(0, told.size))

    # ---- what is not there

    async def _miss(self, exchange: Exchange) -> None:
        """Answer that there is nothing, with the site's own page if it has one."""
        opened = None if self._not_found is None else self._extra_at(self._not_found.names)
        if opened is None or self._not_found is None:
            await self._say(exchange, 404)
            return
        try:
            told = self._told(opened, kind_of(self._not_found.names[-1]))
            await _send_out_of(opened.fileno, exchange, 404, told.headers, Part(0, told.size))
        finally:
            opened.close()

    async def _say(self, exchange: Exchange, status: int, headers: Sequence[Header] = ()) -> None:
        await exchange.respond(status, [*headers, _TEXT], f"{status} {phrase_of(status)}\n".encode())


async def _send_out_of(
    fileno: int, exchange: Exchange, status: int, headers: tuple[Header, ...], part: Part
) -> None:
    await exchange.start(status, [*headers, (b"content-length", b"%d" % part.length)])
    await exchange.send_file(fileno, part.start, part.length)


@lru_cache(maxsize=1024)  # most files are asked for again
def _told(
    modified: float, mtime_ns: int, size: int, kind: bytes, coding: str, always: tuple[Header, ...]
) -> Told:
    etag = etag_of(mtime_ns, size)
    headers = [
        (b"content-type", kind),
        (b"last-modified", http_date(int(modified))),
        (b"etag", etag),
        (b"accept-ranges", b"bytes"),
        (b"vary", b"accept-encoding"),
        *always,
    ]
    if coding:
        headers.append((b"content-encoding", coding.encode("ascii")))
    return Told(tuple(headers), etag, modified, size)


def _seen_at(path: str, look: Callable[[str], Signature | None] = signature) -> Seen:
    return look, path, look(path)


def _with_a_slash(exchange: Exchange) -> bytes:
    _, raw_path, query = exchange.request.parts()
    return raw_path + b"/" + (b"?" + query if query else b"")
