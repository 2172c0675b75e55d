"""What a path may mean, and what it never means."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trioservice.plugins.web.paths import Place, place_of


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (b"/", Place((), True)),
        (b"/a", Place(("a",), False)),
        (b"/a/", Place(("a",), True)),
        (b"/a/b.txt", Place(("a", "b.txt"), False)),
        (b"/a%20b", Place(("a b",), False)),
        (b"/%C3%A4", Place(("\xe4",), False)),
        (b"/%ff", Place(("\udcff",), False)),
        (b"/.well-known/x", Place((".well-known", "x"), False)),
        (b"/a%", Place(("a%",), False)),
    ],
)
def test_a_path_names_a_place(path: bytes, place: Place) -> None:
    assert place_of(path) == place


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"a",
        b"*",
        b"//",
        b"/a//b",
        b"/..",
        b"/../etc/passwd",
        b"/a/../b",
        b"/./a",
        b"/%2e%2e/etc",
        b"/.%2e/etc",
        b"/%2e",
        b"/a%2fb",
        b"/a%5cb",
        b"/a\\..\\b",
        b"/a%00.txt",
        b"/.git/config",
        b"/a/.env",
        b"/%2egit/config",
        b"/" + b"a" * 256,
    ],
)
def test_what_could_lead_elsewhere_is_nowhere(path: bytes) -> None:
    assert place_of(path) is None


@given(st.binary(max_size=40))
@example(b"/%2e%2e%2f")
def test_no_name_leads_up_or_out(path: bytes) -> None:
    place = place_of(b"/" + path)
    for name in () if place is None else place.names:
        assert name not in ("", ".", "..")
        assert not set(name) & set("/\\\0")


names = st.binary(min_size=1, max_size=20).filter(
    lambda name: not set(name) & set(b"/\\\0") and name[:1] != b"."
)


@given(st.lists(names, max_size=4), st.booleans())
def test_every_name_that_is_written_properly_arrives(parts: list[bytes], is_folder: bool) -> None:
    path = "/" + "/".join(map(quote_from_bytes, parts)) + ("/" if is_folder and parts else "")
    place = place_of(path.encode())
    assert place is not None
    assert [name.encode("utf-8", "surrogateescape") for name in place.names] == parts
    assert place.is_folder is (is_folder or not parts)
