"""What a file is, wherever it is served."""

from __future__ import annotations

import pytest

from trioservice.plugins.web.kinds import kind_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("index.html", b"text/html; charset=utf-8"),
        ("A.HTML", b"text/html; charset=utf-8"),
        ("app.min.js", b"text/javascript; charset=utf-8"),
        ("logo.svg", b"image/svg+xml"),
        ("data.tar.gz", b"application/gzip"),
        ("README", b"application/octet-stream"),
        ("what.ever", b"application/octet-stream"),
    ],
)
def test_a_file_is_known_by_the_end_of_its_name(name: str, kind: bytes) -> None:
    assert kind_of(name) == kind
