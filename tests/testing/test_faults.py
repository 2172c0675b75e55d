"""What a fault does at each stage, and that those beside it go on or go in order."""

from __future__ import annotations

import sys
import traceback

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from trioservice import Application, MultiService, Service
from trioservice.testing import live
from trioservice.testing.faults import KINDS, STUBBORN, Fault, Faults, Stage
from trioservice.testing.scripts import Deed, advance, fail, fail_to_start, inject, restart
from trioservice.testing.strategies import faults


class Desk(Service):
    async def drain(self) -> None:
        await trio.sleep(1)


def office() -> Application:
    return Application("office", Service(name="base"), Desk(name="desk"), Service(name="guest"))


def lived(stage: str, what: str, seconds: float = 0.0):
    return live(office, [inject("office/desk", stage, what, seconds), advance(5.0)])


@given(fault=faults(), again=faults(), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_fault_is_held_against_anybody(fault: Fault, again: Fault, seed: int) -> None:
    script = [inject("office/desk", one.stage.value, one.what, one.seconds) for one in (fault, again)]
    assert live(office, [*script, advance(5.0)], seed=seed).breaches == ()


@pytest.mark.parametrize(
    ("stage", "what", "words"),
    [
        ("start", "slow", "office/desk: running, after 2.0 s"),
        ("start", "fails", "InjectedFault while starting: office/desk was made to fail at its start"),
        ("start", "hangs", "main() raises ServicesFailed"),
        ("start", "returns", "office/desk: NotReadyError while starting"),
        ("run", "fails", "InjectedFault while running"),
        ("run", "finishes", "office/desk: finished"),
        ("run", "exits", "office: main() raises InjectedExit"),
        ("drain", "fails", "InjectedFault while stopping"),
        ("drain", "hangs", "office/desk: drain cut after 5.0 s"),
        ("stop", "fails", "InjectedFault while stopping"),
        ("stop", "swallows", "office/desk: still not stopped"),
    ],
)
def test_each_fault_strikes_at_its_stage(stage: str, what: str, words: str) -> None:
    seconds = 2.0 if what == "slow" or stage == "run" else 0.0
    if (stage, what) == ("start", "hangs"):
        assert "office/guest: running" not in lived(stage, what).log
    else:
        assert words in lived(stage, what, seconds).log


def test_who_swallows_its_cancellation_goes_in_the_end() -> None:
    times = {
        line.split()[0]: line for line in lived("stop", "swallows").log.splitlines() if "office/desk:" in line
    }
    assert "stopped" in times[f"{5.0 + 1 + STUBBORN:.6f}"]


def test_what_is_leaked_on_purpose_is_open_for_the_rest_of_the_life() -> None:
    opened: list[int] = []

    def make() -> Application:
        app = office()

        async def count(task_status: trio.TaskStatus[object]) -> None:
            task_status.started()
            opened.append(len(world.network.host("localhost").sockets))
            await trio.sleep_forever()

        app["guest"].run = count  # type: ignore[method-assign]
        return app

    def watch(a_world) -> None:
        nonlocal world
        world = a_world

    world = None
    live(make, [inject("office/desk", "start", "leaks"), advance(1.0)], watch=watch).check()
    assert opened == [1]


@pytest.mark.parametrize("path", ["office/late", "office/late/one"])
@pytest.mark.parametrize(
    ("when", "deed", "words"), [(0.5, fail_to_start, "while starting"), (1.5, fail, "while running")]
)
def test_a_service_that_comes_later_is_struck_inside_of_its_diary(
    path: str, when: float, deed, words
) -> None:
    def make() -> Application:
        app = office()

        async def hire(task_status: trio.TaskStatus[object]) -> None:
            task_status.started()
            await trio.sleep(1)
            one = Service(name=path.rpartition("/")[2])
            app.add_service(MultiService(one, name="late") if one.name == "one" else one)
            await trio.sleep_forever()

        app["guest"].run = hire  # type: ignore[method-assign]
        return app

    log = live(make, [advance(when), deed(path), advance(5.0)]).log
    assert log.index(f"{path}: run() is entered") < log.index(f"{path}: InjectedFault {words}")
    assert f"{path}: run() is left by InjectedFault" in log


def wrapped(*script: Deed) -> set[str]:
    """The names of those around whose code faults were put, as they see it themselves."""
    found = set()

    class Looking(Service):
        async def run(self, task_status) -> None:
            around = {frame.f_code.co_filename for frame, _ in traceback.walk_stack(sys._getframe())}
            if any(name.endswith("faults.py") for name in around - {__file__}):
                found.add(self.name)
            await super().run(task_status)

    make = lambda: Application("app", Looking(name="a"), MultiService(Looking(name="b"), name="c"))  # noqa: E731
    live(make, list(script)).check()
    return found


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ([], set()),
        ([restart("app/a"), restart("app/c")], set()),
        ([fail("app/a")], {"a"}),
        ([inject("app/c/b", "stop", "slow", 1.0), restart("app/c")], {"b"}),
    ],
)
def test_nothing_is_put_around_whom_the_script_does_not_strike(script: list[Deed], names: set[str]) -> None:
    assert wrapped(*script) == names


def test_a_fault_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="nothing 'burns' happens at start; there is slow, fails, hangs"):
        Faults().inject("a", Fault(Stage.START, "burns"))


def test_a_fault_reads_as_what_it_is() -> None:
    assert str(Fault(Stage.STOP, "slow", 2.5)) == "slow at stop (2.5 s)"
    assert {str(Fault(stage, what)) for stage in Stage for what in KINDS[stage]} >= {"exits at run"}
