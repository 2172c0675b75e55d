"""Parameters: what an application file lets its operator choose."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from imported import forgotten_afterwards

from trioservice import parameter
from trioservice.config.layers import Given, Layers
from trioservice.config.mistakes import Fault, Mistake
from trioservice.config.parameters import Parameters
from trioservice.config.targets import TargetError, load


def asked(*texts: str, **options: Any) -> Parameters:
    """Who answers, if that was said by `--set`."""
    return Parameters(Layers({"set": [Given("--set", text) for text in texts]}, {}), **options)


@pytest.fixture(autouse=True)
def _fresh_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with forgotten_afterwards(tmp_path):
        yield


def test_alone_a_parameter_is_its_default() -> None:
    """In a test, or under plain Python, nobody can be asked."""
    assert parameter("port", 8080, help="where") == 8080


def test_alone_a_parameter_without_a_default_says_who_could_be_asked() -> None:
    """Rather than be None."""
    with pytest.raises(Mistake, match="'token' has no default") as mistake:
        parameter("token")
    assert mistake.value.hint == "run the file by `trioservice run`, or give it a default"


def test_asked_it_is_what_was_set_in_the_type_of_its_default() -> None:
    """Or its default, if nobody set it."""
    answers = asked("port=9000", "hosts=a", "hosts=b")
    with answers.asked():
        assert parameter("port", 8080) == 9000
        assert parameter("hosts", ["x"]) == ["a", "b"]
        assert parameter("name", "shop") == "shop"
        assert parameter("root", type=Path, default=None) is None
    assert list(answers.declared) == ["port", "hosts", "name", "root"]
    assert parameter("port", 8080) == 8080


def test_a_parameter_may_be_asked_for_twice_and_mean_the_same() -> None:
    """Two modules of one application may need it; two meanings of one name are a mistake of the author."""
    with asked("port=1").asked():
        assert parameter("port", 8080) == parameter("port", 8080) == 1
        with pytest.raises(ValueError, match="there are two parameters 'port', and they differ"):
            parameter("port", 9090)


@pytest.mark.parametrize(
    ("texts", "said", "hint"),
    [
        (["prot=1"], "--set: the application has no parameter 'prot'", "did you mean port?"),
        (["quux=1"], "--set: the application has no parameter 'quux'", "it has port"),
        (["port=x"], "--set port: 'x' is not a whole number", ""),
        (["port"], "--set: 'port' is not NAME=VALUE", ""),
    ],
)
def test_a_wrong_name_or_value_is_a_mistake_of_whoever_typed_it(
    texts: list[str], said: str, hint: str
) -> None:
    """Told without the application's traceback, although its own code was asking."""
    Path("app.tac").write_text(
        "from trioservice import *\np = parameter('port', 1)\napplication = Application('a')"
    )
    with pytest.raises(Mistake) as mistake:
        load("app.tac", asked(*texts))
    assert str(mistake.value) == said
    assert mistake.value.fault is Fault.USAGE
    assert hint in mistake.value.hint
    assert not mistake.value.details


def test_where_there_are_none_it_is_said() -> None:
    """A list of nothing is no help."""
    with pytest.raises(Mistake) as mistake, asked("port=1").asked():
        pass
    assert mistake.value.hint == "it has none"


def test_an_error_of_the_application_comes_before_strangers() -> None:
    """What was never reached cannot be declared."""
    Path("app.tac").write_text("1 / 0")
    with pytest.raises(TargetError, match="division by zero"):
        load("app.tac", asked("port=1"))


def test_who_only_wants_to_know_what_there_is_need_not_give_anything() -> None:
    """For `--help`."""
    answers = asked(lenient=True)
    with answers.asked():
        assert parameter("token") is None
    assert answers.declared["token"].required
    with asked().asked(), pytest.raises(Mistake, match="the parameter 'token' has to be given"):
        parameter("token")


def test_a_function_that_makes_the_application_may_ask() -> None:
    """It is called while the answers are there."""
    Path("made.py").write_text(
        "from trioservice import *\ndef make():\n    return Application(parameter('name', 'x'))\n"
    )
    assert load("made:make", asked("name=shop")).name == "shop"


@pytest.mark.parametrize("in_file", [False, True])
def test_a_name_with_the_wrong_dash_is_a_mistake(tmp_path: Path, in_file: bool) -> None:
    """It set nothing, and nobody was told."""
    tmp_path.joinpath("shop.toml").write_text("[set]\nmax_size = 7\n" if in_file else "")
    said = {"config": [Given("--config", "shop.toml")], "set": [Given("--set", "max_size=7")] * (not in_file)}
    with (
        pytest.raises(Mistake, match="has no parameter 'max_size'") as mistake,
        Parameters(Layers(said, {})).asked(),
    ):
        parameter("max-size", 1)
    assert mistake.value.hint == "did you mean max-size?"
