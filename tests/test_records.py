"""Records: frozen dataclasses in every respect, written when they are first needed."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from typing import Any, ClassVar

import pytest

from trioservice.records import record


class Place:
    """A record whose base is none, and that has a method and a default of its own."""

    sort: ClassVar[str] = "place"

    host: str
    port: int = 80

    def __post_init__(self) -> None:
        if self.port < 0:
            raise ValueError("below 0")

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def twins() -> tuple[Any, Any]:
    """The same class twice, as a record that nobody has used and as what it has to be like."""
    body = {name: value for name, value in vars(Place).items() if name not in ("__dict__", "__weakref__")}
    return record(type("Place", (), dict(body))), dataclass(frozen=True)(type("Place", (), dict(body)))


@record
class Base:
    """Is derived from."""

    path: str


@record
class Derived(Base):
    """Has one field more."""

    error: str = "none"

    def __repr__(self) -> str:
        return "its own"


QUESTIONS: dict[str, Callable[[Any], object]] = {
    "fields": lambda cls: [(field.name, field.type, field.default) for field in dataclasses.fields(cls)],
    "is_dataclass": dataclasses.is_dataclass,
    "signature": lambda cls: str(inspect.signature(cls)),
    "match_args": lambda cls: cls.__match_args__,
    "repr": lambda cls: repr(cls("a", port=1)),
    "str": lambda cls: str(cls("a")),
    "equal": lambda cls: (cls("a") == cls("a", 80), cls("a") == cls("b"), cls("a") == "a"),
    "hash": lambda cls: hash(cls("a", 2)),
    "replace": lambda cls: repr(dataclasses.replace(cls("a"), port=3)),
    "asdict": lambda cls: dataclasses.asdict(cls("a")),
    "copy": lambda cls: repr(copy.copy(cls("a"))),
    "qualname": lambda cls: (cls.__init__.__name__, cls.__module__),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_whatever_is_asked_first_a_record_answers_as_a_frozen_dataclass(question: str) -> None:
    late, model = twins()
    assert QUESTIONS[question](late) == QUESTIONS[question](model)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda cls: cls(),
        lambda cls: cls("a", 1, 2),
        lambda cls: cls("a", -1),
        lambda cls: setattr(cls("a"), "port", 2),
        lambda cls: delattr(cls("a"), "port"),
    ],
)
def test_what_a_frozen_dataclass_refuses_a_record_refuses(wrong: Callable[[Any], object]) -> None:
    errors = []
    for cls in twins():
        with pytest.raises((TypeError, ValueError, FrozenInstanceError)) as caught:
            wrong(cls)
        errors.append((caught.type, str(caught.value).rpartition(".")[2]))
    assert errors[0] == errors[1]


def test_nothing_is_written_before_it_is_needed() -> None:
    late, _ = twins()
    before = dict(vars(late))
    assert not inspect.isfunction(before["__init__"])
    late("a")
    assert inspect.isfunction(vars(late)["__init__"])


def test_a_record_that_derives_from_a_record_has_its_fields_first() -> None:
    derived = Derived("a/b")
    assert [field.name for field in dataclasses.fields(Derived)] == ["path", "error"]
    assert (derived.path, derived.error, repr(derived)) == ("a/b", "none", "its own")


def test_a_frozen_dataclass_may_derive_from_a_record() -> None:
    late, _ = twins()

    @dataclass(frozen=True)
    class Mine(late):  # type: ignore[misc, valid-type]
        device: str = "eth0"

    assert repr(Mine("a", device="lo")).endswith("Mine(host='a', port=80, device='lo')")


def test_a_plain_subclass_of_a_record_is_made_like_it() -> None:
    late, _ = twins()
    assert type("Plain", (late,), {})("a").port == 80


def test_a_record_that_comes_out_of_a_pickle_can_be_compared() -> None:
    # The other process has never made one.
    script = (
        "import pickle, sys; a, b = (pickle.loads(bytes.fromhex(arg)) for arg in (sys.argv[1],) * 2);"
        "print(a == b, hash(a) == hash(b), a)"
    )
    from trioservice.net.endpoints import TCPServerEndpoint

    pickled = pickle.dumps(TCPServerEndpoint(7001)).hex()
    done = subprocess.run(
        [sys.executable, "-c", script, pickled], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True True tcp:7001\n", "")


def test_instances_of_a_plain_subclass_are_frozen_too() -> None:
    late, _ = twins()
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'colour'"):
        type("Plain", (late,), {})("a").colour = "red"


def test_a_subclass_may_call_the_init_of_a_record_that_nobody_has_made_yet() -> None:
    late, _ = twins()

    class Local(late):  # type: ignore[misc, valid-type]
        def __init__(self, port: int) -> None:
            super().__init__("localhost", port)

    assert str(Local(7)) == "localhost:7"


def test_threads_that_make_the_first_one_together_all_get_one() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(30):
            late, _ = twins()
            barrier = threading.Barrier(4)
            made: list[object] = []

            def make(late: Any = late, barrier: threading.Barrier = barrier, made: Any = made) -> None:
                barrier.wait()
                made.append(late("a"))

            threads = [threading.Thread(target=make) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert made == [late("a")] * 4
    finally:
        sys.setswitchinterval(interval)
