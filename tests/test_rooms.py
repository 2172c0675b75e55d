"""A door opens the file in which a name lives, when the name is asked for, and no other."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def greengrocer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package that offers a name of each of two files."""
    folder = tmp_path / "greengrocer"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from trioservice.rooms import opener\n"
        '__getattr__ = opener(__name__, {"till": ("Till",), "inner.shelf": ("Shelf", "Lost")})\n'
    )
    (folder / "inner").mkdir()
    (folder / "till.py").write_text("class Till: ...\n")
    (folder / "inner" / "shelf.py").write_text("class Shelf: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("greengrocer")
    for name in [name for name in sys.modules if name.partition(".")[0] == "greengrocer"]:
        del sys.modules[name]


def test_a_name_opens_its_file_and_no_other(greengrocer: ModuleType) -> None:
    assert "greengrocer.till" not in sys.modules
    assert greengrocer.Till.__module__ == "greengrocer.till"
    assert "greengrocer.inner.shelf" not in sys.modules
    assert greengrocer.Shelf.__module__ == "greengrocer.inner.shelf"


def test_it_is_opened_once(greengrocer: ModuleType) -> None:
    till = greengrocer.Till
    assert vars(greengrocer)["Till"] is till


def test_a_name_that_is_not_offered_is_no_attribute(greengrocer: ModuleType) -> None:
    with pytest.raises(AttributeError, match="module 'greengrocer' has no attribute 'Tlil'"):
        greengrocer.Tlil  # noqa: B018


def test_a_name_that_its_file_has_not_is_told_of_the_file(greengrocer: ModuleType) -> None:
    with pytest.raises(AttributeError, match=r"module 'greengrocer\.inner\.shelf' has no attribute 'Lost'"):
        greengrocer.Lost  # noqa: B018
