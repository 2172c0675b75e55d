"""The two programs in C, compiled when they are first needed, into ``build/``, which git does not see.

A load generator in Python would be slower than what it measures, and a peer in C shows where the
kernel's own cost begins.  A program is compiled anew when its source is newer than itself.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
BUILT = HERE.parent / "build" / "benchmarks"
TLS_FLAGS = ("-DWITH_TLS", "-lssl", "-lcrypto")


class CannotBuildError(Exception):
    """There is no compiler, or it refused."""


def build(source: str, *flags: str) -> Path:
    """Compile *source*, a path below this folder; return the program."""
    origin = HERE / source
    program = BUILT / "-".join([origin.stem, *(flag.lstrip("-") for flag in flags)])
    if program.exists() and program.stat().st_mtime > origin.stat().st_mtime:
        return program
    compiler = next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if compiler is None:
        raise CannotBuildError("the benchmarks need a C compiler (cc, gcc or clang), and there is none")
    BUILT.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_suffix(f".{os.getpid()}")  # two may build it at a time
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(unfinished), str(origin), *flags]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        reasons = [line for line in result.stderr.splitlines() if "error" in line] or [result.stderr]
        raise CannotBuildError(f"{source} does not compile: {reasons[0]}")
    unfinished.replace(program)
    return program


@functools.cache
def load_program(*, tls: bool) -> Path:
    """The load generator; with *tls* it takes OpenSSL's headers to build it."""
    return build("load/load.c", *(TLS_FLAGS if tls else ()))


@functools.cache
def epoll_program() -> Path:
    """The echo server in C."""
    return build("servers/epoll.c")
