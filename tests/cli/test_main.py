"""From argv to a command, and from its errors to one line, a hint and an exit status."""

from __future__ import annotations

import importlib.metadata
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from imported import entry_points_of_others, forgotten_afterwards
from process.support import as_in_a_fresh_process

from trioservice import __version__
from trioservice.cli import main
from trioservice.process.exits import Exit

Cli = Callable[..., tuple[int, str, str]]

APP = "import trio\nfrom trioservice import *\n"


@pytest.fixture(autouse=True)
def _import_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with forgotten_afterwards(tmp_path), as_in_a_fresh_process():
        yield


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call the command line: its status, its standard output and its standard error."""

    def cli(*argv: str) -> tuple[int, str, str]:
        try:
            status = main(argv)
        except SystemExit as exit:
            status = int(exit.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return cli


def is_one_line_and_a_hint(err: str) -> bool:
    """Whether that, and nothing else, is what the person at the keyboard got to see."""
    return re.fullmatch(r"trioservice: [^\n]+\n  hint: [^\n]+\n", err) is not None


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["dance"], "there is no command 'dance'"),
        (["run"], "run: there is no TARGET"),
        (["plan"], "plan: there is no TARGET"),
        (["run", "--loud", "app.tac"], "there is no option --loud"),
        (["--loud"], "there is no option --loud"),
        (["--vers"], "there is no option --vers"),
        (["run", "one.tac", "two.tac"], "run: 'two.tac' is one argument too many"),
        (["completion", "tcsh"], "'tcsh' is no SHELL; there are bash, zsh, fish"),
        (["run", "--umask", "9", "app.tac"], "--umask: '9' is not a mode in octal digits"),
    ],
)
def test_a_wrong_command_line_is_one_line_a_hint_and_status_64(cli: Cli, argv: list[str], said: str) -> None:
    """What is wrong, and where the right ones are listed.  Conformance rows 59 and 86."""
    status, out, err = cli(*argv)
    assert status == Exit.USAGE == 64
    assert is_one_line_and_a_hint(err)
    assert said in err
    assert out == ""


@pytest.mark.parametrize(
    ("argv", "mend"),
    [
        (["rnu", "app.tac"], "did you mean `trioservice run`?"),
        (["app.tac"], "did you mean `trioservice run app.tac`?"),
        (["shop:application"], "did you mean `trioservice run shop:application`?"),
        (["-noy", "app.tac"], "did you mean `trioservice run -noy app.tac`?"),
        (["-n"], "`trioservice --help` lists the commands"),
        (["run", "--log-flie", "x", "app.tac"], "did you mean --log-file?"),
        (["run", "-logfile", "x", "app.tac"], "did you mean --logfile?"),
        (["completion", "fsh"], "did you mean fish?"),
        (["run", "--reactor", "epoll", "app.tac"], "there is one event loop, trio's; leave it out"),
    ],
)
def test_the_likely_mend_is_told(cli: Cli, argv: list[str], mend: str) -> None:
    """Of a slip, of an old habit."""
    assert cli(*argv)[2].endswith(f"\n  hint: {mend}\n")


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (None, 66, "no such file: app.tac"),
        ("x = = 1", 65, "app.tac, line 1: invalid syntax"),
        ("x = 1", 65, "no `application` in app.tac"),
        ("application = 7", 65, "`application` in app.tac is no service but int: 7"),
        ("async def application(): pass", 65, "is no service but coroutine"),
    ],
    ids=["no file", "syntax", "no application", "wrong type", "async factory"],
)
def test_a_target_that_is_none_is_one_line_a_hint_and_its_status(
    cli: Cli, command: str, content: str | None, status: int, said: str
) -> None:
    """Each mistake has its own status, the same for each command."""
    if content is not None:
        Path("app.tac").write_text(content)
    assert (got := cli(command, "app.tac"))[0] == status
    assert got[1] == ""
    assert is_one_line_and_a_hint(got[2])
    assert said in got[2]


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_target_that_raises_is_the_users_traceback_one_line_a_hint_and_status_70(
    cli: Cli, command: str
) -> None:
    """The traceback has the user's frames only, and comes first, so that the summary stands last."""
    Path("app.tac").write_text("def f():\n    1 / 0\nf()\n")
    status, out, err = cli(command, "app.tac")
    assert status == Exit.LOAD_FAILED == 70
    assert out == ""
    trace, _, rest = err.partition("trioservice: ")
    assert trace.splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{Path("app.tac").resolve()}", line 3, in <module>',
        "    f()",
        f'  File "{Path("app.tac").resolve()}", line 2, in f',
        *(["    1 / 0"] + ["    ~~^~~"] * ("~~^~~" in trace)),
        "ZeroDivisionError: division by zero",
    ]
    assert rest.startswith("ZeroDivisionError while loading app.tac: division by zero\n  hint: ")


def test_a_module_or_attribute_that_is_missing_is_status_66(cli: Cli) -> None:
    """So a supervisor can be told not to try again."""
    for target in ("nowhere_at_all:app", "os:nothing_like_it", "os:"):
        status, _, err = cli("run", target)
        assert status == Exit.NO_INPUT == 66
        assert is_one_line_and_a_hint(err)


def test_without_a_command_it_helps(cli: Cli) -> None:
    """Whoever types the name alone wants to know what there is."""
    assert cli() == cli("--help")


def test_help_lists_the_commands_and_the_exit_statuses(cli: Cli) -> None:
    """What a supervisor's unit file needs stands there."""
    status, out, err = cli("--help")
    assert (status, err) == (0, "")
    assert re.search(r"^ +run +run an application", out, re.MULTILINE)
    assert re.search(r"^ +plan +show an application's tree", out, re.MULTILINE)
    for exit in Exit:
        assert f" {exit:d} {exit.meaning} " in " ".join(out.split())


@pytest.mark.parametrize(
    ("command", "said"), [("run", "Ctrl-C or SIGTERM stops"), ("plan", "Nothing is started")]
)
def test_help_of_a_command_tells_its_arguments(cli: Cli, command: str, said: str) -> None:
    """What it does, and what TARGET is."""
    status, out, _ = cli(command, "--help")
    assert status == 0
    assert said in " ".join(out.split())
    assert "TARGET" in out
    assert "package.module:attribute" in out


def test_version_is_the_packages(cli: Cli) -> None:
    """What to write into a bug report.  Conformance row 59."""
    assert cli("--version") == (0, f"trioservice {__version__}\n", "")
    assert cli("run", "--version") == (0, f"trioservice {__version__}\n", "")


def test_an_application_that_finishes_is_status_0(cli: Cli) -> None:
    """All services have done their work."""
    Path("app.tac").write_text(APP + "application = Application('app', TaskService(trio.sleep, 0))")
    status, out, _ = cli("run", "app.tac")
    assert (status, out) == (0, "")


def test_an_application_whose_service_fails_is_status_1_and_one_report(cli: Cli) -> None:
    """The report begins with the service's path, and is the user's own traceback."""
    Path("app.tac").write_text(
        APP + "async def work():\n    await trio.sleep(0)\n    raise ValueError('no')\n"
        "application = Application('app', MultiService(TaskService(work), name='back'))"
    )
    status, out, err = cli("run", "app.tac")
    assert (status, out) == (Exit.FAILED, "")
    assert re.search(r"^app/back/work failed\n  Traceback", err, re.MULTILINE)
    assert "line 5, in work" in err
    assert err.endswith("ValueError: no\n")


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("raise ValueError('no')", 69),
        ("return", 69),
        ("raise PermissionError(13, 'Permission denied')", 77),
        ("raise PermissionError(1, 'Operation not permitted')", 77),
        ("import sys; sys.exit(9)", 9),
    ],
)
def test_an_application_that_does_not_become_ready_is_status_69_or_77(
    cli: Cli, fault: str, status: int
) -> None:
    """Whether it failed early or late, and for want of a right, can be told from the status."""
    Path("app.tac").write_text(
        APP
        + f"async def work(task_status):\n    {fault}\napplication = Application('app', TaskService(work))"
    )
    assert cli("run", "app.tac")[0] == status


def test_a_port_in_use_is_status_69_with_path_and_hint(cli: Cli) -> None:
    """Who starts it twice is told so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        Path("app.tac").write_text(
            APP + f"application = Application('app', TCPServer({port}, print, host='127.0.0.1', name='srv'))"
        )
        status, _, err = cli("run", "app.tac")
    assert status == Exit.START_FAILED == 69, err
    assert re.search(
        rf"^app/srv: cannot listen on 127.0.0.1:{port}: Address already in use; .*", err, re.MULTILINE
    )
    assert "choose another port" in err
    assert "Traceback" not in err


def test_python_m_trioservice_is_the_same() -> None:
    """Where no script directory is on the PATH, Python itself will do."""
    got = subprocess.run(
        [sys.executable, "-m", "trioservice", "--version"], capture_output=True, text=True, timeout=30
    )
    assert (got.returncode, got.stdout, got.stderr) == (0, f"trioservice {__version__}\n", "")
    got = subprocess.run(
        [sys.executable, "-m", "trioservice", "dance"], capture_output=True, text=True, timeout=30
    )
    assert got.returncode == Exit.USAGE
    assert is_one_line_and_a_hint(got.stderr)


def test_the_command_line_is_read_from_the_process_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch, cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    """`main()` is what the installed script calls."""
    monkeypatch.setattr(sys, "argv", ["trioservice", "plan", "nothing.tac"])
    assert main() == Exit.NO_INPUT
    assert "no such file: nothing.tac" in capsys.readouterr().err


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_a_plan_that_cannot_be_written_is_a_status_and_no_traceback(tmp_path: Path, redirection: str) -> None:
    """Standard output may be closed or its disk full."""
    target = tmp_path / "app.tac"
    target.write_text("from trioservice import Application\napplication = Application('app')\n")
    command = f"{sys.executable} -m trioservice plan {target} {redirection}"
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == Exit.OUTPUT_FAILED
    assert "Traceback" not in done.stderr


# ---- settings, parameters


CONFIGURED = APP + "port = parameter('port', 80, help='where')\napplication = Application(f'app-{port}')\n"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("umaks = 1", "trioservice: shop.toml: there is no setting 'umaks'\n  hint: did you mean umask?\n"),
        ("log-level = 'loud'", "trioservice: shop.toml, log-level: 'loud' is not a level of the log"),
        (
            "[set]\nprot = 1",
            "shop.toml, [set]: the application has no parameter 'prot'\n  hint: did you mean port?\n",
        ),
        ("[set]\nport = 'x'", "trioservice: shop.toml, port in [set]: 'x' is not a whole number"),
        ("=", "trioservice: shop.toml: "),
    ],
)
def test_a_mistake_in_the_settings_is_status_78_one_line_and_a_hint(cli: Cli, file: str, said: str) -> None:
    """A supervisor need not try again, and the operator knows which file and which key."""
    Path("app.tac").write_text(CONFIGURED)
    Path("shop.toml").write_text(file)
    status, out, err = cli("run", "--config", "shop.toml", "app.tac")
    assert (status, out) == (Exit.CONFIG, "")
    assert is_one_line_and_a_hint(err)
    assert said in err


def test_parameters_are_set_for_every_command_that_loads(cli: Cli) -> None:
    """What is planned is what will run."""
    Path("app.tac").write_text(CONFIGURED)
    assert cli("plan", "app.tac", "--set", "port=81")[1].startswith("app-81 ")
    assert "port = 81" in cli("config", "app.tac", "--set=port=81")[1]


def test_help_for_a_file_shows_its_parameters(cli: Cli) -> None:
    """Without being given those that have to be."""
    Path("app.tac").write_text(CONFIGURED + "parameter('token', help='what opens the door')\n")
    _, out, err = cli("run", "app.tac", "--help")
    assert err == ""
    assert re.search(r"^  --set port=NUMBER +where \(default: 80\)$", out, re.MULTILINE)
    assert "what opens the door (has to be given)" in " ".join(out.split())


def test_help_for_a_file_that_cannot_be_loaded_helps_all_the_same(cli: Cli) -> None:
    """And says what is wrong with it."""
    status, out, err = cli("run", "nothing.tac", "--help")
    assert status == 0
    assert err == "trioservice: no such file: nothing.tac\n"
    assert out.startswith("Usage: trioservice run ")


def test_the_old_way_to_name_a_file(cli: Cli) -> None:
    """Fingers know it."""
    Path("app.tac").write_text(APP + "application = Application('app', TaskService(trio.sleep, 0))")
    assert cli("run", "-noy", "app.tac")[0] == 0


@pytest.mark.parametrize("argv", [["config"], ["man"], ["completion", "zsh"]])
def test_what_describes_itself_needs_no_target(cli: Cli, argv: list[str]) -> None:
    """And prints something."""
    status, out, err = cli(*argv)
    assert (status, err) == (0, "")
    assert len(out.splitlines()) > 10


@pytest.mark.parametrize("command", ["stop", "status", "reload"])
def test_a_pid_file_that_is_not_there_is_status_3(cli: Cli, command: str) -> None:
    """Conformance row 88; it is removed when the process ends, so nothing runs."""
    status, _, err = cli(command, "nothing.pid")
    assert status == Exit.NOT_RUNNING
    assert is_one_line_and_a_hint(err)


# ---- plugins

WEB = (
    APP + "from trioservice.config.plugins import Plugin\nfrom trioservice.config.options import option\n"
    "async def serve(port): print('serving on', port, 'as', current_service().path)\n"
    "web = Plugin(lambda port: TaskService(serve, port), help='serve a folder', description='Serve it.',\n"
    "             options=(option('port', 80, help='where to listen'),))\n"
)


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package whose plugin is a command, and another one whose is broken."""
    # Ours are there as well, one of them is called web, too, and none is a matter of these tests.
    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points_of_others)
    site = tmp_path / "site"
    for package, code in (("webplugin", WEB), ("badplugin", "1 / 0")):
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        name = package.removesuffix("plugin")
        (info / "entry_points.txt").write_text(f"[trioservice.plugins]\n{name} = {package}:{name}\n")
        (site / f"{package}.py").write_text(code)
    monkeypatch.syspath_prepend(str(site))


@pytest.mark.usefixtures("web")
def test_a_plugin_runs_below_an_application_of_its_name_with_its_own_options(cli: Cli) -> None:
    """Typed, and those of `run` as well.  Conformance row 61."""
    status, out, err = cli("web", "--port", "8080", "--log-level", "error")
    assert (status, out, err) == (0, "serving on 8080 as web/serve\n", "")


@pytest.mark.usefixtures("web")
def test_a_plugin_s_options_have_all_layers(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of the file bears its name, and so do variables."""
    Path("web.toml").write_text("log-level = 'error'\n[web]\nport = 1\n")
    assert "serving on 1 " in cli("web", "--config=web.toml")[1]
    monkeypatch.setenv("TRIOSERVICE_WEB_PORT", "2")
    assert "serving on 2 " in cli("web", "--config=web.toml")[1]
    Path("web.toml").write_text("[web]\nprot = 1\n")
    assert cli("web", "--config=web.toml")[2].startswith(
        "trioservice: web.toml, [web]: the plugin 'web' has no option 'prot'\n  hint: did you mean port?"
    )


@pytest.mark.usefixtures("web")
def test_a_plugin_has_help(cli: Cli) -> None:
    """Its own options first."""
    out = cli("web", "--help")[1]
    assert re.search(r"^Serve it\.$", out, re.MULTILINE)
    assert out.index("Options of web:\n      --port NUMBER") < out.index("Process:")
    assert "--set" not in out


@pytest.mark.usefixtures("web")
def test_plugins_are_among_the_commands_sorted_and_a_broken_one_is_one_line(cli: Cli) -> None:
    """Conformance row 56."""
    status, out, err = cli("--help")
    assert status == 0
    assert re.search(r"^  web +serve a folder$", out, re.MULTILINE)
    assert out.index("  status ") < out.index("  stop ") < out.index("  web ")
    assert err == (
        "trioservice: the plugin 'bad' of badplugin 1.0 is left out: "
        "ZeroDivisionError while importing badplugin:bad: division by zero\n"
    )


@pytest.mark.usefixtures("web")
def test_a_broken_plugin_that_is_asked_for_is_told_with_its_own_traceback(cli: Cli) -> None:
    """Its author has to see it."""
    status, _, err = cli("bad")
    assert status == Exit.LOAD_FAILED
    assert 'badplugin.py", line 1, in <module>' in err
    assert err.partition("trioservice: ")[2].startswith("ZeroDivisionError while importing badplugin:bad")


@pytest.mark.usefixtures("web")
def test_a_slip_in_a_plugin_s_name_is_seen(cli: Cli) -> None:
    """It is a command like any other."""
    assert "did you mean `trioservice web`?" in cli("wbe")[2]


@pytest.mark.usefixtures("web")
def test_plugins_are_completed_as_well(cli: Cli) -> None:
    """The script knows those that are installed when it is made."""
    assert "-l port " in cli("completion", "fish")[1]


@pytest.mark.parametrize("logger", ["nothing_like_it:setup", "os:nothing_like_it", "os"])
def test_a_logger_that_is_none_is_status_64(cli: Cli, logger: str) -> None:
    """Conformance row 58."""
    Path("app.tac").write_text(APP + "application = Application('app', TaskService(trio.sleep, 0))")
    status, _, err = cli("run", "--logger", logger, "app.tac")
    assert status == Exit.USAGE
    assert is_one_line_and_a_hint(err)


@pytest.mark.parametrize("command", ["plan", "check", "config"])
def test_ctrl_c_while_a_target_is_loaded_is_no_traceback(cli: Cli, tmp_path: Path, command: str) -> None:
    (tmp_path / "app.tac").write_text("raise KeyboardInterrupt")
    assert cli(command, "app.tac") == (130, "", "\ntrioservice: interrupted\n")


def test_a_flag_that_is_turned_off_in_the_way_of_others_is_told_ours(cli: Cli) -> None:
    status, _, err = cli("web", "--no-listings")
    assert status == Exit.USAGE
    assert err.endswith("hint: did you mean --listings=no?\n")
