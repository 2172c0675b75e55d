"""The folder that the servers of files serve: a page of 5.5 KB, and a file of 50 MB."""

from __future__ import annotations

import random
from pathlib import Path

PAGE, LARGE = "page.html", "large.bin"
SIZES = {PAGE: 5500, LARGE: 50_000_000}


def folder(certificate: str) -> Path:
    """The folder, beside the file that is named to each server; whoever comes first fills it."""
    path = Path(certificate).parent / "site"
    path.mkdir(exist_ok=True)
    for name, size in SIZES.items():
        if not (path / name).exists():
            (path / name).write_bytes(random.Random(size).randbytes(size))
    return path
