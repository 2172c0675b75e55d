"""A target names an application: a file, or an attribute of a module."""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trioservice import Application, MultiService, Service
from trioservice.config.mistakes import Fault
from trioservice.config.targets import TargetError, load

Write = Callable[..., Path]

APP = "from trioservice import Application, Service\n"


@pytest.fixture(autouse=True)
def _import_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What a target does to the import system is undone, and the folder of the test is the present one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = dict(sys.modules)
    for name in ("app", "beside", "other", "shop", "shop.web"):
        sys.modules.pop(name, None)  # other tests have files of these names as well
    importlib.invalidate_caches()
    yield
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file below the present folder."""

    def write(name: str, *lines: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        importlib.invalidate_caches()  # which notice a change only some milliseconds later
        return path

    return write


def refused(target: str | Path, fault: Fault) -> TargetError:
    """The error of a target that is none; its message and its hint are one line each."""
    with pytest.raises(TargetError) as raised:
        load(str(target))
    error = raised.value
    assert error.fault is fault
    assert "\n" not in str(error)
    assert "\n" not in error.hint
    assert error.hint
    assert "trioservice/" not in error.details, "frames of ours are of no use to anybody"
    assert "importlib" not in error.details
    return error


# ---- files that are applications


@pytest.mark.parametrize("name", ["app.tac", "app.py", "01_app.tac", "my-app.tac", "my.app.tac", "app"])
def test_a_file_whose_top_level_assigns_application_is_one(write: Write, name: str) -> None:
    """Any file will do, whatever it is called."""
    path = write(name, APP, "application = Application('shop')")
    for target in (path, name, f"./{name}"):
        assert load(str(target)).name == "shop"


def test_a_path_with_a_colon_is_a_path(write: Write) -> None:
    """Where a file of that name exists, or it ends like one, a colon does not make it a module."""
    write("a:b.tac", APP, "application = Application('one')")
    write("c:d", APP, "application = Application('two')")
    write("e:f/app", APP, "application = Application('three')")
    assert load("a:b.tac").name == "one"
    assert load("c:d").name == "two"
    assert load("e:f/app").name == "three"
    assert str(refused("x:y.tac", Fault.MISSING)) == "no such file: x:y.tac"


def test_a_file_may_assign_a_service_or_a_function_that_returns_one(write: Write) -> None:
    """What is no Application is put below one that is named after the file."""
    service = load(str(write("one.tac", APP, "application = Service(name='web')")))
    assert isinstance(service, Application)
    assert [service.name, *(child.name for child in service)] == ["one", "web"]
    function = load(str(write("two.tac", APP, "def application():", "    return Application('made')")))
    assert function.name == "made"
    kind = load(str(write("three.tac", APP, "class Web(Service): pass", "application = Web")))
    assert [kind.name, *(child.name for child in kind)] == ["three", "Web"]


def test_the_file_is_a_real_module(write: Write) -> None:
    """It has a name and a file, stands among the modules, and its source can be looked up."""
    path = write(
        "shop.tac", "'''A shop.'''", APP, "class Web(Service): pass", "application = Application('a', Web())"
    )
    (web,) = load("shop.tac")
    module = sys.modules[type(web).__module__]
    assert (module.__name__, module.__file__, module.__doc__) == ("shop", str(path), "A shop.")
    assert inspect.getsource(type(web)).strip() == "class Web(Service): pass"


def test_its_classes_can_be_pickled(write: Write) -> None:
    """Objects made of the file's classes can be stored and sent to worker processes."""
    write(
        "shop.tac",
        APP,
        "class Order:",
        "    def __init__(self, number): self.number = number",
        "application = Application('shop')",
        "application.order = Order(7)",
    )
    order = load("shop.tac").order  # type: ignore[attr-defined]
    again = pickle.loads(pickle.dumps(order))
    assert type(again) is type(order)
    assert again.number == 7


def test_its_dataclasses_may_have_annotations_that_are_strings(write: Write) -> None:
    """Dataclasses look their module up by its name, and find it."""
    write(
        "shop.tac",
        "from __future__ import annotations",
        "from dataclasses import KW_ONLY, dataclass, fields",
        "from typing import ClassVar, get_type_hints",
        APP,
        "@dataclass",
        "class Order:",
        "    total: ClassVar[int] = 0",
        "    number: int",
        "    _: KW_ONLY",
        "    next: Order | None = None",
        "assert [field.name for field in fields(Order)] == ['number', 'next']",
        "assert get_type_hints(Order)['next'] == Order | None",
        "application = Application('shop')",
    )
    assert load("shop.tac").name == "shop"


def test_its_tracebacks_show_its_lines(write: Write) -> None:
    """A traceback that goes through the file shows path, line and source."""
    path = write(
        "shop.tac", APP, "def fail():", "    raise ValueError('here')", "application = Application('a')"
    )
    load("shop.tac")
    try:
        sys.modules["shop"].fail()
    except ValueError:
        shown = traceback.format_exc()
    assert f'File "{path}", line 4, in fail' in shown
    assert "raise ValueError('here')" in shown


def test_its_own_folder_is_importable(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that stand beside the file can be imported, wherever the command is given."""
    write("place/beside.py", "name = 'shop'")
    path = write("place/app.tac", APP, "import beside", "application = Application(beside.name)")
    monkeypatch.chdir("/")
    assert load(str(path)).name == "shop"


def test_a_file_beside_a_package_of_its_name_can_import_that(write: Write) -> None:
    """`shop.tac` beside `shop/`, as most projects have it, does not stand in the package's way."""
    write("shop/__init__.py", "")
    write("shop/web.py", "name = 'shop'")
    write("shop.tac", "from shop.web import name", APP, "application = Application(name)")
    assert load("shop.tac").name == "shop"
    assert sys.modules["shop"].__file__ == str(Path("shop/__init__.py").resolve())


@pytest.mark.parametrize(
    "name", ["logging.tac", "json.py", "email.tac", "trio.tac", "trioservice.tac", "wave.tac"]
)
def test_a_file_that_is_named_like_a_module_does_not_hide_it(write: Write, name: str) -> None:
    """Whoever calls a file logging.tac still gets Python's logging."""
    stem = name.partition(".")[0]
    write(
        name,
        APP,
        "import logging, json, email.message, trio, trioservice",
        "class Web(Service): pass",
        "logging.getLogger('x'), json.dumps({}), email.message.Message, trio.run, trioservice.Application",
        "application = Application('mine', Web())",
    )
    (web,) = load(name)
    assert importlib.import_module(stem).__file__ != str(Path(name).resolve())
    assert type(web).__module__ == name.replace(".", "_")
    assert pickle.loads(pickle.dumps(type(web))) is type(web)


def test_two_files_of_one_name_are_two_modules(write: Write) -> None:
    """The second does not take the first one's place, so the first one's objects can still be pickled."""
    for place in ("one", "two"):
        write(
            f"{place}/app.tac",
            APP,
            "class Web(Service): pass",
            f"application = Application('{place}', Web())",
        )
    (one,), (two,) = load("one/app.tac"), load("two/app.tac")
    assert type(one).__module__ != type(two).__module__
    for kind in (type(one), type(two)):
        assert pickle.loads(pickle.dumps(kind)) is kind


def test_loaded_again_a_file_is_read_again(write: Write) -> None:
    """A changed file is seen, even within the same second and of the same size."""
    write("app.tac", APP, "application = Application('a')")
    assert load("app.tac").name == "a"
    write("app.tac", APP, "application = Application('b')")
    assert load("app.tac").name == "b"


@pytest.mark.parametrize("name", ["app.tac", "app.py", "app"])
def test_no_cache_is_written_beside_the_file(
    write: Write, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A folder of applications stays as clean as it was."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    write(name, APP, "application = Application('a')")
    load(name)
    assert [path.name for path in Path().iterdir()] == [name]


# ---- files that are none


def test_no_such_file_is_told_with_the_one_that_was_likely_meant(write: Write) -> None:
    """The suffix may have been forgotten, or be another."""
    write("shop.tac", "")
    write("job.py", "")
    for target, meant in (("shop", "shop.tac"), ("shop.py", "shop.tac"), ("job.tac", "job.py")):
        error = refused(target, Fault.MISSING)
        assert str(error) == f"no such file: {target}"
        assert error.hint == f"did you mean {meant}?"
    assert refused("other.tac", Fault.MISSING).hint == "give a .tac or .py file, or package.module:attribute"


def test_a_module_without_an_attribute_is_told_how_to_name_one() -> None:
    """`shop.web` looks like a module, so the hint shows what such a target looks like."""
    error = refused("shop.web", Fault.MISSING)
    assert error.hint == "if it is a module, name the attribute too: shop.web:application"


@pytest.mark.parametrize("target", [".", "..", "", "/", "/dev/null", "folder", "folder/"])
def test_what_is_no_file_is_told_as_that(tmp_path: Path, target: str) -> None:
    """A folder or a device cannot be an application."""
    (tmp_path / "folder").mkdir()
    assert str(refused(target, Fault.MISSING)).startswith("not a file: ")


@pytest.mark.parametrize("target", ["x" * 300, "x" * 300 + ".tac", "x" * 300 + "/app", "nul\0.tac", "nul\0"])
def test_what_cannot_even_be_a_path_is_no_such_file(target: str) -> None:
    """Nonsense is told like anything else that is not there."""
    assert str(refused(target, Fault.MISSING)).startswith("no such file: ")


def test_a_file_that_may_not_be_read_is_told_with_the_systems_reason(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the application needs the right to read it, and is told so."""

    def forbidden(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    write("app.tac", APP)
    monkeypatch.setattr(Path, "read_bytes", forbidden)
    error = refused("app.tac", Fault.MISSING)
    assert str(error) == "cannot read app.tac: Permission denied"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x = = 1", "invalid syntax"),
        ("def f(:", "invalid syntax"),
        ("    x = 1", "unexpected indent"),
        ("return 1", "'return' outside function"),
        ("f = '", "unterminated string literal"),
    ],
)
def test_a_syntax_error_is_told_with_its_line(write: Write, line: str, message: str) -> None:
    """The file, the line number, what is wrong, and the line itself as the hint."""
    path = write("app.tac", APP, line)
    error = refused("app.tac", Fault.INVALID)
    assert str(error).startswith(f"{path}, line 3: {message}")
    assert error.hint == line.strip()
    assert error.details == ""
    assert "app" not in sys.modules


def test_a_syntax_error_in_a_module_that_the_file_imports_is_told_with_that_modules_line(
    write: Write,
) -> None:
    """The mistake is named where it is."""
    path = write("beside.py", "x = 1", "y = = 2")
    write("app.tac", APP, "import beside")
    assert str(refused("app.tac", Fault.INVALID)).startswith(f"{path}, line 2: invalid syntax")
    assert str(refused("beside:x", Fault.INVALID)).startswith(f"{path}, line 2: invalid syntax")


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\0\1", b"a\0b", b"x = '\xff'\n", b"# coding: klingon\nx = 1\n"]
)
def test_a_file_that_is_no_text_is_told_as_such(tmp_path: Path, content: bytes) -> None:
    """A picture, or a file in another encoding, gives one line and a hint as well."""
    (tmp_path / "app.tac").write_bytes(content)
    error = refused("app.tac", Fault.INVALID)
    assert "app.tac" in str(error)
    assert "None" not in str(error)


def test_a_syntax_error_in_a_string_that_the_file_evaluates_is_an_exception_of_the_files(
    write: Write,
) -> None:
    """The line to be mended is the one that calls `eval`, so that is shown."""
    path = write("app.tac", APP, "eval('1 +')")
    error = refused("app.tac", Fault.RAISED)
    assert f'File "{path}", line 3' in error.details
    assert "eval('1 +')" in error.details
    write("app.tac", APP, "raise SyntaxError('of my own language')")
    assert str(refused("app.tac", Fault.RAISED)) == "SyntaxError while loading app.tac: of my own language"


def test_an_exception_while_loading_is_told_with_the_users_own_traceback(write: Write) -> None:
    """From the user's first line to the user's last, and no frame of ours or of importlib's."""
    beside = write("beside.py", "def work():", "    raise ValueError('one', 2)")
    path = write("app.tac", APP, "import beside", "beside.work()")
    error = refused("app.tac", Fault.RAISED)
    assert str(error) == "ValueError while loading app.tac: ('one', 2)"
    assert error.details == (
        "Traceback (most recent call last):\n"
        f'  File "{path}", line 4, in <module>\n'
        "    beside.work()\n"
        f'  File "{beside}", line 2, in work\n'
        "    raise ValueError('one', 2)\n"
        "ValueError: ('one', 2)\n"
    )
    assert "app" not in sys.modules


def test_an_exception_with_a_cause_shows_that_too(write: Write) -> None:
    """What led to the error is part of the user's own story."""
    write("beside.py", "int('x')")
    write(
        "app.tac",
        APP,
        "try:",
        "    import beside",
        "except ValueError as e:",
        "    raise LookupError('no') from e",
    )
    error = refused("app.tac", Fault.RAISED)
    assert error.details.index("ValueError: invalid literal") < error.details.index("LookupError: no")
    assert "direct cause" in error.details


def test_an_error_of_many_lines_is_one_line_and_the_rest_is_in_the_traceback(write: Write) -> None:
    """The message of a failed load stays one line, and nothing is lost."""
    write("app.tac", APP, "raise ValueError('first\\nsecond')")
    error = refused("app.tac", Fault.RAISED)
    assert str(error) == "ValueError while loading app.tac: first ..."
    assert "ValueError: first\nsecond\n" in error.details


def test_a_mistake_in_what_is_said_to_us_points_at_the_users_line(write: Write) -> None:
    """An error that we raise (a port out of range) is told with the line that caused it."""
    path = write("app.tac", "from trioservice import TCPServer", "TCPServer(70000, print)")
    error = refused("app.tac", Fault.RAISED)
    assert str(error) == "ValueError while loading app.tac: port is a number from 0 to 65535, not 70000"
    assert f'File "{path}", line 2, in <module>' in error.details


def test_a_module_that_is_missing_for_the_file_is_an_exception_of_the_files(write: Write) -> None:
    """A dependency that is not installed is told with the line that wants it."""
    write("app.tac", APP, "import nowhere_to_be_found")
    error = refused("app.tac", Fault.RAISED)
    assert "No module named 'nowhere_to_be_found'" in str(error)
    assert "import nowhere_to_be_found" in error.details


@pytest.mark.parametrize("argument", ["", "0", "3", "'set DB_URL first'"])
def test_a_file_that_calls_sys_exit_while_loading_has_not_run(write: Write, argument: str) -> None:
    """It must not look like an application that has come to its end."""
    write("app.tac", APP, "import sys", f"sys.exit({argument})")
    error = refused("app.tac", Fault.RAISED)
    assert str(error).startswith("SystemExit while loading app.tac")
    assert argument.strip("'") in str(error)
    assert f"sys.exit({argument})" in error.details
    assert "app" not in sys.modules


def test_ctrl_c_while_loading_is_not_the_files_mistake(write: Write) -> None:
    """The wish to end comes out as it is."""
    write("app.tac", APP, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):  # L17
        load("app.tac")
    assert "app" not in sys.modules


def test_no_application_in_the_file_is_told_with_what_it_has(write: Write) -> None:
    """A service under another name is likely the one that was meant."""
    write("empty.tac", "x = 1")
    error = refused("empty.tac", Fault.INVALID)
    assert str(error) == "no `application` in empty.tac"
    assert error.hint == "assign one at its top level: application = Application('name', ...)"
    write("other.py", APP, "app = Application('shop')")
    error = refused("other.py", Fault.INVALID)
    assert error.hint == "it has 'app'; call that `application`, or run other:app"
    assert load("other:app").name == "shop", "the hint is right"


@pytest.mark.parametrize(
    ("value", "kind"), [("None", "NoneType"), ("7", "int"), ("'app'", "str"), ("[Service()]", "list")]
)
def test_an_application_of_a_wrong_type_is_told_with_the_type_it_has(
    write: Write, value: str, kind: str
) -> None:
    """What came and what was wanted."""
    write("app.tac", APP, f"application = {value}")
    error = refused("app.tac", Fault.INVALID)
    assert str(error).startswith(f"`application` in app.tac is no service but {kind}: ")
    assert "Application, a Service, or a function" in error.hint


def test_an_async_factory_is_told_as_one_without_a_warning(write: Write) -> None:
    """Nothing runs yet that could await it, and Python's own complaint would only confuse."""
    write("app.tac", APP, "async def application():", "    return Application('shop')")
    error = refused("app.tac", Fault.INVALID)
    assert str(error).startswith("what `application` in app.tac returned is no service but coroutine")
    assert "not an async one" in error.hint


def test_a_factory_that_raises_or_wants_arguments_is_told_with_its_own_frames_at_most(write: Write) -> None:
    """The call was ours, so there may be no frame to show."""
    write("app.tac", APP, "def application():", "    raise ValueError('no')")
    error = refused("app.tac", Fault.RAISED)
    assert str(error) == "ValueError while calling app: no"
    assert "raise ValueError('no')" in error.details
    write("app.tac", APP, "def application(name):", "    return Application(name)")
    error = refused("app.tac", Fault.RAISED)
    assert "missing 1 required positional argument: 'name'" in str(error)
    assert error.details == ""


def test_the_class_in_place_of_an_application_is_named_as_the_slip_it_is(write: Write) -> None:
    """And a file with an attribute behind it, which only modules take."""
    write("app.tac", "from trioservice import Application as application")
    error = refused("app.tac", Fault.INVALID)
    assert "is the class Application" in str(error)
    assert "make one" in error.hint
    assert "a file takes no attribute" in refused("app.tac:application", Fault.MISSING).hint


def test_a_service_that_is_part_of_another_tree_is_told_with_that_tree(write: Write) -> None:
    """Only the topmost service of a tree can be run."""
    write("app.tac", APP, "application = Service(name='web')", "whole = Application('shop', application)")
    error = refused("app.tac", Fault.INVALID)
    assert str(error) == "`application` in app.tac is a part of 'shop'"
    assert "name the topmost service" in error.hint


# ---- attributes of modules


def test_an_attribute_of_a_module_in_the_present_folder_is_an_application(write: Write) -> None:
    """`package.module:attr`, and attributes of attributes, and functions."""
    write("shop/__init__.py", "")
    write(
        "shop/web.py",
        APP,
        "class Settings: app = Application('dotted')",
        "def make(): return Application('made')",
        "app = Application('plain')",
        "part = Service(name='part')",
    )
    assert load("shop.web:app").name == "plain"
    assert load("shop.web:Settings.app").name == "dotted"
    assert load("shop.web:make").name == "made"
    wrapped = load("shop.web:part")
    assert [wrapped.name, *(child.name for child in wrapped)] == ["part", "part"]


def test_a_branch_is_put_below_an_application_as_it_is(write: Write) -> None:
    """A MultiService is a service like any other."""
    write("shop.py", "from trioservice import *", "back = MultiService(Service(name='db'), name='back')")
    application = load("shop:back")
    (back,) = application
    assert isinstance(back, MultiService)
    assert isinstance(back["db"], Service)
    assert back.path == "back/back"


@pytest.mark.parametrize("target", ["shop:", ":app", ":", ".shop:app", "shop..web:app", "..:x"])
def test_what_is_neither_file_nor_module_and_attribute_is_told_what_a_target_is(target: str) -> None:
    """Half a target is shown what a whole one looks like."""
    error = refused(target, Fault.MISSING)
    assert str(error) == f"not a target: {target}"
    assert error.hint == "a target is a .tac or .py file, or package.module:attribute"


def test_a_module_that_does_not_exist_is_told_by_its_name(write: Write) -> None:
    """Also if only a part of the dotted name is missing."""
    write("shop/__init__.py", "")
    assert str(refused("nowhere_at_all:app", Fault.MISSING)) == "no module named 'nowhere_at_all'"
    error = refused("shop.web:app", Fault.MISSING)
    assert str(error) == "no module named 'shop.web'"
    assert sys.prefix in error.hint


def test_a_module_that_fails_to_import_another_is_not_itself_missing(write: Write) -> None:
    """The missing one is named, with the line that wants it."""
    write("shop.py", "import nowhere_at_all")
    error = refused("shop:app", Fault.RAISED)
    assert str(error) == "ModuleNotFoundError while importing shop: No module named 'nowhere_at_all'"
    assert "import nowhere_at_all" in error.details


def test_an_attribute_that_does_not_exist_is_told_with_the_services_there_are(write: Write) -> None:
    """A hint lists the names that would work."""
    write("shop.py", APP, "app = Application('a')", "other = Application('b')", "number = 5")
    error = refused("shop:application", Fault.MISSING)
    assert str(error) == "'shop' has no attribute 'application'"
    assert error.hint == "its services are: app, other"
    assert refused("shop:number.x", Fault.MISSING).hint == "there is no service in it"


def test_an_attribute_whose_look_up_fails_is_told_with_the_users_own_traceback(write: Write) -> None:
    """A property or a module's `__getattr__` is the user's code, too."""
    write("shop.py", "def __getattr__(name):", "    raise ValueError('no ' + name)")
    error = refused("shop:app", Fault.RAISED)
    assert "ValueError" in str(error)
    assert "no app" in str(error)
    assert "raise ValueError('no ' + name)" in error.details


def test_the_present_folder_comes_first_whatever_it_is(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module target means what `python -m` would find from here."""
    write("here/shop_of_this_place.py", APP, "app = Application('here')")
    monkeypatch.chdir("here")
    assert load("shop_of_this_place:app").name == "here"
    assert os.getcwd() not in sys.path, "it is the present folder, even if that changes"
