"""Completion, asked of the real shells: what they offer is what there is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import foreign

from trioservice.cli.commands import COMMANDS, command_of
from trioservice.cli.completion import script
from trioservice.config.options import FOR_RUNNING, option
from trioservice.config.plugins import Plugin

NAMES = {command.name for command in COMMANDS}
ODD = Plugin(
    print, help='it\'s [odd]: \\ "quoted" $HOME', options=(option("sign", "x", help="it's a $(sign): [x]"),)
)  # type: ignore[arg-type]
ALL = [*COMMANDS, command_of("odd", ODD)]

Ask = Callable[[str], set[str]]


def output(*argv: str, cwd: Path) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, cwd=cwd, check=False)
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for shell in ("bash", "zsh", "fish"):
        (tmp_path / f"script.{shell}").write_text(script(shell, ALL))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a shop.tac").touch()
    (tmp_path / "here" / "folder").mkdir()
    return tmp_path


# Ask it as the shell does when TAB is pressed: the words, and which of them it is about.
BASH = """
source ../script.bash
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_trioservice
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def ask_bash(folder: Path) -> Ask:
    def ask(line: str) -> set[str]:
        words = " ".join(f"'{word}'" for word in line.split(" "))
        bash = foreign("bash")
        said = output(bash, "--norc", "-c", BASH.format(words=words), cwd=folder / "here")
        return {word for word in said.splitlines() if word}

    return ask


def ask_fish(folder: Path) -> Ask:
    def ask(line: str) -> set[str]:
        code = f"source ../script.fish; complete -C '{line}'"
        said = output(foreign("fish"), "--no-config", "-c", code, cwd=folder / "here")
        return {word.partition("\t")[0].rstrip("/") for word in said.splitlines()}

    return ask


# A zsh at a terminal of its own; what it would offer is caught where it hands it to the line editor.
ZSH = """
zmodload zsh/zpty
zpty it zsh -f -i
zpty -w it 'PROMPT= ; stty -echo; autoload -Uz compinit; compinit -D -u; source ../script.zsh
compadd() {{
    if [[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return; fi
    typeset -a __found; builtin compadd -A __found "$@"; print -rl -- OFFER:${{^__found}}
}}
finish() {{ print END; exit }}
zle -C ask list-choices _main_complete
ask-and-finish() {{ zle ask; finish }}
zle -N ask-and-finish
bindkey "^I" ask-and-finish
print RE""ADY'
zpty -r it said '*READY*'
zpty -n -w it '{line}'$'\\t'
while zpty -r it said; do print -rn -- $said; [[ $said == *END* ]] && break; done
"""


def ask_zsh(folder: Path) -> Ask:
    def ask(line: str) -> set[str]:
        said = output(foreign("zsh"), "-f", "-c", ZSH.format(line=line), cwd=folder / "here")
        offers = [part.partition("OFFER:")[2].strip() for part in said.splitlines() if "OFFER:" in part]
        return {offer for offer in offers if offer}

    return ask


@pytest.fixture(params=[ask_bash, ask_zsh, ask_fish], ids=["bash", "zsh", "fish"])
def ask(request: pytest.FixtureRequest, folder: Path) -> Ask:
    made: Ask = request.param(folder)
    return made


@pytest.mark.real
@pytest.mark.skipif(sys.platform == "win32", reason="these are the shells of POSIX")
class TestShells:
    def test_commands_are_offered_first(self, ask: Ask) -> None:
        assert ask("trioservice ") >= NAMES | {"odd"}

    def test_options_are_those_of_the_command(self, ask: Ask) -> None:
        offered = ask("trioservice run --")
        assert offered >= {f"--{one.name}" for one in FOR_RUNNING}
        assert ask("trioservice man --") == {"--help"}
        assert "--sign" in ask("trioservice odd --s")

    def test_values_are_those_of_the_option(self, ask: Ask) -> None:
        assert ask("trioservice run --log-format ") == {"text", "json", "journal"}
        assert ask("trioservice completion ") == {"bash", "zsh", "fish"}

    def test_folders_are_offered_for_folders_and_files_for_files(self, ask: Ask) -> None:
        assert {one.rstrip("/") for one in ask("trioservice run --rundir f")} == {"folder"}
        assert any("shop.tac" in one for one in ask("trioservice run a"))
        assert any("shop.tac" in one for one in ask("trioservice run --logfile a"))

    def test_users_are_offered_for_users(self, ask: Ask) -> None:
        assert "root" in ask("trioservice run --uid roo")


@pytest.mark.real
def test_bash_takes_an_equal_sign_for_a_word_of_its_own_and_is_understood(folder: Path) -> None:
    """`--log-format=j` arrives as three words."""
    assert ask_bash(folder)("trioservice run --log-format = j") == {"json", "journal"}
    assert ask_bash(folder)("trioservice run --log-format =") == {"text", "json", "journal"}


@pytest.mark.real
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_finds_no_mistake_in_its_script(folder: Path, shell: str) -> None:
    """Whatever stands in somebody's words of help."""
    assert output(foreign(shell), "-n", f"script.{shell}", cwd=folder) == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_says_what_it_is(shell: str) -> None:
    """Who finds it in a folder knows how to make it anew; zsh wants its mark first."""
    first, second = script(shell, COMMANDS).splitlines()[:2]
    assert second == f"# Completion of trioservice for {shell}, made by `trioservice completion {shell}`."
    assert (first == "#compdef trioservice") is (shell == "zsh")
