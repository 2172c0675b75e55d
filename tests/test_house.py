"""The house keeps its own promises: what CONTRIBUTING asks of a change is asked here, of everything.

Each test names all offenders at once, and says what to do instead.
"""

from __future__ import annotations

import ast
import gc
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trioservice.cli import main

HOUSE = Path(__file__).parents[1]
SOURCES = sorted((HOUSE / "trioservice").rglob("*.py"))
EXAMPLES = sorted(path for path in (HOUSE / "examples").iterdir() if path.suffix in {".py", ".tac"})

# Rooms of the house, and the suffixes of what is written by hand in them.
ROOMS = ("trioservice", "tests", "examples", "benchmarks", "docs", "requirements", ".ci")
WRITTEN = {".py", ".tac", ".md", ".toml", ".txt", ".in", ".out", ".cfg", ".yml", ".sh", ""}
MADE = {"_build", "__pycache__"}

# Modules without a test file of their name, and why.
TESTED_ELSEWHERE = {
    "__main__.py": "three lines; tests/real starts it as a process",
    "net/events.py": "records without behaviour; the tests of the services hear each of them",
    "net/connecting.py": "one noun with net/clients.py; its tests reach every endpoint",
    "net/datagram_sockets.py": "one noun with net/datagrams.py, whose tests send by them",
    "net/http_exchange.py": "one noun with net/http.py; its tests ask for all that a handler has",
    "net/http_conversation.py": "one noun with net/http.py; its tests hold every conversation",
    "integrations/asgi_http.py": "one noun with integrations/asgi.py",
    "integrations/asgi_messages.py": "names for types, and an error without behaviour",
    "plugins/dns/codes.py": "a list of numbers; whoever uses one is tested",
    "plugins/dns/events.py": "records; the tests of the resolvers and of the server hear each of them",
    "plugins/portforward/events.py": "records; the tests of forwarding hear each of them",
    "cli/commands.py": "a table; the tests of each command read it",
    "integrations/reactor.py": "one noun with integrations/twisted.py, whose services run in it",
}

# What a file may import besides, where it is used: asyncio where it is a guest or a host, and what the user
# has installed by an extra of pyproject.toml.
EXTRAS = {
    "timers.py": {"cronsim"},
    "integrations/asyncio.py": {"asyncio", "trio_asyncio"},
    "integrations/guest.py": {"asyncio"},
    "integrations/twisted.py": {"twisted"},
    "plugins/dns/chains.py": {"dns"},
    "plugins/dns/zones.py": {"dns"},
}

# Files that are about what an extra brings, from their first line to their last; whoever imports one without
# it is told what to install.
ABOUT_EXTRAS = {
    "integrations/asgi_h2.py": {"hypercorn"},
    "integrations/asgi_websocket.py": {"wsproto"},
    "integrations/reactor.py": {"twisted", "zope"},
    "net/http_parsing.py": {"httptools"},
    "testing/machine.py": {"hypothesis"},
    "testing/plugin.py": {"pytest"},
    "testing/strategies.py": {"hypothesis"},
}

# The one file that may use private names of trio; its test tells when one is gone.
PRIVATE = HOUSE / "trioservice" / "testing" / "scheduling.py"

# Every shield keeps trio's cancellation from somebody, so each has a reason that can be disputed.
SHIELDS = {
    "programs.py _reap": "it was killed, and its status is wanted; bounded by seconds of its own",
    "integrations/asgi_lifespan.py _Lifespan.__init__": "an application puts away what it holds after all of "
    "its requests have ended, cancelled or not; from then on it has stop_timeout",
    "integrations/reactor.py TrioReactor._shut_down": "the last to leave; bounded by its patience",
    "integrations/reactor.py TrioReactor.in_use": "to stop takes a running reactor; ends with the block",
    "integrations/twisted.py TwistedService._stopped": "Twisted's cleanup; bounded by stop_timeout",
    "net/polls.py Poll.__init__": "who is cancelled may wait with last words; open_poll ends it after them",
    "run.py Tree._close": "what was bound is released even when cancelled; bounded by stop_timeout",
    "run.py Root._wait_for_news": "a cancellation that was heard once need not be heard again",
    "run.py Root._sheltered": "the one door to the tree: conductors are asked, never cancelled (L6)",
    "testing/faults.py _suffer_in_the_end": "a fault that was asked for, for seconds of its own",
    "testing/strategies.py Planned.run": "a cleanup that was planned, for seconds of its own",
    "service.py MultiService.start_service": "a child whose start was given up is gone first (L9)",
}


def none_of(complaints: list[str]) -> None:
    assert not complaints, "\n" + "\n".join(complaints)


def place(path: Path) -> str:
    return path.relative_to(HOUSE).as_posix()


def inside(path: Path) -> str:
    return path.relative_to(HOUSE / "trioservice").as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_of(path: Path) -> Any:
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return importlib.import_module(".".join(part for part in parts if part != "__init__"))


def all_that_is_written() -> Iterator[Path]:
    # Tools keep data in hidden files without a suffix (coverage does), which nobody wrote.
    yield from (
        path
        for path in HOUSE.iterdir()
        if path.is_file() and path.suffix in WRITTEN and not path.name.startswith(".")
    )
    for room in ROOMS:
        for path in (HOUSE / room).rglob("*"):
            if path.is_file() and path.suffix in WRITTEN and not MADE & set(path.parts):
                yield path


def lines_with(pattern: str) -> Iterator[tuple[str, str]]:
    """Where a pattern stands in what is written, and the words that match it."""
    for path in all_that_is_written():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for found in re.finditer(pattern, line):
                yield f"{place(path)}:{number}", found.group()


# ---- names and words -------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name != "__main__.py"], ids=place)
def test_every_public_name_exists_and_is_explained(path: Path) -> None:
    module = module_of(path)
    complaints = []
    for name in getattr(module, "__all__", ()):
        if not hasattr(module, name):
            complaints.append(
                f"{module.__name__}.__all__ offers {name!r}, which does not exist: define it or drop it"
            )
            continue
        value = getattr(module, name)
        if (inspect.isclass(value) or inspect.isfunction(value)) and not _has_own_doc(value):
            complaints.append(f"{module.__name__}.{name} has no docstring: say in a line what it is for")
    none_of(complaints)


def _has_own_doc(value: Any) -> bool:
    # A dataclass without a docstring is given its signature for one, and a subclass its base's.
    doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    return bool(doc) and not doc.startswith(f"{value.__name__}(")


def test_the_door_sorts_what_it_offers() -> None:
    names = importlib.import_module("trioservice").__all__
    assert len(set(names)) == len(names), "trioservice.__all__ names something twice: keep one of them"


def test_every_module_opens_by_teaching() -> None:
    none_of(
        [
            f"{place(path)} opens without a docstring: tell in a few lines what it is and why it is so"
            for path in [*SOURCES, *sorted((HOUSE / "benchmarks").glob("*.py"))]
            if not ast.get_docstring(parsed(path))
        ]
    )


def test_every_module_has_a_test_file_of_its_name() -> None:
    complaints = []
    for path in SOURCES:
        inside = path.relative_to(HOUSE / "trioservice")
        twin = HOUSE / "tests" / inside.with_name(f"test_{inside.name}")
        if path.name == "__init__.py" or inside.as_posix() in TESTED_ELSEWHERE or twin.exists():
            continue
        complaints.append(f"trioservice/{inside} has no tests of its name: put them into {place(twin)}")
    complaints += [
        f"TESTED_ELSEWHERE excuses {name}, which needs no excuse: remove the line"
        for name in TESTED_ELSEWHERE
        if not (HOUSE / "trioservice" / name).exists()
    ]
    none_of(complaints)


def test_nothing_is_put_off() -> None:
    none_of(
        [
            f"{where} says {word}: do it now, or open an issue and leave the word out"
            for where, word in lines_with(r"\b([T]ODO|[F]IXME|[X]XX)\b")  # this line is not one of them
        ]
    )


def test_no_paths_of_somebodys_machine() -> None:
    none_of(
        [
            f"{where} has {path!r}, a path of one machine: use a relative one, or /home/you"
            for where, path in lines_with(r"(?<![\w.~/-])/(?:home|Users|root|work|mnt)/(?!you\b)[\w.]+")
        ]
    )


# ---- what is imported ------------------------------------------------------------------------


def imports_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every absolute import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def extras_of(path: Path) -> set[str]:
    """What besides trio and the standard library a file may import."""
    return EXTRAS.get(inside(path), set()) | ABOUT_EXTRAS.get(inside(path), set())


def test_trio_is_all_that_we_depend_on() -> None:
    allowed = (sys.stdlib_module_names | {"trio"}) - {"asyncio"}
    none_of(
        [
            f"{place(path)}:{line} imports {name}: use trio or the standard library, asyncio apart"
            for path in SOURCES
            for line, name in imports_of(parsed(path))
            if name.partition(".")[0] not in allowed | extras_of(path)
        ]
    )


def test_an_extra_is_imported_where_it_is_used_and_nowhere_else() -> None:
    none_of(
        [
            f"{place(path)} imports {ast.unparse(node)} at its top: do it in the function that needs it"
            for path in SOURCES
            if inside(path) in EXTRAS
            for node in parsed(path).body
            for _, name in imports_of(ast.Module([node], []))
            if isinstance(node, ast.Import | ast.ImportFrom)
            and name.partition(".")[0] in EXTRAS[inside(path)]
        ]
    )


def test_only_public_names_of_trio_are_used() -> None:
    complaints = []
    for path in SOURCES:
        tree = parsed(path)
        used = [*imports_of(tree), *_attributes_of_trio(tree)]
        complaints += [
            f"{place(path)}:{line} uses {name}, private to trio: use what trio documents, or do without"
            for line, name in used
            if name.startswith("trio.") and any(map(_is_private, name.split(".")))
            if path != PRIVATE
        ]
    none_of(complaints)


def _attributes_of_trio(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (name := ast.unparse(node)).startswith("trio."):
            yield node.lineno, name


def _is_private(part: str) -> bool:
    return part.startswith("_") and not part.startswith("__")


# What Windows lacks, so that the foreground works there by construction; macOS has all of these.
POSIX = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}


def test_what_only_posix_has_is_imported_where_it_is_used() -> None:
    none_of(
        [
            f"{place(path)}:{node.lineno} imports {ast.unparse(node)}: Windows has no such module, "
            "import it in the function that needs it"
            for path in SOURCES
            for node in parsed(path).body
            if isinstance(node, ast.Import | ast.ImportFrom)
            and {name.partition(".")[0] for _, name in imports_of(ast.Module([node], []))} & POSIX
        ]
    )


def test_importing_trioservice_is_quiet() -> None:
    script = """if True:
        import logging, signal, sys, threading
        import trio
        hooks = sys.excepthook, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        from trioservice import *
        assert hooks == (sys.excepthook, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
        assert not logging.getLogger("trioservice").handlers and not logging.getLogger().handlers
        assert threading.active_count() == 1
    """
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, (
        f"importing trioservice installs something, use main for that (L20): {result.stderr}"
    )


# ---- what is not imported --------------------------------------------------------------------

# Nothing of this belongs into a process that serves, whatever it serves.
NEVER = {"asyncio", "cronsim", "hypothesis", "pytest", "pytest_trio", "trio.testing", "twisted", "unittest"}


def imported_by(script: str) -> set[str]:
    """The modules that a fresh interpreter has once *script* is through, and that trio does not need."""
    script = f"import sys, trio; before = {{*sys.modules}}; {script}; print(*{{*sys.modules}} - before)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=HOUSE
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_the_door_opens_no_room_by_itself() -> None:
    imported = imported_by("import trioservice")
    needless = imported - {"trioservice", "trioservice.rooms"}
    assert not needless, f"`import trioservice` imports {needless}: add it to _ROOMS instead"


def test_everything_at_once_imports_nothing_that_does_not_belong_there() -> None:
    imported = imported_by("from trioservice import *") & NEVER
    assert not imported, f"the rooms import {imported}: import it where it is used"


def test_an_application_imports_only_what_it_uses() -> None:
    serve = """
        import trioservice.cli, trioservice.process.runner
        from trioservice.config.targets import load
        application = load("examples/01_echo.tac")

        async def serve():
            async with trio.open_nursery() as nursery:
                await nursery.start(application.main)
                (host, port), = application.get_service_named("echoService").addresses
                async with await trio.open_tcp_stream(host, port) as stream:
                    await stream.send_all(b"hello")
                    assert await stream.receive_some() == b"hello"
                await application.stop()
    """
    with_port_0 = 'application.get_service_named("echoService").endpoint'
    script = textwrap.dedent(serve) + textwrap.dedent(
        f"""
        from dataclasses import replace
        {with_port_0} = replace({with_port_0}, port=0)
        trio.run(serve)
        """
    )
    imported = imported_by(f"exec({script!r})")
    unused = {"clients", "connecting", "datagrams", "datagram_sockets", "multicast"}
    assert "trioservice.net.servers" in imported
    needless = imported & (NEVER | {f"trioservice.net.{room}" for room in unused} | {"trioservice.timers"})
    assert not needless, f"an echo server imports {needless}: import it where it is used"


@pytest.mark.parametrize("before", [True, False])
def test_the_command_leaves_the_garbage_collector_as_it_found_it(
    before: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    was = gc.isenabled()
    (gc.enable if before else gc.disable)()
    try:
        assert main(["plan", str(HOUSE / "examples" / "01_echo.tac")]) == 0
        assert gc.isenabled() is before
    finally:
        (gc.enable if was else gc.disable)()
    assert "echoService" in capsys.readouterr().out


@pytest.mark.parametrize(
    "package",
    [
        "trioservice",
        "trioservice.testing",
        *(f"trioservice.plugins.{one}" for one in ("dns", "portforward", "web")),
    ],
)
def test_a_door_leads_the_same_way_for_programs_and_for_readers(package: str) -> None:
    door = importlib.import_module(package)
    for_programs = {(room, name) for room, names in door._ROOMS.items() for name in names}
    for_readers = {
        (node.module, alias.name)
        for node in ast.walk(parsed(Path(door.__file__ or "")))
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module != "rooms"
        for alias in node.names
    }
    assert for_programs == for_readers, "_ROOMS and the imports under TYPE_CHECKING differ: make them agree"
    assert sorted(door.__all__) == sorted(name for _, name in for_programs), (
        "_ROOMS and __all__ differ: make them agree"
    )
    for name in door.__all__:
        assert getattr(door, name).__name__ == name


def test_the_door_knows_what_it_does_not_have() -> None:
    door = importlib.import_module("trioservice")
    assert set(door.__all__) < set(dir(door))
    with pytest.raises(AttributeError, match="module 'trioservice' has no attribute 'TCPSever'"):
        door.TCPSever  # noqa: B018


# ---- shields ---------------------------------------------------------------------------------


def shields_in(path: Path) -> Iterator[str]:
    """Module and function of every ``shield=`` that is not False."""

    def look(node: ast.AST, inside: tuple[str, ...]) -> Iterator[str]:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inside = (*inside, node.name)
        if _shields(node):
            yield f"{path.relative_to(HOUSE / 'trioservice').as_posix()} {'.'.join(inside)}"
        for child in ast.iter_child_nodes(node):
            yield from look(child, inside)

    yield from look(parsed(path), ())


def _shields(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg == "shield" and ast.unparse(node.value) != "False"
    return isinstance(node, ast.Attribute) and node.attr == "shield" and isinstance(node.ctx, ast.Store)


def test_every_shield_has_its_reason() -> None:
    found = [shield for path in SOURCES for shield in shields_in(path)]
    none_of(
        [
            f"trioservice/{shield} has a shield nobody agreed to: do without, or give its reason in SHIELDS"
            for shield in found
            if shield not in SHIELDS
        ]
        + [
            f"SHIELDS allows {shield}, where there is none: remove the line"
            for shield in SHIELDS
            if shield not in found
        ]
        + [
            f"trioservice/{shield} has two shields: give one of them a function of its own"
            for shield in set(found)
            if found.count(shield) > 1
        ]
    )


# ---- examples --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=place)
def test_an_example_is_numbered_and_says_how_to_run_it(path: Path) -> None:
    assert re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem), (
        f"{path.name} has no number: use a name like 03_timer.tac"
    )
    doc = ast.get_docstring(parsed(path)) or ""
    command = f"trioservice run {place(path)}" if path.suffix == ".tac" else f"python {place(path)}"
    assert command in doc, f"{path.name} does not say how to run it: write `{command}` into its docstring"


def test_examples_are_numbered_without_gaps() -> None:
    numbers = [path.name[:2] for path in EXAMPLES]
    wanted = [f"{number:02}" for number in range(1, len(EXAMPLES) + 1)]
    assert numbers == wanted, f"the examples are numbered {numbers}: use {wanted}"
