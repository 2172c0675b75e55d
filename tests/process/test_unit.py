"""The units for systemd.  What systemd itself thinks of them is in tests/real/test_systemd.py."""

from __future__ import annotations

import re

import pytest

from trioservice import (
    Application,
    MultiService,
    Service,
    StreamServer,
    TCPClient,
    TCPServer,
    UDPServer,
    UNIXServer,
)
from trioservice.net.datagrams import DatagramServer
from trioservice.process.exits import CannotRun, Exit
from trioservice.process.unit import Launch, units

LAUNCH = Launch(("/opt/shop/bin/trioservice", "run", "/opt/shop/shop.tac"))


async def handler(*args: object) -> None: ...


def shop(*children: Service, **options: object) -> Application:
    return Application("shop", *children, **options)  # type: ignore[arg-type]


def unit(app: Application, launch: Launch = LAUNCH, **sockets: str) -> str:
    return units(app, launch, sockets)["shop.service"]


def lines(text: str, key: str) -> list[str]:
    """All values of *key*."""
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def test_a_plain_application_is_nobody_and_may_nothing() -> None:
    text = unit(shop(TCPServer(8080, handler)))
    assert lines(text, "ExecStart") == ["/opt/shop/bin/trioservice run /opt/shop/shop.tac"]
    assert lines(text, "DynamicUser") == ["yes"]
    assert lines(text, "CapabilityBoundingSet") == [""]
    assert lines(text, "PrivateUsers") == ["yes"]
    assert lines(text, "AmbientCapabilities") == lines(text, "WorkingDirectory") == lines(text, "Also") == []


def test_systemd_is_told_by_the_process_itself_and_watches_it() -> None:
    text = unit(shop())
    assert lines(text, "Type") == ["notify"]  # 252 does not know notify-reload
    assert lines(text, "NotifyAccess") == ["main"]
    assert lines(text, "ExecReload") == ["kill -HUP $MAINPID"]
    assert lines(text, "WatchdogSec") == ["30"]


def test_what_would_be_in_vain_is_not_tried_again() -> None:
    (statuses,) = lines(unit(shop()), "RestartPreventExitStatus")
    assert [Exit(int(status)).name for status in statuses.split()] == [
        "USAGE",
        "DATA",
        "NO_INPUT",
        "NO_PERMISSION",
        "CONFIG",
    ]


@pytest.mark.parametrize(
    ("shutdown_timeout", "stuck_timeout", "wanted"),
    [(30, None, "40"), (0.5, None, "11"), (30, 60, "100"), (None, None, "infinity")],
)
def test_systemd_waits_as_long_as_the_application_may_take_to_stop(
    shutdown_timeout: float | None, stuck_timeout: float | None, wanted: str
) -> None:
    launch = Launch(LAUNCH.words, stuck_timeout=stuck_timeout)
    text = unit(shop(shutdown_timeout=shutdown_timeout), launch)
    assert lines(text, "TimeoutStopSec") == [wanted]
    assert lines(text, "TimeoutStartSec") == []


def test_and_to_start() -> None:
    assert lines(unit(shop(start_timeout=300)), "TimeoutStartSec") == ["310"]


@pytest.mark.parametrize(
    "server",
    [
        TCPServer(443, handler),
        UDPServer(53, handler),
        StreamServer("ssl:443:certKey=x.pem", handler),
        StreamServer("haproxy:tcp:80", handler),
        MultiService(TCPServer(80, handler)),
    ],
)
def test_who_binds_a_low_port_may_do_that_and_nothing_else_of_roots(server: Service) -> None:
    text = unit(shop(server))
    assert lines(text, "AmbientCapabilities") == lines(text, "CapabilityBoundingSet")
    assert lines(text, "AmbientCapabilities") == ["CAP_NET_BIND_SERVICE"]
    assert lines(text, "PrivateUsers") == []  # its rights would end at the ports of the host


@pytest.mark.parametrize(
    "service",
    [
        TCPServer(0, handler),
        TCPServer(1024, handler),
        TCPClient("example.org", 443, handler),
        StreamServer("tls:certs:endpoint=tcp\\:8443", handler),
    ],
)
def test_others_may_not(service: Service) -> None:
    assert lines(unit(shop(service)), "AmbientCapabilities") == []


def test_the_folders_of_files_are_made_or_opened() -> None:
    """By the means that systemd has for such a folder."""
    launch = Launch(LAUNCH.words, writes=("/var/log/shop/x.log", "/var/lib/shop/a/pid", "/srv/shop/y.log"))
    text = unit(shop(UNIXServer("/run/shop/web.sock", handler), UNIXServer("@abstract", handler)), launch)
    assert lines(text, "LogsDirectory") == ["shop"]
    assert lines(text, "StateDirectory") == ["shop/a"]
    assert lines(text, "ReadWritePaths") == ["/srv/shop"]
    assert lines(text, "RuntimeDirectory") == ["shop"]


def test_where_users_come_to_a_unix_socket_they_keep_their_numbers() -> None:
    assert lines(unit(shop(UNIXServer("/run/shop/web.sock", handler))), "PrivateUsers") == []
    assert lines(unit(shop(StreamServer("systemd:web", handler)), web="/run/web.sock"), "PrivateUsers") == []


@pytest.mark.parametrize(
    ("word", "home"),
    [
        ("/home/you/shop.tac", "read-only"),
        ("/run/user/1000/shop.tac", "read-only"),
        ("/homes/shop.tac", "yes"),
    ],
)
def test_a_home_can_be_seen_only_if_the_program_is_there(word: str, home: str) -> None:
    assert lines(unit(shop(), Launch(("/bin/trioservice", "run", word))), "ProtectHome") == [home]


@pytest.mark.parametrize(
    "launch",
    [
        Launch(LAUNCH.words, folder="/home/you"),
        Launch(LAUNCH.words, reads=("/home/you/.pyenv/versions/3.13",)),
    ],
)
def test_or_what_it_needs_is(launch: Launch) -> None:
    """A virtual environment is a link to a Python that may be anywhere."""
    assert lines(unit(shop(), launch), "ProtectHome") == ["read-only"]


def test_what_is_below_tmp_is_shown_to_a_service_that_has_its_own() -> None:
    """As when somebody tries it out; nothing of it may be written to."""
    launch = Launch(
        ("/tmp/try/.venv/bin/trioservice", "run", "/tmp/try/shop.tac"), reads=("/var/tmp/py/3.13",)
    )
    assert lines(unit(shop(), launch), "BindReadOnlyPaths") == ["/tmp/try", "/var/tmp/py"]
    assert lines(unit(shop(), LAUNCH), "BindReadOnlyPaths") == []


def test_a_user_is_systemds_to_become() -> None:
    text = unit(shop(), Launch(LAUNCH.words, user="www-data", group=33))
    assert lines(text, "User") == ["www-data"]
    assert lines(text, "Group") == ["33"]
    assert lines(text, "DynamicUser") == []


def test_words_are_quoted_as_systemd_reads_them() -> None:
    """A percent sign is a specifier, a dollar a variable."""
    words = ("/bin/trioservice", "run", "--set=a=100%", "--prefix=my shop", '--set=b="$HOME\\"', "", "/x.tac")
    text = unit(shop(), Launch(words, folder="/srv/50% off"))
    assert lines(text, "ExecStart") == [
        r'/bin/trioservice run --set=a=100%% "--prefix=my shop" "--set=b=\"$$HOME\\\"" "" /x.tac'
    ]
    assert lines(text, "WorkingDirectory") == ["/srv/50%% off"]


def test_a_name_that_no_unit_can_have_is_changed() -> None:
    assert [*units(Application("my shop & co"), LAUNCH, {})] == ["my-shop---co.service"]


# ---- sockets


def test_a_socket_of_systemds_is_a_unit_of_its_own() -> None:
    app = shop(StreamServer("systemd:web", handler), DatagramServer("systemd:dns", handler))
    made = units(app, LAUNCH, {"web": "443", "dns": "[::1]:53"})
    assert [*made] == ["shop.service", "shop-web.socket", "shop-dns.socket"]
    web, dns = made["shop-web.socket"], made["shop-dns.socket"]
    assert lines(web, "ListenStream") == ["443"]
    assert lines(dns, "ListenDatagram") == ["[::1]:53"]
    assert lines(web, "FileDescriptorName") == ["web"]
    assert lines(web, "Service") == ["shop.service"]
    service = made["shop.service"]
    assert lines(service, "Sockets") == lines(service, "Also") == ["shop-web.socket shop-dns.socket"]
    assert lines(service, "AmbientCapabilities") == []  # it is systemd that binds


def test_the_only_socket_may_have_any_name() -> None:
    made = units(shop(StreamServer("systemd:", handler)), LAUNCH, {"web": "443"})
    assert lines(made["shop-web.socket"], "ListenStream") == ["443"]


@pytest.mark.parametrize(
    ("endpoint", "sockets", "message", "hint"),
    [
        ("systemd:web", {}, "shop/web is given its socket by systemd, and nobody said", "--socket web=8080"),
        ("systemd:", {}, "shop/web is given its socket by systemd, and nobody said", "--socket web=8080"),
        (
            "systemd:index=0",
            {"web": "80"},
            "shop/web is given its socket",
            "give it a name, as in systemd:web",
        ),
        ("tcp:80", {"web": "80"}, "no service of shop has the endpoint systemd:web", "needs no .socket"),
    ],
)
def test_where_systemd_listens_has_to_be_said_for_those_who_want_it(
    endpoint: str, sockets: dict[str, str], message: str, hint: str
) -> None:
    app = shop(StreamServer(endpoint, handler, name="web"))
    with pytest.raises(CannotRun, match=re.escape(message)) as caught:
        units(app, LAUNCH, sockets)
    assert hint in caught.value.hint
    assert caught.value.status is Exit.USAGE
