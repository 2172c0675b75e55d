"""Does `trioservice check` leave in peace what is sound?

A thousand lives of each example (all services that we ship stand in some example) and of each service that
looks odd.  Then ten thousand lives of one application, whose log has to be the same on every machine and
Python.  ``make lives`` runs it; ``python tests/check_lives.py NAME...`` tries some.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time

from mutants import ROOT

ODD = ROOT / "tests" / "testing" / "odd.py"
LIVES = 10_000
#: Of the log of ten thousand lives; if what is told has changed on purpose, paste what you see.
SAME = "ef9994057e742aba"


def targets() -> dict[str, str]:
    """What is checked, by a short name."""
    examples = {path.name: str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("examples/*.tac"))}
    names = re.findall(r"^def (\w+)\(\):$", ODD.read_text(encoding="utf-8"), re.MULTILINE)
    return examples | {name: f"tests.testing.odd:{name}" for name in names}


def is_left_in_peace(target: str) -> bool:
    """Check one as a user would, and tell."""
    command = [sys.executable, "-m", "trioservice", "check", target]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    print((done.stdout + done.stderr).strip(), flush=True)
    return done.returncode == 0


def is_the_same() -> bool:
    """Live ten thousand lives, and tell whether they are those of everybody."""
    sys.path.insert(0, str(ROOT))
    from tests.testing.test_lives import shop
    from trioservice.testing import live
    from trioservice.testing.lives import shielded_from_garbage

    digest, begun = hashlib.sha256(), time.monotonic()
    for seed in range(LIVES):
        with shielded_from_garbage():
            digest.update(live(shop, seed=seed).log.encode())
    said, rate = digest.hexdigest()[:16], LIVES / (time.monotonic() - begun)
    print(f"the log of {LIVES:,} lives of four services is {said}, at {rate:.0f} lives a second")
    if said != SAME:
        print(f"it should be {SAME}")
    return said == SAME


def main(names: list[str]) -> int:
    """Try what has these names, or all; 1 if something is wrong."""
    good = [is_left_in_peace(target) for name, target in targets().items() if not names or name in names]
    if not names:
        good.append(is_the_same())
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
