"""A life as lines and as a picture."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from trioservice import Application, Service
from trioservice.events import ErrorRaised, StateChanged
from trioservice.lifecycle import State
from trioservice.testing import live
from trioservice.testing.diary import BranchSeen
from trioservice.testing.scripts import advance
from trioservice.testing.story import Line, drawn, story_of

SVG = "{http://www.w3.org/2000/svg}"


def test_each_event_has_a_line_but_what_a_branch_looks_like() -> None:
    events = [
        StateChanged("a", 0.0, State.STOPPED, State.STARTING, 0.0),
        BranchSeen("a", 0.0, (), 1.0, False),
        ErrorRaised("a", 1.5, KeyError("x"), "running", False),
    ]
    assert list(map(str, story_of(events))) == [
        "    0.000000 a: starting",
        "    1.500000 a: KeyError while running: 'x'",
    ]


def test_no_folder_of_anybodys_machine_is_told() -> None:
    error = OSError("/home/you/shop/stock.py:12: it is empty")
    (line,) = story_of([ErrorRaised("a", 0.0, error, "running", False)])
    assert line.words == "OSError while running: stock.py:12: it is empty"


texts = st.text(st.characters(), max_size=12)
lines = st.builds(
    Line, st.floats(0, 1e6), texts, texts, st.sampled_from(["", *(state.value for state in State)])
)


@given(st.lists(lines, max_size=20), texts)
def test_a_picture_is_well_formed_whatever_it_shows(story: list[Line], title: str) -> None:
    root = ElementTree.fromstring(drawn(story, title))
    drawn(story, title).encode()
    assert root.tag == f"{SVG}svg"
    assert len(root.findall(f"{SVG}rect")) == 1 + sum(bool(line.state) for line in story)


def test_each_service_has_a_row_and_each_state_a_bar() -> None:
    life = live(lambda: Application("app", Service(name="a")), [advance(1.0)])
    picture = drawn(list(story_of(life.events)), "a life")
    labels = [text.text for text in ElementTree.fromstring(picture).findall(f"{SVG}text")]
    assert labels[:3] == ["a life", "app", "app/a"]
    assert picture.count("<rect") == 1 + 8  # of each: starting, running, stopping, stopped
