"""What a folder looks like: nothing in a name is ever taken for a part of the page."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioservice.plugins.web.folders import Entry, Order, page_of, wanted_order

TAGS = {"html", "head", "meta", "title", "style", "body", "h1", "a", "footer"}
TAGS |= {"table", "thead", "tr", "th", "tbody", "td"}

ENTRIES = [
    Entry("b.txt", 10, 300.0, False),
    Entry("A.txt", 2_000_000, 100.0, False),
    Entry("z", 0, 200.0, True),
]


class Page(HTMLParser):
    """Collects the links of a table, and all tags."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page.decode("utf-8"))

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        if tag == "a" and found.get("class") in ("file", "folder"):
            self.links.append(found["href"])

    def handle_data(self, data: str) -> None:
        self.text += data


def links(order: Order) -> list[str]:
    return Page(page_of(["docs"], ENTRIES, order)).links


def test_folders_come_first_and_names_without_regard_to_case() -> None:
    assert links(Order()) == ["./z/", "./A.txt", "./b.txt"]


@pytest.mark.parametrize(
    ("query", "order"),
    [
        (b"", ["./z/", "./A.txt", "./b.txt"]),
        (b"sort=name&order=desc", ["./z/", "./b.txt", "./A.txt"]),
        (b"sort=size", ["./z/", "./b.txt", "./A.txt"]),
        (b"sort=time&order=desc", ["./z/", "./b.txt", "./A.txt"]),
        (b"sort=time", ["./z/", "./A.txt", "./b.txt"]),
        (b"sort=nonsense", ["./z/", "./A.txt", "./b.txt"]),
    ],
)
def test_a_heading_sorts(query: bytes, order: list[str]) -> None:
    assert links(wanted_order(query)) == order


def test_the_page_says_what_there_is() -> None:
    text = Page(page_of(["docs", "deep"], ENTRIES)).text
    for words in ("root / docs / deep", "1.9 MiB", "10 B", "1970-01-01 00:05", "3 entries", "parent folder"):
        assert words in text


def test_the_root_has_no_parent() -> None:
    assert "parent folder" not in Page(page_of([], ENTRIES[:1])).text


names = st.binary(min_size=1, max_size=12).filter(lambda name: not set(name) & set(b"/\0")).map(os.fsdecode)


@given(st.lists(names, max_size=4), st.lists(names, max_size=5, unique=True))
def test_whatever_a_file_is_called_its_link_leads_to_it_and_the_page_stays_whole(way, found) -> None:
    page = Page(page_of(way, [Entry(name, 1, 0.0, False) for name in found]))
    assert {os.fsdecode(unquote_to_bytes(link.removeprefix("./"))) for link in page.links} == set(found)
    assert page.tags <= TAGS


@given(st.binary(max_size=40))
def test_any_query_has_an_order(query: bytes) -> None:
    assert wanted_order(query).column in ("name", "size", "time")
