"""The pages of the reference that the command line writes itself: its help and its exit statuses.

They are made from the parser and from ``Exit`` whenever the pages are built, so they cannot drift.
"""

from __future__ import annotations

import argparse
import os
from unittest import mock

from trioservice.cli.commands import COMMANDS
from trioservice.cli.main import _parser
from trioservice.process.exits import Exit


def help_texts() -> str:
    """What ``trioservice --help`` and each command's ``--help`` print."""
    with mock.patch.dict(os.environ, COLUMNS="88"):  # argparse asks for the width of the terminal
        parts = [_listing("trioservice --help", _parser().format_help())]
        for command in COMMANDS:
            sub = argparse.ArgumentParser(prog=f"trioservice {command.name}", description=command.description)
            command.declare(sub)
            parts += [f"## trioservice {command.name}\n", _listing(f"{sub.prog} --help", sub.format_help())]
    return "\n".join(parts)


def exit_statuses() -> str:
    """A row for each member of ``Exit``."""
    rows = "\n".join(f"| {status:d} | `{status.name}` | {status.meaning} |" for status in Exit)
    return f"| status | name | meaning |\n|---|---|---|\n{rows}\n"


def _listing(command: str, output: str) -> str:
    return f"```console\n$ {command}\n{output.rstrip()}\n```\n"
