"""The units by which systemd runs an application: text, made of what the application says of itself.

What it may do is what it needs, and nothing else: it is a user of its own that exists while it runs, sees a
file system that it cannot write to, and has none of root's rights, unless it binds a port below 1024 itself.
``systemd-analyze security`` rates that; the tests hold it below 2.0, of 10.

What is here works with systemd 247 and later.  ``Type=notify-reload``, which is better, is not used: before
253 it is an unknown word, and a unit with it is run as ``Type=simple``, which waits for nothing.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping

from ..application import Application
from ..net.endpoints import (
    DatagramServerEndpoint,
    Endpoint,
    StreamServerEndpoint,
    SystemdEndpoint,
    UNIXDatagramServerEndpoint,
    UNIXServerEndpoint,
)
from ..records import record
from ..run import walk
from ..service import Service
from .exits import CannotRun, Exit
from .systemd import CLEANUP

__all__ = ["Launch", "units"]

_WATCHDOG = 30  # seconds: a loop that is blocked for so long is not going to turn again

# The next try would come to the same.
_IN_VAIN = (Exit.USAGE, Exit.DATA, Exit.NO_INPUT, Exit.NO_PERMISSION, Exit.CONFIG)

# What systemd makes for a service, below which folder, and by which word.
_PROVIDED = {
    "/run": "RuntimeDirectory",
    "/var/lib": "StateDirectory",
    "/var/cache": "CacheDirectory",
    "/var/log": "LogsDirectory",
}

_HOMES = ("/home/", "/root/", "/run/user/")
_TEMPORARY = re.compile(r"(?:/var)?/tmp/[^/]+")  # which PrivateTmp=, and so DynamicUser=, replaces

_SANDBOX = """\
NoNewPrivileges=yes
ProtectSystem=strict
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
UMask=0077"""


@record
class Launch:
    """How the process is to be started.

    Args:
        words: the program, by its absolute path, and its arguments.
        folder: where, if that matters.
        user: as whom; ``None`` for a user of its own that exists while it runs.
        group: likewise.
        reads: what it has to see, besides the words: its Python, which may be elsewhere.
        writes: the files that it makes, besides what its services make.
        stuck_timeout: as in :class:`~trioservice.process.settings.Settings`.
    """

    words: tuple[str, ...]
    folder: str | None = None
    user: int | str | None = None
    group: int | str | None = None
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    stuck_timeout: float | None = None


def units(application: Application, launch: Launch, sockets: Mapping[str, str]) -> dict[str, str]:
    """The text of each unit, by the name of its file.

    Args:
        application: which.
        launch: how it is started.
        sockets: where systemd shall listen, by the names that stand in ``systemd:NAME``.

    Raises:
        CannotRun: a socket is wanted that is not among them, or nobody wants one that is.
    """
    name = re.sub(r"[^\w:.-]", "-", application.name, flags=re.ASCII)
    listening = list(_socket_units(application, name, sockets))
    service = _Service(application, launch, [file for file, _ in listening], [*sockets.values()])
    return {f"{name}.service": service.text(), **dict(listening)}


# ---- the service


class _Service:
    """The text of a .service."""

    def __init__(
        self, application: Application, launch: Launch, sockets: list[str], addresses: list[str]
    ) -> None:
        self._application = application
        self._launch = launch
        self._sockets = sockets
        self._paths = list(_unix_paths(application))
        self._is_local = bool(self._paths) or any(where.startswith(("/", "@")) for where in addresses)
        self._ports = sorted(
            {port for _, endpoint in _endpoints(application) for port in _low_port(endpoint)}
        )

    def text(self) -> str:
        sections = (self._unit(), self._service(), self._install())
        return "\n\n".join("\n".join(section) for section in sections) + "\n"

    def _unit(self) -> Iterator[str]:
        yield "[Unit]"
        yield f"Description={_literal(self._application.name)}"
        yield "Wants=network-online.target"
        yield "After=network-online.target"

    def _service(self) -> Iterator[str]:
        yield "[Service]"
        yield from self._life()
        yield ""
        yield from self._identity()
        yield ""
        yield "# What it may do: what it needs."
        yield from self._rights()
        yield _SANDBOX

    def _life(self) -> Iterator[str]:
        yield "Type=notify"
        yield "NotifyAccess=main"
        yield f"ExecStart={' '.join(map(_word, self._launch.words))}"
        if self._launch.folder is not None:
            yield f"WorkingDirectory={_literal(self._launch.folder)}"
        if self._sockets:
            yield f"Sockets={' '.join(self._sockets)}"
        yield "ExecReload=kill -HUP $MAINPID"
        yield "KillMode=mixed"
        yield "Restart=on-failure"
        yield "# What is wrong with the command line, the file or the rights will be wrong again."
        yield f"RestartPreventExitStatus={' '.join(str(status.value) for status in _IN_VAIN)}"
        yield from self._limits()

    def _limits(self) -> Iterator[str]:
        if self._application.start_timeout is not None:
            yield f"TimeoutStartSec={_seconds(self._application.start_timeout + CLEANUP)}"
        yield "# The time for all drains, and some for what comes after them."
        stop = self._application.shutdown_timeout + (self._launch.stuck_timeout or 0) + CLEANUP
        yield f"TimeoutStopSec={_seconds(stop)}"
        yield "# When the watchdog bites, the log tells the line at which the event loop was blocked."
        yield f"WatchdogSec={_WATCHDOG}"
        yield "Environment=PYTHONFAULTHANDLER=1"

    def _identity(self) -> Iterator[str]:
        yield "# Who it is, and where it may write."
        if self._launch.user is None and self._launch.group is None:
            yield "DynamicUser=yes"
        else:
            who = {"User": self._launch.user, "Group": self._launch.group}
            yield from (f"{key}={value}" for key, value in who.items() if value is not None)
        yield from _directories([*self._launch.writes, *self._paths])
        places = (*self._launch.words, *self._launch.reads, self._launch.folder or "")
        if any(map(_is_in_a_home, places)):
            yield "# What it runs is in a home, and has to be readable for whom it is."
            yield "ProtectHome=read-only"
        else:
            yield "ProtectHome=yes"
        for folder in sorted({found[0] for place in places if (found := _TEMPORARY.match(place))}):
            yield "# What it runs is where it would see a folder of its own."
            yield f"BindReadOnlyPaths={_literal(folder)}"

    def _rights(self) -> Iterator[str]:
        right = "CAP_NET_BIND_SERVICE" if self._ports else ""
        if self._ports:
            yield f"# It binds {', '.join(map(str, self._ports))} itself."
            yield f"AmbientCapabilities={right}"
        elif not self._is_local:  # or the users who come to a UNIX socket would all seem to be nobody
            yield "PrivateUsers=yes"
        yield f"CapabilityBoundingSet={right}"

    def _install(self) -> Iterator[str]:
        yield "[Install]"
        yield "WantedBy=multi-user.target"
        if self._sockets:
            yield f"Also={' '.join(self._sockets)}"


def _unix_paths(application: Application) -> Iterator[str]:
    for _, endpoint in _endpoints(application):
        if isinstance(endpoint, UNIXServerEndpoint | UNIXDatagramServerEndpoint):
            yield endpoint.path


def _low_port(endpoint: Endpoint) -> Iterator[int]:
    """The port that only somebody with a right to it may bind."""
    port = getattr(endpoint, "port", None)
    if isinstance(port, int) and 0 < port < 1024:
        yield port


def _directories(files: Iterable[str]) -> Iterator[str]:
    """The lines that have systemd make the folders of *files*, or let us write to them."""
    wanted: dict[str, None] = {}
    for file in files:
        if not file.startswith("/"):
            continue  # an abstract name, or standard output
        folder = os.path.dirname(file)
        provided = [(top, key) for top, key in _PROVIDED.items() if folder.startswith(f"{top}/")]
        for top, key in provided:
            wanted[f"{key}={_literal(folder[len(top) + 1 :])}"] = None
        if not provided:
            wanted[f"ReadWritePaths={_literal(folder)}"] = None
    yield from wanted


def _is_in_a_home(path: str) -> bool:
    return f"{path}/".startswith(_HOMES)


# ---- the sockets


def _socket_units(
    application: Application, name: str, sockets: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    wanted = {
        endpoint.name or "": (service, endpoint)
        for service, endpoint in _endpoints(application)
        if isinstance(endpoint, SystemdEndpoint)
    }
    for socket, (service, endpoint) in wanted.items():
        # `systemd:` is whatever is the only one.
        given = [*sockets] if endpoint.name is None and len(sockets) == 1 else [socket]
        if given[0] not in sockets or endpoint.index is not None:
            raise _not_told(service, endpoint)
        file = f"{name}-{given[0]}.socket"
        yield file, _socket(name, given[0], sockets[given[0]], _takes_streams(service))
    known = sockets if len(sockets) == 1 and "" in wanted else wanted
    if strangers := [socket for socket in sockets if socket not in known]:
        raise CannotRun(
            f"no service of {application.name} has the endpoint systemd:{strangers[0]}",
            hint="what it binds itself needs no .socket; `trioservice plan` shows where it listens",
            status=Exit.USAGE,
        )


def _socket(name: str, socket: str, address: str, streams: bool) -> str:
    listen = "ListenStream" if streams else "ListenDatagram"
    return f"""\
[Unit]
Description=Socket {_literal(socket)} of {name}

[Socket]
{listen}={_literal(address)}
FileDescriptorName={socket}
Service={name}.service

[Install]
WantedBy=sockets.target
"""


def _not_told(service: Service, endpoint: SystemdEndpoint) -> CannotRun:
    if endpoint.index is not None:
        hint = "give it a name, as in systemd:web; the order of several .socket units is not certain"
    else:
        hint = (
            f"say it: --socket {endpoint.name or 'web'}=8080, or another ListenStream= of systemd.socket(5)"
        )
    return CannotRun(
        f"{service.path} is given its socket by systemd, and nobody said where systemd is to listen",
        hint=hint,
        status=Exit.USAGE,
    )


def _takes_streams(service: Service) -> bool:
    from ..net.servers import StreamServer

    return isinstance(service, StreamServer)


# ---- what there is


def _endpoints(application: Application) -> Iterator[tuple[Service, Endpoint]]:
    """Every service that listens, and where in the end: below TLS, below a proxy."""
    for service in walk(application):
        endpoint = getattr(service, "endpoint", None)
        while isinstance(endpoint, Endpoint) and hasattr(endpoint, "below"):
            endpoint = endpoint.below
        if isinstance(endpoint, StreamServerEndpoint | DatagramServerEndpoint):
            yield service, endpoint


# ---- how it is written


def _literal(text: str) -> str:
    """*text* as a value: a percent sign begins a specifier."""
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """*text* as a word of a command line."""
    text = _literal(text).replace("$", "$$")
    if re.fullmatch(r"[\w@%+=:,./$-]+", text, re.ASCII):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _seconds(seconds: float) -> str:
    return "infinity" if math.isinf(seconds) else f"{math.ceil(seconds)}"
