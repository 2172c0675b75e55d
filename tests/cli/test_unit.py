"""`trioservice unit`: the same arguments as for `run`, made into units."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trioservice.cli import main
from trioservice.process.exits import Exit

ECHO = """
from trioservice import *
application = Application("shop", TCPServer(7001, print, name="web"))
"""
ACTIVATED = """
from trioservice import *
application = Application("shop", StreamServer("systemd:web", print, name="web"))
"""


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.tac").write_text(ECHO)
    (tmp_path / "activated.tac").write_text(ACTIVATED)
    (tmp_path / "some_shop.py").write_text(ECHO)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["unit", *words]) == Exit.OK
    out, err = capsys.readouterr()
    assert err == ""
    return out


def line(text: str, key: str) -> str:
    [found] = [line for line in text.splitlines() if line.startswith(f"{key}=")]
    return found.removeprefix(f"{key}=")


def test_paths_hold_wherever_systemd_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text("log-keep = 3\n")
    text = printed(capsys, "shop.tac", "-l", "x.log", "--config", "shop.toml", "--exit-zero", "--rundir=.")
    program = Path(sys.executable).with_name("trioservice")
    assert line(text, "ExecStart") == (
        f"{program} run --exit-zero --logfile={tmp_path}/x.log --rundir={tmp_path} "
        f"--config={tmp_path}/shop.toml {tmp_path}/shop.tac"
    )
    assert line(text, "ReadWritePaths") == str(tmp_path)


def test_what_is_no_path_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "-ny", "shop.tac", "-l-", "--prefix", "a b", "--log-level=shop/web=debug")
    assert line(text, "ExecStart").split(" run ")[1].rpartition(" ")[0] == (
        '--logfile=- --log-level=shop/web=debug "--prefix=a b"'
    )


def test_a_module_is_looked_for_where_it_is_now(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    try:
        text = printed(capsys, "some_shop:application")
    finally:
        sys.modules.pop("some_shop", None)
    assert line(text, "ExecStart").endswith(" run some_shop:application")
    assert line(text, "WorkingDirectory") == str(tmp_path)


def test_without_the_command_beside_it_python_is_what_is_started(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/bin/python3")
    assert line(printed(capsys, "shop.tac"), "ExecStart").startswith("/opt/bin/python3 -m trioservice run ")


@pytest.mark.parametrize(
    ("words", "user"),
    [(["--uid=www-data", "--gid", "33"], ["User=www-data", "Group=33"]), ([], ["DynamicUser=yes"])],
)
def test_a_user_is_not_for_the_process_to_become(
    capsys: pytest.CaptureFixture[str], words: list[str], user: list[str]
) -> None:
    text = printed(capsys, "shop.tac", *words)
    assert "--uid" not in line(text, "ExecStart")
    assert "--gid" not in line(text, "ExecStart")
    assert set(user) <= set(text.splitlines())


def test_the_user_of_the_application_is_its_user(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "shop.tac").write_text(ECHO + "application.uid = 'www-data'")
    assert line(printed(capsys, "shop.tac"), "User") == "www-data"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--daemon"], "systemd wants the process in the foreground"),
        (["--chroot=/srv"], "RootDirectory="),
        (["--uid=1", "--euid"], "no way back"),
    ],
)
def test_what_systemd_does_itself_is_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], hint: str
) -> None:
    assert main(["unit", "shop.tac", *words]) == Exit.USAGE
    err = capsys.readouterr().err
    assert f"{words[-1].partition('=')[0]} is not for a process that systemd runs\n" in err
    assert hint in err


def test_several_units_are_told_apart_by_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "activated.tac", "--socket", "web=443")
    assert text.startswith("# shop.service\n[Unit]\n")
    assert "\n# shop-web.socket\n[Unit]\n" in text
    assert line(text, "ListenStream") == "443"


def test_units_can_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = printed(capsys, "activated.tac", "--socket=web=443", "--into", str(tmp_path))
    assert out == f"{tmp_path}/shop.service\n{tmp_path}/shop-web.socket\n"
    assert line((tmp_path / "shop-web.socket").read_text(), "ListenStream") == "443"
    assert "--into" not in line((tmp_path / "shop.service").read_text(), "ExecStart")


def test_a_folder_that_cannot_be_written_to_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["unit", "shop.tac", "--into", "nowhere"]) == Exit.CANNOT_CREATE
    assert "nowhere/shop.service cannot be written: No such file or directory" in capsys.readouterr().err
