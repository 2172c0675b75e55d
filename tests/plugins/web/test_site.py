"""The service and its options."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from trioservice import Application
from trioservice.net.http import Answered
from trioservice.plugins.web import StaticSite

from .support import filled, get, serving


def test_a_site_is_named_so_and_listens_for_this_machine(tmp_path: Path) -> None:
    site = StaticSite(tmp_path)
    assert Application("web", site)["site"] is site
    assert str(site.endpoint) == "tcp:8080:interface=127.0.0.1"


def test_what_cannot_be_an_option_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="access_log is 'combined' or 'json', not 'apache'"):
        StaticSite(tmp_path, access_log="apache")
    with pytest.raises(FileNotFoundError, match=f"the folder to serve, {tmp_path}/x: No such file"):
        StaticSite(tmp_path / "x")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"a site is a folder, and .*file is none"):
        StaticSite(tmp_path / "file")
    with pytest.raises(ValueError, match="index is a list of names, like"):
        StaticSite(tmp_path, index="index.html")
    with pytest.raises(ValueError, match='cache_control is like "max-age=3600", not'):
        StaticSite(tmp_path, cache_control="no-cache\n")


async def test_each_answer_is_logged_if_that_is_wanted(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO, "trioservice.access")
    answers: list[Answered] = []
    options = {"access_log": "combined", "on_answered": answers.append}
    async with serving(filled(tmp_path), **options) as client:
        await get(client, "/hello.txt")
        await get(client, "/x")
    lines = [record.message for record in caplog.records if record.name == "trioservice.access"]
    assert ['"GET /hello.txt HTTP/1.1" 200 13' in lines[0], '"GET /x HTTP/1.1" 404 14' in lines[1]] == [
        True,
        True,
    ]
    assert [answered.status for answered in answers] == [200, 404]
