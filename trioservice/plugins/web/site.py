"""The service: a folder, seen by HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from ...net.endpoints import StreamServerEndpoint
from ...net.http import HTTPServer, HTTPServerOptions
from .access import FORMATS, log_access
from .files import Files
from .roots import Root

__all__ = ["StaticSite"]


class StaticSite(HTTPServer):
    """A leaf that serves the files below a folder, by HTTP.

    ::

        StaticSite("public", "tcp:8080")
        StaticSite("public", "ssl:443:certKey=site.pem", listings=False, cache_control="max-age=3600")

    Nothing outside of the folder is ever sent, wherever links lead, nor names that begin with a dot (but
    ``.well-known``).  Beside ``page.html`` may stand ``page.html.br`` and ``page.html.gz``, which are sent to
    who takes them.  Ranges and conditions are those of RFC 9110; to several ranges in one request, the
    answer is the whole.

    Args:
        path: of the folder.
        endpoint: where to listen, as for :class:`~trioservice.net.servers.StreamServer`.
        listings: whether a folder without an index is shown as a list.
        index: the names of the files that stand for their folder, the first that is there.
        not_found: a file below the folder that is sent for what is not there (with status 404).
        cache_control: the header of that name, for all files: ``"no-cache"``, ``"max-age=3600"``.
        memory: bytes of small files that are kept in memory; they are looked at each time whether they have
            changed.
        access_log: ``"combined"`` or ``"json"``: a line for each answer, to ``trioservice.access``.
        options: those of :class:`~trioservice.net.http.HTTPServer`.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        ValueError: an option that cannot be.
    """

    def __init__(
        self,
        path: str | Path = ".",
        endpoint: str | StreamServerEndpoint = "tcp:8080:interface=127.0.0.1",
        *,
        listings: bool = True,
        index: Sequence[str] = ("index.html", "index.htm"),
        not_found: str | None = "404.html",
        cache_control: str | None = None,
        memory: int = 16 * 1024 * 1024,
        access_log: str | None = None,
        **options: Unpack[HTTPServerOptions],
    ) -> None:
        if access_log is not None:
            if access_log not in FORMATS:
                raise ValueError(f"access_log is {' or '.join(map(repr, FORMATS))}, not {access_log!r}")
            options["on_answered"] = log_access(FORMATS[access_log], options.get("on_answered"))
        if isinstance(index, str):
            raise ValueError(f"index is a list of names, like [{index!r}], not {index!r}")
        if cache_control is not None and not (cache_control.isascii() and cache_control.isprintable()):
            raise ValueError(f'cache_control is like "max-age=3600", not {cache_control!r}')
        self.files = Files(
            Root(path),
            listings=listings,
            index=index,
            not_found=not_found,
            cache_control=cache_control,
            memory=memory,
        )
        super().__init__(endpoint, self.files.serve, **options)

    def _default_name(self) -> str:
        return "site"
