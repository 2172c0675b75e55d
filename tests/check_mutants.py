"""Does `trioservice check` find mistakes?  A table of those planted in services, and in the heart.

Each is tried as a user would: the command, its default settings, a minute.  ``make mutants`` runs it;
``python tests/check_mutants.py NAME...`` tries some.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mutants import MUTANTS, ROOT, Mutant

MINUTE = 60.0
WANTED = 0.95
BROKEN = 1  # the exit status that tells of a broken promise

# Mistakes in the heart that no simulated life can show, and why; the heart's own tests find them.
UNSEEN = {
    "a keyboard interrupt is lost in the conductor": "no life has a signal in the midst of the heart's code",
    "events that a listener causes are told out of order": "who listens is part of no application's tree",
}


class Verdict(NamedTuple):
    """What came of one try."""

    name: str
    found: bool
    seconds: float
    said: str


def planted() -> list[str]:
    """The mistakes in services."""
    source = (ROOT / "tests" / "testing" / "planted.py").read_text(encoding="utf-8")
    return [line[4:-3] for line in source.splitlines() if line.startswith("def ") and line.endswith("():")]


def try_service(name: str) -> Verdict:
    """Check one of the applications with a mistake."""
    return checked(name, f"tests/testing/planted.py:{name}", ROOT)


def try_heart(mutant: Mutant) -> Verdict:
    """Check a sound application on a heart with a mistake."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("trioservice", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        path = copy / "trioservice" / mutant.file
        source = path.read_text(encoding="utf-8")
        if mutant.old not in source:
            return Verdict(mutant.name, False, 0.0, "the code it edits is no longer there: mend the mutant")
        path.write_text(source.replace(mutant.old, mutant.new, 1), encoding="utf-8")
        return checked(mutant.name, "tests.testing.heart:tree", copy)


def checked(name: str, target: str, folder: Path) -> Verdict:
    """Run the command as somebody would who suspects nothing."""
    target = target.replace("/", ".").replace(".py:", ":")
    command = [sys.executable, "-m", "trioservice", "check", target]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    begun = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=MINUTE, check=False
        )
    except subprocess.TimeoutExpired:
        return Verdict(name, False, MINUTE, "not within a minute")
    lines = [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")]
    said = lines[0] if lines else done.stdout.strip() + done.stderr.strip()[-200:]
    return Verdict(name, done.returncode == BROKEN and bool(lines), time.monotonic() - begun, said)


def main(names: list[str]) -> int:
    """Try the mistakes of these names, or all; 1 if too many are not found."""
    tries: list[tuple[str, Callable[[], Verdict]]] = [
        (name, partial(try_service, name)) for name in planted()
    ]
    tries += [(one.name, partial(try_heart, one)) for one in MUTANTS if one.name not in UNSEEN]
    chosen = [act for name, act in tries if not names or name in names]
    verdicts = []
    # Many of them wait for an alarm, so two at a time are not twice as slow.
    with ThreadPoolExecutor(2) as pool:
        for verdict in pool.map(lambda act: act(), chosen):
            verdicts.append(verdict)
            name, found, seconds, said = verdict
            print(f"{'found ' if found else 'MISSED'} {seconds:5.1f} s  {name}: {said[:110]}", flush=True)
    found = sum(verdict.found for verdict in verdicts)
    share = found / len(verdicts)
    print(f"{found} of {len(verdicts)} mistakes found ({share:.0%}), within a minute each")
    return 0 if share >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
