"""How a process is to be run: all that ``trioservice run`` can be told besides what to run.

One frozen record.  The command line, the environment and a file fill it in (``cli``), the rooms of
``process`` read it, and nobody changes it.  Its defaults are those of a program in the foreground, which
is what systemd, a container and a person at a terminal want.
"""

from __future__ import annotations

import logging

from ..records import record

__all__ = ["Settings"]


@record
class Settings:
    """How one process is to be run.

    Args:
        daemon: leave the terminal, and return to whoever waits there when everything is ready.
        daemon_timeout: seconds that whoever started a daemon waits for it to be ready.
        logfile: the file for the log; ``-`` is standard output.  By default the log goes to standard
            error, and that of a daemon to ``trioservice.log``.
        log_level: the least level that is logged.
        log_levels: the same for single loggers, or services by their path, as pairs.
        log_format: ``text``, ``json``, or ``journal``; ``None`` for what suits where it goes.
        log_rotate: when a log file is put aside for a fresh one: a size in bytes, ``daily``, or
            ``None`` for never by itself.
        log_keep: how many of those put aside are kept.
        syslog: log to the system's log instead of a file.
        prefix: what stands before each record there.
        logger: a file for :func:`logging.config.dictConfig` (TOML or JSON), or ``package.module:callable``
            that sets up logging; instead of all of the above.
        pidfile: the file that holds the number of the process, and is locked while it lives.
        rundir: the folder in which to run.
        chroot: the folder to become the root of all paths.
        umask: for files that it makes; 0o077 for a daemon.
        uid: the user to become once everything is bound, a number or a name.
        gid: the group, likewise; by default the user's.
        euid: become them for what is allowed only, so that the rights can be had back.
        stuck_timeout: seconds after the end of the application's ``shutdown_timeout`` at which the
            process is ended by force, if services still do not stop; ``None`` for never.
        exit_zero: exit with 0 after a stop by signal, rather than by that signal.
        profile: the file for what the profiler found (for :mod:`pstats`).
        debug: stop at failures in the debugger, and log everything.
    """

    daemon: bool = False
    daemon_timeout: float = 120.0
    logfile: str | None = None
    log_level: int = logging.INFO
    log_levels: tuple[tuple[str, int], ...] = ()
    log_format: str | None = None
    log_rotate: int | str | None = None
    log_keep: int = 10
    syslog: bool = False
    prefix: str = "trioservice"
    logger: str | None = None
    pidfile: str | None = None
    rundir: str | None = None
    chroot: str | None = None
    umask: int | None = None
    uid: int | str | None = None
    gid: int | str | None = None
    euid: bool = False
    stuck_timeout: float | None = None
    exit_zero: bool = False
    profile: str | None = None
    debug: bool = False
