"""Completion: scripts by which shells complete our commands, options and values.

All three are made of the table of commands; each is plain text that asks nothing of us when a key is pressed,
since to start a Python for every TAB is felt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..config.options import Option

if TYPE_CHECKING:
    from .command import Command, Positional

__all__ = ["script"]


def script(shell: str, commands: Sequence[Command]) -> str:
    """The script for ``bash``, ``zsh`` or ``fish``."""
    lines = [*{"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands), ""]
    # zsh looks for its mark in the first line.
    lines.insert(1, f"# Completion of trioservice for {shell}, made by `trioservice completion {shell}`.")
    return "\n".join(lines)


def _spellings(option: Option) -> list[str]:
    return [option.spelling, *([f"-{option.short}"] if option.short else [])]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# ---- bash

_BASH_VALUES = {"FILE": "-f", "FOLDER": "-d", "USER": "-u", "GROUP": "-g"}

_BASH = """\
_trioservice() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W %s -- "$word")
        return
    fi
    local of_options= of_words=(-f)
    case ${COMP_WORDS[1]} in"""

_BASH_END = """\
        *) return ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$of_options" -- "$word")
    else
        [[ ${of_words[0]} == -[fd] ]] && compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen "${of_words[@]}" -- "$word")
    fi
}
complete -F _trioservice trioservice"""


def _bash(commands: Sequence[Command]) -> Iterator[str]:
    yield "# shellcheck shell=bash"
    yield _BASH % _quoted(" ".join(command.name for command in commands))
    for command in commands:
        options = " ".join(spelling for option in command.options for spelling in _spellings(option))
        yield f"        {command.name})"
        yield f"            of_options={_quoted(options)}"
        yield f"            of_words=({_bash_words(command.positionals)})"
        yield "            case $before in"
        for option in command.options:
            if not option.form.is_flag:
                yield f"                {'|'.join(_spellings(option))}) {_bash_value(option)} ;;"
        yield "            esac ;;"
    yield _BASH_END


def _bash_words(positionals: Sequence[Positional]) -> str:
    if not positionals:
        return "-W ''"
    return f"-W {_quoted(' '.join(positionals[0].choices))}" if positionals[0].choices else "-f"


def _bash_value(option: Option) -> str:
    if option.form.choices:
        return f"of_words=(-W {_quoted(' '.join(option.form.choices))})"
    known = _BASH_VALUES.get(option.form.metavar.partition("|")[0])
    return f"of_words=({known})" if known else "return"


# ---- zsh

_ZSH_VALUES = {"FILE": "_files", "FOLDER": "_files -/", "USER": "_users", "GROUP": "_groups"}

_ZSH = """\
_trioservice() {
    local context state line
    typeset -A opt_args
    _arguments -C '--help[show the commands]' '--version[show the version]' '1:command:->command' \\
        '*::argument:->argument'
    case $state in
    command)
        local commands=("""

_ZSH_END = """\
        esac ;;
    esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _trioservice "$@"
else
    compdef _trioservice trioservice
fi"""


def _zsh(commands: Sequence[Command]) -> Iterator[str]:
    yield "#compdef trioservice"
    yield _ZSH
    yield from (f"            {_quoted(_zsh_escaped(c.name) + ':' + c.help)}" for c in commands)
    yield "        )\n        _describe command commands ;;\n    argument)\n        case $words[1] in"
    for command in commands:
        specs = [spec for option in command.options for spec in _zsh_option(option)]
        specs += [_zsh_positional(one) for one in command.positionals]
        yield f"        {command.name}) _arguments -s \\"
        yield " \\\n".join(f"            {_quoted(spec)}" for spec in specs) + " ;;"
    yield _ZSH_END


def _zsh_option(option: Option) -> Iterator[str]:
    spellings, many = _spellings(option), option.form.each or option.name == "set"
    others = "*" if many else f"({' '.join(spellings)})"
    for spelling in spellings:
        takes = "" if option.form.is_flag else "=" if spelling.startswith("--") else "+"
        yield f"{others}{spelling}{takes}[{_zsh_escaped(option.help)}]{_zsh_value(option)}"


def _zsh_value(option: Option) -> str:
    form = option.form
    if form.is_flag:
        return ""
    action = f"({' '.join(form.choices)})" if form.choices else ""
    action = action or _ZSH_VALUES.get(form.metavar.partition("|")[0], "")
    return f":{_zsh_escaped(form.metavar)}:{action}"


def _zsh_positional(positional: Positional) -> str:
    action = f"({' '.join(positional.choices)})" if positional.choices else "_files"
    return f"1:{positional.name}:{action}"


def _zsh_escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "[]:\\" else sign for sign in text)


# ---- fish

_FISH_VALUES = {
    "FILE": "-r -F",
    "FOLDER": "-x -a '(__fish_complete_directories)'",
    "USER": "-x -a '(__fish_complete_users)'",
    "GROUP": "-x -a '(__fish_complete_groups)'",
}


def _fish(commands: Sequence[Command]) -> Iterator[str]:
    yield "complete -c trioservice -e"  # what an older version may have said
    yield "complete -c trioservice -f"
    yield "complete -c trioservice -n __fish_use_subcommand -l help -s h -d 'show the commands'"
    yield "complete -c trioservice -n __fish_use_subcommand -l version -d 'show the version'"
    for command in commands:
        what = f"-a {command.name} -d {_fish_quoted(command.help)}"
        yield f"complete -c trioservice -n __fish_use_subcommand {what}"
    for command in commands:
        here = f"complete -c trioservice -n '__fish_seen_subcommand_from {command.name}'"
        for positional in command.positionals:
            yield f"{here} {_fish_words(positional)}"
        for option in command.options:
            short = f" -s {option.short}" if option.short else ""
            yield f"{here} -l {option.name}{short} {_fish_value(option)}-d {_fish_quoted(option.help)}"


def _fish_words(positional: Positional) -> str:
    return f"-a {_fish_quoted(' '.join(positional.choices))}" if positional.choices else "-F"


def _fish_value(option: Option) -> str:
    form = option.form
    if form.is_flag:
        return ""
    if form.choices:
        return f"-x -a {_fish_quoted(' '.join(form.choices))} "
    return _FISH_VALUES.get(form.metavar.partition("|")[0], "-x") + " "


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
