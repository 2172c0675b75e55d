"""What is said to whoever started us."""

from __future__ import annotations

import io
import os
from pathlib import Path

from trioservice.process.terminal import tell


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError("the reader has gone")


def test_to_tell_somebody_is_no_reason_for_a_traceback() -> None:
    """Closed, broken, or of an encoding that lacks the character."""
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert not tell(None, "lost")
    assert not tell(Broken(), "lost")
    assert tell(ascii_only, "└─ stock\n")
    assert ascii_only.buffer.getvalue() == b"?? stock\n"  # type: ignore[attr-defined]


def test_what_could_not_be_written_is_not_complained_of_at_exit(tmp_path: Path) -> None:
    """What is still buffered goes to nowhere, or Python would try again."""
    ear, mouth = os.pipe()
    os.close(ear)
    with os.fdopen(mouth, "w") as pipe:
        assert not tell(pipe, "lost")
        assert os.path.samestat(os.fstat(pipe.fileno()), os.stat(os.devnull))
