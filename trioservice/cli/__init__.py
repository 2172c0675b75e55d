"""The ``trioservice`` command: argv joins the rooms.

Nothing is imported here that the command at hand does not need, for the time a program takes
to start is the time it takes to import.
"""

from .main import main

__all__ = ["main"]
