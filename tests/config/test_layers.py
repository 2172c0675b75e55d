"""Command line, environment, file, default: the first that says anything decides."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from trioservice.config.layers import DEFAULT, Given, Layers, Sourced, variable
from trioservice.config.mistakes import Fault, Mistake
from trioservice.config.options import SETTINGS, Option, option

BY_NAME = {one.name: one for one in SETTINGS}
LEVEL, UMASK, PIDFILE, DAEMON = (BY_NAME[name] for name in ("log-level", "umask", "pidfile", "daemon"))


def layers(file: str = "", environ: dict[str, str] | None = None, **typed: list[str] | str) -> Layers:
    """What a file, the environment and a command line say."""
    given = {
        name.replace("_", "-"): [
            Given(f"--{name}", text) for text in ([texts] if isinstance(texts, str) else texts)
        ]
        for name, texts in typed.items()
    }
    if file:
        Path("shop.toml").write_text(file)
        given["config"] = [Given("--config", "shop.toml")]
    return Layers(given, environ or {}, lambda: {"web"})


@pytest.fixture(autouse=True)
def _somewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def refused(what: Any, *args: Any) -> Mistake:
    with pytest.raises(Mistake) as mistake:
        what(*args)
    return mistake.value


@pytest.mark.parametrize("said", list(itertools.product([False, True], repeat=3)))
def test_the_command_line_comes_before_the_environment_and_that_before_the_file(
    said: tuple[bool, ...],
) -> None:
    """All eight combinations of who says something."""
    typed, exported, written = said
    found = layers(
        'umask = "003"' if written else "",
        {"TRIOSERVICE_UMASK": "002"} if exported else {},
        **({"umask": "001"} if typed else {}),
    ).look_up(UMASK)
    expected = [
        (typed, Sourced(0o1, "--umask")),
        (exported, Sourced(0o2, "TRIOSERVICE_UMASK")),
        (written, Sourced(0o3, "shop.toml")),
        (True, Sourced(None, DEFAULT)),
    ]
    assert found == next(value for speaks, value in expected if speaks)


def test_the_last_of_two_counts_and_several_are_gathered() -> None:
    """An alias of a shell can be overruled, and levels add up."""
    assert layers(umask=["001", "002"]).look_up(UMASK).value == 2
    assert layers(log_level=["info", "a=debug,b=error"]).look_up(LEVEL).value == (
        (None, 20),
        ("a", 10),
        ("b", 40),
    )
    assert layers(environ={"TRIOSERVICE_LOG_LEVEL": "a=debug, error"}).look_up(LEVEL).value == (
        ("a", 10),
        (None, 40),
    )


def test_one_layer_decides_all_of_an_option() -> None:
    """Nothing is merged."""
    both = layers('log-level = ["a=debug", "error"]', log_level="info")
    assert both.look_up(LEVEL).value == ((None, 20),)


def test_a_variable_that_is_empty_says_nothing() -> None:
    """As it is usual: `TRIOSERVICE_PIDFILE= trioservice run ...`."""
    assert layers(environ={"TRIOSERVICE_PIDFILE": ""}).look_up(PIDFILE) == Sourced(None, DEFAULT)


def test_an_empty_text_takes_back_what_another_layer_set() -> None:
    """As twistd's --pidfile '' does."""
    assert layers('pidfile = "x"', pidfile="").look_up(PIDFILE) == Sourced(None, "--pidfile")


def test_the_file_may_be_named_by_the_environment() -> None:
    """And the command line overrules that, too."""
    Path("one.toml").write_text("daemon = true")
    Path("two.toml").write_text("daemon = false")
    environ = {"TRIOSERVICE_CONFIG": "one.toml"}
    assert Layers({}, environ).look_up(DAEMON) == Sourced(True, "one.toml")
    both = Layers({"config": [Given("--config", "two.toml")]}, environ)
    assert both.look_up(DAEMON) == Sourced(False, "two.toml")


@pytest.mark.parametrize(
    ("file", "said", "hint"),
    [
        ("umaks = 1", "shop.toml: there is no setting 'umaks'", "did you mean umask?"),
        ("log_level = 'info'", "there is no setting 'log_level'", "did you mean log-level?"),
        ("nodaemon = true", "there is no setting 'nodaemon'", "did you mean daemon?"),
        ("quux = 1", "there is no setting 'quux'", "`trioservice config` lists all that there are"),
        ("umask = ", "shop.toml: Invalid value (at end of document)", ""),
        ("set = 1", "shop.toml: 'set' is a table, not 1", "write its settings below a line [set]"),
    ],
)
def test_a_mistake_in_the_file_names_the_file_and_the_key(file: str, said: str, hint: str) -> None:
    """And what was probably meant."""
    mistake = refused(lambda: layers(file).refuse_strangers("set", [], ""))
    assert said in str(mistake)
    assert mistake.fault is Fault.SETTINGS
    assert hint in mistake.hint
    assert mistake.hint


@pytest.mark.parametrize(
    ("file", "environ", "typed", "said", "fault"),
    [
        ("umask = 22", {}, {}, "shop.toml, umask: 22 is not a mode in octal digits", Fault.SETTINGS),
        ("umask = 'x'", {}, {}, "shop.toml, umask: 'x' is not a mode", Fault.SETTINGS),
        ("", {"TRIOSERVICE_UMASK": "x"}, {}, "TRIOSERVICE_UMASK: 'x' is not a mode", Fault.SETTINGS),
        ("", {}, {"umask": "x"}, "--umask: 'x' is not a mode", Fault.USAGE),
    ],
)
def test_a_bad_value_names_its_source_and_what_is_wanted(
    file: str, environ: dict[str, str], typed: dict[str, str], said: str, fault: Fault
) -> None:
    """Whose fault it is follows from where it stands.  Conformance row 57."""
    mistake = refused(layers(file, environ, **typed).look_up, UMASK)
    assert str(mistake).startswith(said)
    assert mistake.fault is fault


@pytest.mark.parametrize("name", ["nope.toml", "."])
def test_a_file_that_cannot_be_read_is_told(name: str) -> None:
    """It was named, so its absence is a mistake."""
    mistake = refused(Layers, {}, {"TRIOSERVICE_CONFIG": name})
    assert str(mistake).startswith(f"cannot read {name}: ")
    assert mistake.fault is Fault.SETTINGS


def test_a_file_in_another_encoding_is_told() -> None:
    """TOML is UTF-8."""
    Path("x.toml").write_bytes(b"prefix = '\xe9'")
    assert "x.toml: 'utf-8' codec" in str(refused(Layers, {}, {"TRIOSERVICE_CONFIG": "x.toml"}))


def test_a_variable_that_is_almost_a_setting_is_a_mistake_and_another_is_anybodys() -> None:
    """A slip would set nothing; what is of other make is none of our business."""
    mistake = refused(Layers, {}, {"TRIOSERVICE_LOGLEVEL": "debug"})
    assert str(mistake) == "TRIOSERVICE_LOGLEVEL in the environment sets nothing"
    assert (mistake.hint, mistake.fault) == ("did you mean TRIOSERVICE_LOG_LEVEL?", Fault.SETTINGS)
    # What Kubernetes sets for a service that is called trioservice, and what our own tests set.
    for name in ("PORT", "SERVICE_HOST", "PORT_80_TCP", "REQUIRE_PROGRAMS", "EXPLORE", "EXAMPLES"):
        Layers({}, {f"TRIOSERVICE_{name}": "1"})


def test_parameters_and_plugins_have_tables_of_their_own() -> None:
    """In all three layers."""
    port = option("max-port", 1)
    assert variable(port, "set") == "TRIOSERVICE_SET_MAX_PORT"
    assert variable(port, "web") == "TRIOSERVICE_WEB_MAX_PORT"
    all_of_them = layers(
        "[set]\nmax-port = 2\n[web]\nmax-port = 3\n",
        {"TRIOSERVICE_WEB_MAX_PORT": "4"},
        set=["max-port=5", "other=6"],
    )
    assert all_of_them.look_up(port, "set") == Sourced(5, "--set max-port")
    assert all_of_them.look_up(port, "web") == Sourced(4, "TRIOSERVICE_WEB_MAX_PORT")
    assert layers("[set]\nmax-port = 2").look_up(port, "set") == Sourced(2, "shop.toml")


def test_a_bad_value_in_a_table_names_the_table() -> None:
    """Or one would look in the wrong place."""
    mistake = refused(layers("[web]\nport = 'x'").look_up, option("port", 1), "web")
    assert str(mistake) == "shop.toml, port in [web]: 'x' is not a whole number"
    mistake = refused(layers(set="port").look_up, option("port", 1), "set")
    assert str(mistake) == "--set: 'port' is not NAME=VALUE"


@pytest.mark.parametrize(
    ("table", "said", "hint"),
    [
        (
            "set",
            "the parameter 'port' has to be given, as a whole number",
            "--set port=NUMBER, or TRIOSERVICE_SET_PORT in the environment",
        ),
        (
            "web",
            "--port has to be given, as a whole number",
            "--port NUMBER, or TRIOSERVICE_WEB_PORT in the environment",
        ),
    ],
)
def test_what_has_to_be_given_and_is_not_is_told(table: str, said: str, hint: str) -> None:
    """With the ways to give it."""
    wanted: Option = option("port", type=int)
    mistake = refused(layers().look_up, wanted, table)
    assert (str(mistake), mistake.hint, mistake.fault) == (said, hint, Fault.USAGE)


def test_what_was_set_and_is_unknown_is_a_mistake_in_all_layers() -> None:
    """With who said it."""
    file, environ = "[set]\na = 1\nknown = 1", {"TRIOSERVICE_SET_B": "1", "TRIOSERVICE_SET_KNOWN": "1"}
    for told, source, fault in (
        (layers(file, environ, set=["c=1"]), "--set: it has no 'c'", Fault.USAGE),
        (layers(file, environ), "TRIOSERVICE_SET_B: it has no 'b'", Fault.SETTINGS),
        (layers(file), "shop.toml, [set]: it has no 'a'", Fault.SETTINGS),
    ):
        mistake = refused(told.refuse_strangers, "set", ["known"], "it has no")
        assert (str(mistake), mistake.fault) == (source, fault)
        assert mistake.hint == "it has known"
        told.refuse_strangers("set", ["known", "a", "b", "c"], "it has no")


def test_a_table_that_is_nobodys_is_a_mistake() -> None:
    """It is [set], or a plugin's, and one that is misspelt would set nothing."""
    mistake = refused(layers, "[sets]\nport = 1")
    assert str(mistake) == "shop.toml: there is no setting 'sets'"
    assert mistake.hint == "did you mean [set]?"


def test_a_setting_in_the_environment_is_no_option_of_a_plugin_whose_name_it_begins_with() -> None:
    """A plugin `log` has the table of TRIOSERVICE_LOG_..., and so have we."""
    told = Layers({}, {"TRIOSERVICE_LOG_LEVEL": "debug", "TRIOSERVICE_LOG_SIZE": "3"})
    told.refuse_strangers("log", ["size"], "it has no")
