"""The settings as they are, each with its source, as a TOML file that says the same.

Who asks why something is so gets the answer and, with it, what to write where: the output of ``trioservice
config`` is a file for ``--config``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..config.layers import Sourced
from ..config.options import SETTINGS, Option

if TYPE_CHECKING:
    from .command import Asked

__all__ = ["toml_value", "written"]


def written(asked: Asked) -> str:
    """All settings, and the parameters of the target if there is one."""
    lines = list(_lines(SETTINGS, asked.layers.look_up))
    if "TARGET" in asked.words:
        asked.load()
        lines += [("", ""), ("[set]", "")]
        lines += _lines(asked.parameters.declared.values(), asked.parameters.value)
    margin = max(len(said) for said, source in lines if source)
    return "".join(f"{said:<{margin}}  # {source}\n" if source else f"{said}\n" for said, source in lines)


def toml_value(option: Option, value: Any) -> str:
    """A value as a TOML file has it; nothing for one that is not there."""
    form = option.form
    if form.each is not None and value is not None:
        each = option._replace(form=form.each)
        return f"[{', '.join(toml_value(each, item) for item in value)}]"
    text = option.shown(value)
    if form.is_flag and text:
        return "true" if value else "false"
    if type(value) in form.plain and form.read(str(value)) == value:
        return str(value)
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f") if text else ""


def _lines(options: Iterable[Option], look_up: Callable[[Option], Sourced]) -> Iterator[tuple[str, str]]:
    """What a file would say of each option, and who says so; of one that is not set, a remark."""
    for option in options:
        value, source = look_up(option)
        as_toml = toml_value(option, value)
        yield (f"{option.name} = {as_toml}", source) if as_toml else (f"# {option.name} is not set", "")
