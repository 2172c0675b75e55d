"""What ``trioservice check`` is asked, and what it answers with."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

from ..config.targets import Maker
from ..process.exits import CannotRun, Exit
from ..process.terminal import tell
from .checking import check as check_lives

__all__ = ["check"]


def check(
    maker: Maker,
    target: str,
    *,
    seeds: int,
    seed: int | None,
    jobs: int | None,
    explain: bool,
    svg: str | None,
) -> int:
    """Check an application; the exit status.

    Raises:
        CannotRun: this system has no fork, or the picture cannot be written.
    """
    if not hasattr(os, "fork"):
        raise CannotRun(
            "check lives each life in a forked process, and this system has no fork",
            hint="run it on Linux or macOS, or in WSL; trioservice.testing.lives works anywhere",
            status=Exit.USAGE,
        )
    chosen = range(seeds) if seed is None else range(seed, seed + 1)
    was_told: list[bool] = []
    if svg is not None:
        _draw(svg, "")  # whoever mistypes its name is told before a thousand lives, not after
    try:
        kept = check_lives(
            maker,
            target,
            chosen,
            jobs=jobs or os.cpu_count() or 1,
            explain=explain,
            draw=None if svg is None else partial(_draw, svg),
            out=lambda text: was_told.append(tell(sys.stdout, text)),
            progress=sys.stderr,
        )
    except KeyboardInterrupt:
        tell(sys.stderr, "\ntrioservice: the check was interrupted, and not all lives were lived\n")
        return 128 + signal.SIGINT
    if not kept:
        return Exit.FAILED
    return Exit.OK if all(was_told) else Exit.OUTPUT_FAILED


def _draw(path: str, picture: str) -> None:
    """Write the picture, and nothing less than all of it."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(picture)
    except OSError as error:
        raise CannotRun(
            f"--svg: cannot write {path}: {error.strerror}",
            hint="name a file in a folder that is there, that you may write to, and that has room",
            status=Exit.CANNOT_CREATE,
        ) from None
    if picture:
        tell(sys.stdout, f"\ndrawn into {path}\n")
