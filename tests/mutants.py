"""Do the tests have teeth?  Plant one lifecycle bug at a time and see that they bite.

Each mutant is a small edit to a copy of the package, a bug that somebody could really write.
The heart's tests run against the copy; if they pass, nobody would notice that bug, and this
program fails.  ``make mutants`` runs it; ``python tests/mutants.py NAME...`` runs some.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FAILED = 1  # pytest: tests were run, and some failed
TESTS = [f"tests/test_{name}.py" for name in ("events", "service", "application", "run")]


@dataclass(frozen=True)
class Mutant:
    """One planted bug: in *file*, *old* becomes *new*."""

    name: str
    rules: str
    file: str
    old: str
    new: str


MUTANTS = [
    Mutant(
        "stop forward instead of in reverse",
        "L6",
        "run.py",
        "self._to_stop += self.service._children()",
        "self._to_stop += reversed(self.service._children())",
    ),
    Mutant(
        "do not wait for one child before stopping the next",
        "L6",
        "run.py",
        "                run.ask_stop()\n                return  # child_ended will come back here\n            self._to_stop.pop()",
        "                run.ask_stop()\n            self._to_stop.pop()",
    ),
    Mutant(
        "start the next child before the one before is ready",
        "L5",
        "run.py",
        "                return  # child_ready or child_ended will come back here",
        "                continue",
    ),
    Mutant(
        "a branch is ready although its last child is not",
        "L2 L5",
        "run.py",
        "            if self.turn._state is State.STARTING:",
        "            if self.turn._state is State.STARTING and self.pending:",
    ),
    Mutant(
        "swallow the cancellation from outside",
        "L17",
        "run.py",
        "                raise self._cancelled\n",
        "                return\n",
    ),
    Mutant(
        "lose the errors that came with a cancellation",
        "L13",
        "run.py",
        "[self._cancelled, *errors])",
        "[self._cancelled])",
    ),
    Mutant(
        "a failed start leaves the earlier children running",
        "L7",
        "run.py",
        "            self._to_stop += self.service._children()",
        "            self._to_stop += self.service._children() if self.ready else ()",
    ),
    Mutant(
        "lose the error of a child that was being stopped",
        "L13",
        "run.py",
        "        if climbing:\n",
        "        if climbing and not run.stop_asked:\n",
    ),
    Mutant(
        "an error while stopping ends the stopping of the others",
        "L13",
        "run.py",
        "            self.errors += climbing\n",
        "            self.errors += climbing\n            self._to_stop = self._to_stop[:1]\n",
    ),
    Mutant(
        "a failing child does not stop its siblings",
        "L14",
        "run.py",
        "            self.doom()\n            self.ask_stop(reason=",
        "            self.doom()\n            _ = dict(reason=",
    ),
    Mutant(
        "a keyboard interrupt is lost in the conductor",
        "L17",
        "run.py",
        "        except KeyboardInterrupt as interrupt:\n",
        "        except KeyboardInterrupt as interrupt:\n            return\n",
    ),
    Mutant(
        "a KeyboardInterrupt in a child is reported like any error",
        "L17",
        "run.py",
        "            if bare is not None and not isinstance(bare, Exception):",
        "            if False:",
    ),
    Mutant(
        "cancellation from outside drains first",
        "L10",
        "run.py",
        "            self._cancelled = cancelled\n            run.ask_stop(drain=False, ",
        "            self._cancelled = cancelled\n            run.ask_stop(",
    ),
    Mutant(
        "an ancestor's budget does not bound the drain",
        "L10",
        "run.py",
        "self.cut_drains(min(own, self.host.deadline))",
        "self.cut_drains(own)",
    ),
    Mutant(
        "a budget that shrinks does not cut running drains",
        "L10 L12",
        "run.py",
        "                self._drain_scope.deadline = deadline",
        "                pass",
    ),
    Mutant(
        "the shutdown budget begins only when the root itself stops",
        "L12",
        "run.py",
        "            self.host.doom()\n",
        "            pass\n",
    ),
    Mutant(
        "drain what is not ready",
        "L10",
        "run.py",
        "        if self.ready and self._nursery is not None:",
        "        if self._nursery is not None:",
    ),
    Mutant(
        "returning unready passes for success",
        "L2",
        "run.py",
        "        if not self.ready and not self.stop_asked:\n            raise NotReadyError",
        "        if False:\n            raise NotReadyError",
    ),
    Mutant(
        "whoever waits for a child whose turn never came waits for ever",
        "L2",
        "run.py",
        '            call_off(child, f"{self.path}/{child.name}")\n        super().end()',
        "            pass\n        super().end()",
    ),
    Mutant(
        "the start_timeout is not kept",
        "L7",
        "run.py",
        "        if self.service.start_timeout is not None:\n            self.host.spawn",
        "        if False:\n            self.host.spawn",
    ),
    Mutant(
        "who does not go is reported once only",
        "L11",
        "run.py",
        "self._overdue[run] = now + run.service.stop_timeout",
        "self._overdue[run] = math.inf",
    ),
    Mutant(
        "a stop during the start waits for the child to become ready",
        "L8",
        "run.py",
        "            while not self.stop_asked and not self._all_finished():",
        "            while not (self.stop_asked and self.turn is None) and not self._all_finished():",
    ),
    Mutant(
        "stop() from within waits for itself",
        "L4",
        "service.py",
        "        if run.within() or run.host.waits_for_caller(run):\n            return\n        await run.wait_gone()",
        "        await run.wait_gone()",
    ),
    Mutant(
        "a start_service that failed leaves its child behind",
        "L9",
        "service.py",
        "                errors = await self._dismiss(child)",
        "                errors = []",
    ),
    Mutant(
        "a start_service that fails takes the siblings with it",
        "L9",
        "run.py",
        "        return self.alone or (self.private and not self.ready)",
        "        return self.alone",
    ),
    Mutant(
        "a child is added to a stopping parent",
        "L9",
        "service.py",
        "        if self._run is not None and not self._run.takes_children():\n",
        "        if False:\n",
    ),
    Mutant(
        "stopping one child stops the parent",
        "L6 L13",
        "run.py",
        "            run.alone = not run.doomed",
        "            self.ask_stop(); run.alone = not run.doomed",
    ),
    Mutant(
        "a stopped child counts as finished",
        "L15",
        "run.py",
        "        elif child._state is State.FINISHED:",
        "        else:",
    ),
    Mutant(
        "a branch ignores keep_running",
        "L15",
        "run.py",
        "        return not self.service.keep_running and self.ready and",
        "        return self.ready and",
    ),
    Mutant(
        "what is bound is released in the order of binding",
        "L18",
        "run.py",
        "for part in [part for part in reversed(self._bound) if part in chosen]:",
        "for part in [part for part in self._bound if part in chosen]:",
    ),
    Mutant(
        "a failed binding keeps what the others have bound",
        "L18",
        "run.py",
        '                run.record(await self.release(fresh), "releasing")\n                raise',
        "                self._bound.clear()\n                raise",
    ),
    Mutant(
        "what is bound is not released when the service leaves",
        "L18",
        "run.py",
        "        if self.leaving:\n            self.record",
        "        if False:\n            self.record",
    ),
    Mutant(
        "a restarted child is bound again",
        "L18",
        "run.py",
        "            if not part._binds or part in self._bound or",
        "            if not part._binds or",
    ),
    Mutant(
        "a name that is taken is noticed after the change",
        "L21",
        "service.py",
        "        if child._is_root:",
        "        child._parent = self\n        if child._is_root:",
    ),
    Mutant(
        "events that a listener causes are told out of order",
        "L19",
        "events.py",
        "        if self._telling:\n            return\n",
        "",
    ),
    Mutant(
        "the second signal changes nothing",
        "L12",
        "application.py",
        "            self._run.ask_stop(drain=False)\n",
        "            self._run.ask_stop()\n",
    ),
    Mutant(
        "main of a running service starts a second life",
        "L1",
        "service.py",
        "        self._require_free()\n        return Root(",
        "        return Root(",
    ),
    Mutant(
        "the drain does not know its service",
        "L20",
        "run.py",
        "        self.task.context.copy().run(begin)",
        "        begin()",
    ),
]


def survives(mutant: Mutant, patience: float) -> str | None:
    """Why the bug was not noticed, or ``None`` if a test failed as it should."""
    path = ROOT / "trioservice" / mutant.file
    source = path.read_text()
    if mutant.old not in source:
        return "the code it edits is no longer there: mend the mutant"
    mutated = source.replace(mutant.old, mutant.new, 1)
    compile(mutated, str(path), "exec")
    status, told = outcome_of({mutant.file: mutated}, patience)
    return None if status == FAILED else f"pytest answered {status}\n{told}"


def outcome_of(edits: dict[str, str], patience: float = 300) -> tuple[int, str]:
    """Run the heart's tests on a copy of the package with *edits*: pytest's status, and its last words.

    A bug may make them hang; that is noticed after *patience* seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("trioservice", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        for file, text in edits.items():
            (copy / "trioservice" / file).write_text(text)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTS]
        environment = {
            **os.environ,
            "PYTHONPATH": str(copy),
            "TRIOSERVICE_EXAMPLES": "150",
            "TRIOSERVICE_MUTANT": "1",
        }
        try:
            done = subprocess.run(
                command,
                cwd=copy,
                env=environment,
                capture_output=True,
                text=True,
                timeout=patience,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return FAILED, "it hangs"  # noticed, if not politely
        return done.returncode, done.stdout[-2000:] + done.stderr[-500:]


def main(names: list[str]) -> int:
    """Try the mutants of these names, or all; 1 if one survives."""
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    begun = time.monotonic()
    status, told = outcome_of({})
    if status:
        print(f"the tests fail on the unchanged code, so they can prove nothing:\n{told}")
        return 1
    survivors = 0
    # Two at a time, each perhaps slower than the unchanged code alone; what takes longer hangs.
    try_one = partial(survives, patience=20 + 2 * (time.monotonic() - begun))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for number, (mutant, reason) in enumerate(zip(chosen, pool.map(try_one, chosen), strict=True), 1):
            verdict = "caught" if reason is None else f"SURVIVES: {reason}"
            print(f"[{number:2}/{len(chosen)}] {mutant.rules:7} {mutant.name}: {verdict}", flush=True)
            survivors += reason is not None
    print(f"{len(chosen) - survivors} of {len(chosen)} bugs caught in {time.monotonic() - begun:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
