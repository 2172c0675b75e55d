"""What the documentation says is so: its listings run, its outputs are real, its links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import create_connection, create_server

import pytest
from certificates import certificate, trusting, write_pair
from programs import running as running_program
from programs import trioservice as trioservice_command

import trioservice
from trioservice.cli import main as command
from trioservice.cli.commands import COMMANDS
from trioservice.config.layers import variable
from trioservice.config.options import SETTINGS, TWISTD
from trioservice.config.targets import load
from trioservice.lifecycle import MOVES
from trioservice.process.exits import Exit
from trioservice.process.unit import Launch, units

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial" / "code"
HOWTO = DOCS / "howto" / "code"
FRONT_PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [page for page in DOCS.rglob("*.md") if "_build" not in page.parts]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# ---- running listings

# `trioservice run FILE`, but on free ports, so that tests neither wait for nor disturb anybody.
_RUN_ON_FREE_PORTS = """
import signal, sys
from dataclasses import replace
from trioservice import MultiService, StreamServer
from trioservice.config.targets import load
from trioservice.process.runner import run

def free(service):
    if isinstance(service, StreamServer) and hasattr(service.endpoint, "port"):
        service.endpoint = replace(service.endpoint, port=0)
    for child in service if isinstance(service, MultiService) else ():
        free(child)
    return service

signal.signal(signal.SIGINT, signal.default_int_handler)  # ours may have been started to ignore it
sys.exit(run(lambda: free(load(sys.argv[1]))))
"""
_ENVIRONMENT = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"}


def run(*command_line: str | Path, cwd: Path = ROOT, stderr: int = subprocess.STDOUT) -> tuple[int, str]:
    """Exit status and output of a Python command line."""
    done = subprocess.run(
        [sys.executable, *map(str, command_line)],
        cwd=cwd,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=stderr,
        encoding="utf-8",
        timeout=60,
    )
    return done.returncode, done.stdout


class Running:
    """An application file that runs in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = 0
        self.log = ""

    def read_until(self, end: str) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.log += line
            if found := re.search(r"listening on (?:127\.0\.0\.1|0\.0\.0\.0):(\d+)", line):
                self.port = int(found[1])
            if end in line:
                return
        raise AssertionError(f"{end!r} never came:\n{self.log}")

    def ask(self, question: bytes) -> str:
        with create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            sock.sendall(question)
            return sock.recv(1000).decode()

    def press(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def interrupt(self) -> tuple[int, str]:
        """Press Ctrl-C; exit status, and what was logged from then on."""
        self.press()
        rest, _ = self._process.communicate(timeout=30)
        return self._process.returncode, rest


@contextmanager
def running(path: Path, ready: str) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN_ON_FREE_PORTS, path.name],
        cwd=path.parent,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    try:
        it = Running(process)
        it.read_until(f"{ready}: running, after")
        yield it
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        assert process.stdout is not None
        process.stdout.close()


def same(output: str) -> str:
    """*output* without what differs from run to run: numbers and folders."""
    output = re.sub(r'File "[^"]*?([^/"]+)"', r'File "\1"', output)
    output = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ ", "", output)
    return re.sub(r"\d+(\.\d+)?( ms| s)?(?![\d.])", "N", output).strip()


def shown(path: Path) -> str:
    """What a page shows as the output of a command; the command itself is on the first line."""
    _, _, output = path.read_text(encoding="utf-8").partition("\n")
    return same(output)


def block(text: str, language: str, containing: str) -> str:
    """The fenced block of *text* in which *containing* stands."""
    blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    [found] = [found for found in blocks if containing in found]
    return str(found)


# ---- the listings, each with the test that runs it


@pytest.mark.real
def test_the_echo_starts_answers_and_stops_as_shown() -> None:
    with running(ROOT / "examples" / "01_echo.tac", "echo") as echo:
        assert echo.ask(b"hello") == "hello"
        status, stopped = echo.interrupt()

    assert same(echo.log) == shown(TUTORIAL / "echo.out")
    assert same(stopped) == shown(TUTORIAL / "echo.stop.out")
    assert status == -signal.SIGINT


@pytest.mark.real
@pytest.mark.parametrize(
    "file",
    [TUTORIAL / "thermometer.py", TUTORIAL / "outbox.py", HOWTO / "embedded.py"],
    ids=lambda file: file.name,
)
def test_a_program_prints_what_its_page_shows(file: Path) -> None:
    status, output = run(file.name, cwd=file.parent, stderr=subprocess.DEVNULL)

    assert same(output) == shown(file.with_suffix(".out"))
    assert status == 0


@pytest.mark.real
def test_the_simulated_network_logs_what_its_page_shows_to_the_byte() -> None:
    file = DOCS / "reference" / "code" / "partition.py"

    _, output = run(file.name, cwd=file.parent)

    assert output == file.with_suffix(".out").read_text(encoding="utf-8").partition("\n")[2]


@pytest.mark.real
def test_the_weather_starts_answers_and_stops_as_shown(capsys: pytest.CaptureFixture[str]) -> None:
    file = TUTORIAL / "weather.tac"

    with running(file, "weather") as weather:
        assert same(weather.ask(b"")) == "N indoors, N outdoors"
        status, stopped = weather.interrupt()

    assert same(weather.log) == shown(file.with_suffix(".out"))
    assert same(stopped) == shown(file.with_suffix(".stop.out"))
    assert status == -signal.SIGINT
    assert command(["plan", str(file)]) == 0
    assert same(capsys.readouterr().out) == shown(file.with_suffix(".plan.out"))


@pytest.mark.real
def test_the_unplugged_thermometer_fails_as_shown() -> None:
    file = TUTORIAL / "unplugged.tac"

    status, output = run("-m", "trioservice", "run", file.name, cwd=file.parent)

    assert same(output) == shown(file.with_suffix(".out"))
    assert status == Exit.FAILED


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "kept"), [("desk.out", False), ("desk.explain.out", False), ("desk_mended.out", True)]
)
def test_check_finds_in_the_office_what_its_page_shows(file: str, kept: bool, tmp_path: Path) -> None:
    line, _, expected = (TUTORIAL / file).read_text(encoding="utf-8").partition("\n")
    words = line.removeprefix("$ trioservice ").replace("desk.svg", str(tmp_path / "desk.svg")).split()
    if kept:  # to the thousand of the page it would take half a minute
        words += ["--seeds", "200"]
        expected = expected.replace("1000 lives", "200 lives")

    status, output = run("-m", "trioservice", *words, cwd=TUTORIAL)

    assert same(output.replace(str(tmp_path / "desk.svg"), "desk.svg")) == same(expected)
    assert status == (Exit.OK if kept else Exit.FAILED)
    if "--svg" in words:
        assert (tmp_path / "desk.svg").read_bytes() == (TUTORIAL / "desk.svg").read_bytes()


@pytest.mark.real
@pytest.mark.parametrize("file", ["test_desk.py", "test_office.py", "test_post.py"])
def test_the_tests_of_the_office_pass(file: str, tmp_path: Path) -> None:
    status, output = run("-m", "pytest", "-q", TUTORIAL / file, cwd=tmp_path)

    assert "1 passed" in output
    assert status == 0


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "shown"),
    [("test_desk.py", ["L3: office/desk cannot be started again"]), ("test_office.py", None)],
)
def test_the_tests_of_the_office_fail_as_shown_without_its_finally(
    file: str, shown: list[str] | None, tmp_path: Path
) -> None:
    listing = (TUTORIAL / file).read_text(encoding="utf-8")
    (tmp_path / file).write_text(listing.replace("desk_mended", "desk"), encoding="utf-8")
    shutil.copy(TUTORIAL / "desk.py", tmp_path)

    status, output = run("-m", "pytest", "-q", file, cwd=tmp_path)

    lines = shown or (TUTORIAL / "office.out").read_text(encoding="utf-8").splitlines()[1:]
    assert not [line for line in lines if line not in output]
    assert status == 1


@pytest.mark.real
def test_an_office_whose_clerk_does_not_complain_passes_the_check(tmp_path: Path) -> None:
    """So the page says, and why one needs an invariant of one's own."""
    listing = (TUTORIAL / "desk.py").read_text(encoding="utf-8")
    complaint = re.compile(r"^ +if self\.taken:\n +raise .*\n", re.MULTILINE)
    assert complaint.search(listing)
    (tmp_path / "quiet.py").write_text(complaint.sub("", listing), encoding="utf-8")

    status, output = run("-m", "trioservice", "check", "quiet.py", "--seeds", "100", cwd=tmp_path)

    assert "100 lives, and every promise was kept" in output
    assert status == Exit.OK


@pytest.mark.real
def test_the_line_server_shouts_and_refuses() -> None:
    with running(HOWTO / "lines.tac", "lines") as lines:
        assert lines.ask(b"hello\r\nyou\n").startswith("HELLO\n")
        assert lines.ask(b"x" * 1001) == ""
        lines.read_until("ValueError: a line of more than 1000 bytes")
        assert lines.ask(b"still here\n") == "STILL HERE\n"
        _, log = lines.interrupt()

    assert re.search(r"lines/shout: hello 127\.0\.0\.1, port \d+", lines.log + log)


@pytest.mark.real
def test_the_tls_server_of_the_howto_greets(tmp_path: Path) -> None:
    """With the certificate that stands beside it."""
    shutil.copy(HOWTO / "serve-tls.tac", tmp_path)
    write_pair(tmp_path, certificate("localhost"), "shop")
    with (
        running(tmp_path / "serve-tls.tac", "shop") as app,
        create_connection(("127.0.0.1", app.port), timeout=10) as plain,
        trusting().wrap_socket(plain, server_hostname="localhost") as client,
    ):
        assert client.recv(1000) == b"You see me by TLSv1.3.\n"


@pytest.mark.real
def test_a_client_stays_connected_to_the_line_server(tmp_path: Path) -> None:
    with running(HOWTO / "lines.tac", "lines") as lines:
        listing = (
            (HOWTO / "stay-connected.tac").read_text(encoding="utf-8").replace("sleep(10)", "sleep(0.1)")
        )
        (tmp_path / "kitchen.tac").write_text(listing.replace("    7004,", f"    {lines.port},"))
        with running(tmp_path / "kitchen.tac", "kitchen") as kitchen:
            kitchen.read_until("heard DINNER IS READY")
            lines.press()
            lines.read_until("stopping: SIGINT")
            lines.interrupt()  # once more: the kitchen would hold up the drain
            kitchen.read_until("kitchen/call: cannot connect to 127.0.0.1")
            kitchen.interrupt()


@pytest.mark.real
def test_the_http_server_of_the_howto_answers_as_shown() -> None:
    pytest.importorskip("httptools")
    with running(HOWTO / "serve-http.tac", "desk") as desk:
        said = b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello"
        assert desk.ask(said).endswith("\r\n\r\nHELLO")
        assert desk.ask(b"GET /x HTTP/1.0\r\n\r\n").startswith("HTTP/1.1 404 Not Found\r\n")


@pytest.mark.real
def test_the_server_behind_a_proxy_sees_whom_the_proxy_tells() -> None:
    with running(HOWTO / "behind-a-proxy.tac", "whoami") as whoami:
        told = whoami.ask(b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\nGET / HTTP/1.0\r\n\r\n")

        assert told.endswith("you are 203.0.113.9\n")


@pytest.mark.real
def test_a_protocol_takes_orders_and_the_cooks_answer() -> None:
    with running(HOWTO / "protocol-and-task.tac", "kitchen") as kitchen:
        assert [kitchen.ask(order) for order in (b"tea\n", b"soup\n")] == ["TEA\n", "SOUP\n"]
        _, log = kitchen.interrupt()

    assert "Traceback" not in kitchen.log + log


@pytest.mark.real
def test_a_port_in_use_is_told_as_shown() -> None:
    with ExitStack() as stack:
        with suppress(OSError):  # it is taken already, which is as good
            stack.enter_context(create_server(("127.0.0.1", 7004)))
        status, output = run("-m", "trioservice", "run", "lines.tac", cwd=HOWTO)

    assert same(output) == shown(HOWTO / "port-in-use.out")
    assert status == Exit.START_FAILED


@pytest.mark.real
@pytest.mark.parametrize("file", sorted(HOWTO.glob("talk*.out")), ids=lambda file: file.name)
def test_what_two_services_have_to_say_is_logged_as_shown(file: Path) -> None:
    line, _, _ = file.read_text(encoding="utf-8").partition("\n")
    _, output = run("-m", *line.removeprefix("$ ").split(), cwd=HOWTO)

    assert same(output) == shown(file)


@pytest.mark.real
@pytest.mark.parametrize("line", ["plan examples/02_front_and_back.tac", "run nope.tac"])
def test_the_commands_of_the_howto_print_what_it_shows(line: str) -> None:
    page = (DOCS / "howto" / "run-an-application-file.md").read_text(encoding="utf-8")

    _, output = run("-m", "trioservice", *line.split())

    assert block(page, "console", line) == f"$ trioservice {line}\n{output}"


@pytest.mark.real
@pytest.mark.parametrize("file", ["greeter.config.out", "greeter.help.out", "greeter.mistake.out"])
def test_parameters_are_shown_as_they_are(file: str) -> None:
    command_line = (HOWTO / file).read_text(encoding="utf-8").splitlines()[0].removeprefix("$ trioservice ")

    _, output = run("-m", "trioservice", *command_line.split(), cwd=HOWTO)

    if file == "greeter.help.out":
        output = output.partition("Process:")[0] + "..."
    assert same(output) == shown(HOWTO / file)


@pytest.mark.real
def test_the_greeter_says_what_it_was_told_to(tmp_path: Path) -> None:
    settings = (HOWTO / "greeter.toml").read_text(encoding="utf-8")
    (tmp_path / "greeter.toml").write_text(f"{settings}port = 0\n", encoding="utf-8")
    argv = trioservice_command("run", HOWTO / "greeter.tac", "--config", tmp_path / "greeter.toml")

    with running_program(argv) as greeter:
        with create_connection(("127.0.0.1", greeter.port("greeter/front")), timeout=10) as sock:
            assert sock.recv(100) == b"welcome\n"
        greeter.stops()


@pytest.fixture
def shopfront(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin of the howto, as an installer leaves it behind."""
    declared = tomllib.loads((HOWTO / "shopfront" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = tmp_path / f"{declared['name']}-{declared['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {declared['name']}\nVersion: 1.0\n")
    ((group, entries),) = declared["entry-points"].items()
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))
    shutil.copy(HOWTO / "shopfront" / "shopfront.py", tmp_path)
    monkeypatch.setitem(_ENVIRONMENT, "PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.real
@pytest.mark.usefixtures("shopfront")
def test_the_plugin_of_the_howto_helps_as_shown() -> None:
    _, output = run("-m", "trioservice", "front", "--help")

    assert same(output.partition("Process:")[0] + "...") == shown(HOWTO / "shopfront.help.out")


@pytest.mark.real
@pytest.mark.usefixtures("shopfront")
def test_the_plugin_of_the_howto_greets() -> None:
    with running_program(trioservice_command("front", "--port=0", "--loud")) as front:
        with create_connection(("127.0.0.1", front.port("front/door")), timeout=10) as sock:
            assert sock.recv(100) == b"HELLO\n"
        front.stops()


@pytest.mark.real
def test_the_container_of_the_howto_logs_json_and_ends_with_0(tmp_path: Path) -> None:
    page = (DOCS / "howto" / "deploy-in-a-container.md").read_text(encoding="utf-8")
    [entrypoint] = re.findall(r"^ENTRYPOINT (.*)$", page, re.MULTILINE)
    listing = (ROOT / "examples" / "01_echo.tac").read_text(encoding="utf-8")
    (tmp_path / "shop.tac").write_text(listing.replace("7001", "0"), encoding="utf-8")
    words = [sys.executable, "-m", *json.loads(entrypoint)]

    with subprocess.Popen(words, cwd=tmp_path, env=_ENVIRONMENT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline())]
        while "running" not in lines[-1]["message"] or "/" in lines[-1]["message"]:
            lines.append(json.loads(process.stdout.readline()))
        process.terminate()
        rest, _ = process.communicate(timeout=30)

    assert all(json.loads(line)["level"] == "INFO" for line in rest.splitlines())
    assert process.returncode == Exit.OK


def test_the_units_of_the_howto_are_those_that_are_printed() -> None:
    launch = Launch(("/opt/shouting/bin/trioservice", "run", "/opt/shouting/shouting.tac"))

    made = units(load(str(ROOT / "examples" / "11_socket_activation.tac")), launch, {"web": "7011"})

    assert sorted(made) == sorted(file.name for file in HOWTO.glob("shouting*"))
    for name, text in made.items():
        assert text == (HOWTO / name).read_text(encoding="utf-8")


@pytest.mark.real
@pytest.mark.parametrize(("file", "tests"), [("test_outbox.py", 3), ("test_nightly.py", 1)])
def test_the_tests_of_the_howto_pass(file: str, tests: int) -> None:
    status, output = run("-m", "pytest", "-q", HOWTO / file)

    assert f"{tests} passed" in output
    assert status == 0


def test_no_listing_is_left_out() -> None:
    included = {
        (page.parent / name).resolve()
        for page in PAGES
        for name in re.findall(r"\{literalinclude\} (\S+)", page.read_text(encoding="utf-8"))
    }
    run_above = {
        *(ROOT / "examples").glob("*.*"),  # all of them are run by tests/test_examples.py
        *(TUTORIAL / name for name in ("thermometer.py", "weather.tac", "outbox.py", "unplugged.tac")),
        *(TUTORIAL / name for name in ("desk.py", "desk_mended.py")),
        *(TUTORIAL / name for name in ("test_desk.py", "test_office.py", "test_post.py")),
        *(HOWTO / name for name in ("lines.tac", "embedded.py", "test_outbox.py", "test_nightly.py")),
        *(HOWTO / name for name in ("serve-tls.tac", "stay-connected.tac", "behind-a-proxy.tac")),
        HOWTO / "serve-http.tac",
        *(
            HOWTO / name
            for name in ("protocol-and-task.tac", "greeter.tac", "talk.tac", "shopfront/shopfront.py")
        ),
        DOCS / "reference" / "code" / "partition.py",
    }

    programs = {file for file in included if file.suffix in (".py", ".tac")}
    assert programs <= run_above
    assert {file for file in run_above if file.parent != ROOT / "examples"} <= programs
    assert all(file.is_file() for file in included)


# ---- the README


@pytest.mark.real
def test_the_readme_s_first_program_is_the_tree_it_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "shop.tac"
    file.write_text(block(README, "python", "# shop.tac"), encoding="utf-8")

    assert command(["plan", str(file)]) == 0
    assert block(README, "text", "└─ front") == capsys.readouterr().out
    with running(file, "shop") as shop:
        assert shop.ask(b"apples\n") == "3 apples\n"
        assert shop.ask(b"plums\n") == ""
        shop.read_until("KeyError: 'plums'")
        assert shop.ask(b"pears\n") == "5 pears\n"
        _, stopped = shop.interrupt()

    log = same(block(README, "text", "shop/back/stock: running"))
    started = "\n".join(shop.log.partition("ERROR")[0].splitlines()[:-1])
    assert log.startswith(same(started))
    assert log.endswith(same(stopped))


@pytest.mark.real
def test_the_readme_s_report_is_real(tmp_path: Path) -> None:
    file = tmp_path / "closing.py"
    file.write_text(block(README, "python", "# closing.py"), encoding="utf-8")

    status, output = run(file.name, cwd=tmp_path)

    report = block(README, "text", "KeyError: 'plums'")
    assert same(report) == same(output)
    assert re.findall(r"line \d+", report) == re.findall(r"line \d+", output)
    assert status == 1


@pytest.mark.real
def test_the_readme_s_broken_promise_is_real(tmp_path: Path) -> None:
    (tmp_path / "desk.py").write_text(block(README, "python", "# desk.py"), encoding="utf-8")

    status, output = run("-m", "trioservice", "check", "desk.py", cwd=tmp_path)

    told = block(README, "text", "a promise was broken").partition("\n")[2]
    assert same(told) == same(output)
    assert re.findall(r"desk.py:\d+", told) == re.findall(r"desk.py:\d+", output)
    assert status == Exit.FAILED


# ---- links and names


@pytest.mark.parametrize("page", FRONT_PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]

    assert not missing


def test_the_contract_has_all_its_rules() -> None:
    contract = (DOCS / "explanation" / "lifecycle.md").read_text(encoding="utf-8")

    rules = re.findall(r"^### (L\d+)\. ", contract, re.MULTILINE)

    assert rules == [f"L{number}" for number in range(1, 22)]


def test_the_reference_has_every_everyday_name() -> None:
    overview = (DOCS / "reference" / "index.md").read_text(encoding="utf-8")

    assert set(trioservice.__all__) <= set(re.findall(r"`(\w+)`", overview))


def test_the_reference_has_every_module_it_promises() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md"))
    documented = re.findall(r"automodule:: (\S+)", pages)

    for name in trioservice.__all__:
        home = getattr(trioservice, name).__module__
        assert home in documented or name == "current_service"
    for module in documented:
        importlib.import_module(module)


def test_the_floors_are_those_that_are_checked() -> None:
    drawn = block((DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8"), "text", "__main__")
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]

    assert drawn.split("\n")[:-1] == checked["contracts"][0]["layers"]


def test_what_the_architecture_names_is_there() -> None:
    architecture = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
    files = re.findall(r"`([\w/]+\.py)`", architecture)
    places = re.findall(r"`([\w/]+\.py)`(?:, | \()`([\w.]+)`", architecture)
    methods = set(re.findall(r"`([A-Z]\w+)\.(\w+)`", architecture))
    package = ROOT / "trioservice"
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in package.rglob("*.py")]
    defined = {
        (owner.name, method.name)
        for tree in trees
        for owner in tree.body
        if isinstance(owner, ast.ClassDef)
        for method in owner.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert len(places) >= 15
    assert len(methods) >= 10
    assert not [file for file in files if not (package / file).is_file()]
    for file, name in places:
        name = name.rpartition(".")[2]
        code = (package / file).read_text(encoding="utf-8")
        assert re.search(rf"def {name}\(|^{name}\b.* = ", code, re.MULTILINE), f"{file}, {name}"
    assert methods <= defined


def test_the_table_of_the_room_net_has_its_files_from_the_ground_up() -> None:
    architecture = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
    table = architecture.partition("## The room net")[2].partition("\n## ")[0]
    names = [
        name for row in re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE) for name in row[1:-1].split("`, `")
    ]
    room = ROOT / "trioservice" / "net"

    assert sorted(names) == sorted(file.stem for file in room.glob("*.py") if file.stem != "__init__")
    for index, name in enumerate(names):
        used = re.findall(
            r"^ *from \.(\w+) import", (room / f"{name}.py").read_text(encoding="utf-8"), re.MULTILINE
        )
        assert set(used) <= set(names[:index]), name


@pytest.mark.parametrize("room", ["process", "config", "cli", "integrations", "testing"])
def test_the_tables_of_the_upper_rooms_have_their_files(room: str) -> None:
    architecture = (DOCS / "explanation" / "architecture.md").read_text(encoding="utf-8")
    table = architecture.partition(f"## The room {room}")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)

    assert sorted(name for row in rows for name in row[1:-1].split("`, `")) == sorted(
        file.stem for file in (ROOT / "trioservice" / room).glob("*.py") if file.stem != "__init__"
    )


# ---- what is made from the code


@pytest.fixture
def made_from_code(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    monkeypatch.syspath_prepend(str(DOCS))
    modules = {name: importlib.import_module(name) for name in ("diagrams", "command_line")}
    yield {
        "states": modules["diagrams"].states(),
        "order": modules["diagrams"].order(),
        "lanes": modules["diagrams"].lanes(),
        "help": modules["command_line"].help_texts(),
        "exits": modules["command_line"].exit_statuses(),
        "settings": modules["command_line"].settings(),
        "twistd": modules["command_line"].twistd(),
        "forms": modules["command_line"].forms(),
    }
    for name in modules:
        del sys.modules[name]


def test_each_move_of_the_table_is_an_arrow(made_from_code: dict[str, str]) -> None:
    arrows = re.findall(r'class="move" data-move="(\w+) (\w+) (\w+)"', made_from_code["states"])
    states = re.findall(r'class="state" data-state="(\w+)"', made_from_code["states"])

    assert sorted(arrows) == sorted((old, move, new) for (old, move), new in MOVES.items())
    assert states == list(trioservice.State)


def test_the_picture_of_the_order_shows_a_start_and_its_reverse(made_from_code: dict[str, str]) -> None:
    names = re.findall(r'text-anchor="start"[^>]*font-weight="600"[^>]*>(\w+)<', made_from_code["order"])

    assert names == ["shop", "back", "stock", "restock", "front"]
    for state in ("starting", "running", "stopping"):
        assert made_from_code["order"].count(f'class="{state}"') == 5


def test_the_picture_of_the_lanes_names_two_ways_of_receiving(made_from_code: dict[str, str]) -> None:
    steps = re.findall(r'class="step".*?>([\w.]+)</text>', made_from_code["lanes"], re.DOTALL)

    assert steps[:2] == ["Acceptor.run", "Poll.run"]
    assert steps[4] == "SocketStream.receive_some"
    assert steps[7] == "StreamProtocol.data_received"


def test_the_command_line_is_documented_as_it_is(made_from_code: dict[str, str]) -> None:
    for status in Exit:
        assert f"| {status:d} | `{status.name}` | {status.meaning} |" in made_from_code["exits"]
    for row in COMMANDS:
        assert f"## trioservice {row.name}\n" in made_from_code["help"]


def test_every_setting_stands_in_the_table(made_from_code: dict[str, str]) -> None:
    for option in SETTINGS:
        assert f"| `{variable(option)}` | `{option.name}` |" in made_from_code["settings"]


def test_every_option_of_twistd_has_a_row(made_from_code: dict[str, str]) -> None:
    rows = re.findall(
        r"^\| `--([\w-]+)`(?:, `-(\w)`)? \| (the same)? ", made_from_code["twistd"], re.MULTILINE
    )

    assert len(rows) == 27
    assert {(name, letter) for name, letter, same in rows if not same} == set(TWISTD)


def test_a_type_is_told_as_it_is_read(made_from_code: dict[str, str]) -> None:
    assert (
        "| `60.0, type=seconds` | a number of seconds, such as 2.5, 30 or 5m | `60` |"
        in made_from_code["forms"]
    )


def test_the_listings_of_programs_do_nothing_when_imported() -> None:
    for file in (TUTORIAL / "thermometer.py", TUTORIAL / "outbox.py", HOWTO / "embedded.py"):
        runpy.run_path(str(file))
