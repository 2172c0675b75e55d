"""The command ``trioservice web``: what its options say becomes a :class:`~.site.StaticSite`.

What is large is imported when the command is used, since this file is for each ``trioservice --help``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config.endpoint_forms import listening
from ...config.mistakes import Fault, Mistake
from ...config.options import option
from ...config.plugins import Plugin
from ...forms import choice, path

if TYPE_CHECKING:
    from .site import StaticSite

__all__ = ["web"]


def make_site(
    path: str | None, listen: str, listings: bool, cache_control: str | None, access_log: str
) -> StaticSite:
    """The site that the options describe."""
    try:
        from .site import StaticSite

        return StaticSite(
            path or ".",
            listen,
            listings=listings,
            cache_control=cache_control,
            access_log=None if access_log == "none" else access_log,
        )
    except OSError as error:
        raise Mistake(
            f"--path {path}: {error.strerror}", hint="name the folder to serve", fault=Fault.USAGE
        ) from None
    except ValueError as error:
        raise Mistake(str(error), hint="`trioservice web --help` tells more", fault=Fault.USAGE) from None
    except ImportError as error:
        raise Mistake(str(error), hint="pip install 'trioservice[http]'", fault=Fault.USAGE) from None


_FOLDER = path._replace(metavar="FOLDER")

web = Plugin(
    make_site,
    help="serve the files of a folder",
    description="Serve the files below a folder by HTTP: pages, listings, ranges, compressed siblings.",
    options=(
        option("path", ".", type=_FOLDER, help="the folder (default: the current one)"),
        option(
            "listen",
            "tcp:8080:interface=127.0.0.1",
            type=listening,
            help="where (default: tcp:8080:interface=127.0.0.1, for this machine only)",
        ),
        option("listings", True, help="show folders that have no index as a list"),
        option("cache-control", None, help='the header of that name, such as "max-age=3600"'),
        option(
            "access-log",
            "combined",
            type=choice("combined", "json", "none"),
            help="a line in the log for each answer, and its form",
        ),
    ),
)
