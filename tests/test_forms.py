"""Text becomes values and values text; what is no value is told in words."""

from __future__ import annotations

import enum
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trioservice import forms
from trioservice.forms import Form, FormError, form_for


class Colour(enum.Enum):
    RED = "r"
    DARK_BLUE = "b"


def even(text: str) -> int:
    if int(text) % 2:
        raise ValueError
    return int(text)


RIGHT: list[tuple[Form, str, Any]] = [
    (forms.text, " a b ", " a b "),
    (forms.path, "/run/x", "/run/x"),
    (forms.path, "", None),
    (forms.flag, "Yes", True),
    (forms.flag, "off", False),
    (forms.whole, "-12", -12),
    (forms.count, "1", 1),
    (forms.decimal, "1e3", 1000.0),
    (forms.seconds, "30", 30.0),
    (forms.seconds, ".5", 0.5),
    (forms.seconds, "250ms", 0.25),
    (forms.seconds, "1.5 m", 90.0),
    (forms.seconds, "2h", 7200.0),
    (forms.or_never(forms.seconds), "Never", None),
    (forms.or_never(forms.seconds), "3", 3.0),
    (forms.size, "512", 512),
    (forms.size, "10M", 10 * 1024**2),
    (forms.size, "3 kB", 3 * 1024),
    (forms.size, "1GiB", 1024**3),
    (forms.rotation, "daily", "daily"),
    (forms.rotation, "never", None),
    (forms.rotation, "2g", 2 * 1024**3),
    (forms.mode, "22", 0o22),
    (forms.mode, "0o077", 0o77),
    (forms.name_or_number, "33", 33),
    (forms.name_or_number, "www-data", "www-data"),
    (forms.level, "Warn", logging.WARNING),
    (forms.level_of_one, "debug", (None, logging.DEBUG)),
    (forms.level_of_one, "shop/web = error", ("shop/web", logging.ERROR)),
    (forms.named_value, "port=9000", ("port", "9000")),
    (forms.named_value, "a=b=c", ("a", "b=c")),
    (forms.named_value, "empty=", ("empty", "")),
    (forms.choice("text", "json"), "JSON", "json"),
    (forms.items(forms.whole), "1, 2,", (1, 2)),
    (form_for(list[float]), "1,2.5", [1.0, 2.5]),
    (form_for(list), "a,b", ["a", "b"]),
    (form_for(tuple[int]), "1", (1,)),
    (form_for(Path), "x/y", Path("x/y")),
    (form_for(bool), "no", False),
    (form_for(Colour), "Dark_Blue", Colour.DARK_BLUE),
    (form_for(even), "4", 4),
]


@pytest.mark.parametrize(("form", "text", "value"), RIGHT)
def test_a_text_becomes_a_value(form: Form, text: str, value: Any) -> None:
    """As it says, in upper and lower case, with and without its unit."""
    assert form.read(text) == value


@pytest.mark.parametrize(("form", "value"), [(form, value) for form, _, value in RIGHT if value is not None])
def test_what_is_shown_can_be_read(form: Form, value: Any) -> None:
    """So that `trioservice config` prints what `--config` takes."""
    if form.parse is not even:
        assert form.read(form.show(value)) == value


WRONG: list[tuple[Form, str, str, str]] = [
    (forms.flag, "ye", "'ye' is not yes or no", "did you mean yes?"),
    (forms.flag, "42", "'42' is not yes or no", "there are yes, no"),
    (forms.whole, "1.0", "'1.0' is not a whole number", ""),
    (forms.whole, "٣", "is not a whole number", ""),
    (forms.count, "0", "'0' is not a whole number from 1 on", ""),
    (forms.seconds, "-1", "'-1' is not a number of seconds, such as 2.5, 30 or 5m", ""),
    (forms.seconds, "5 years", "'5 years' is not a number of seconds", ""),
    (forms.size, "0", "'0' is not a number of bytes", ""),
    (forms.size, "10T", "'10T' is not a number of bytes, such as 500k, 10M or 1G", ""),
    (forms.rotation, "weekly", "'weekly' is not a size such as 10M, or daily, or never", ""),
    (forms.mode, "8", "'8' is not a mode in octal digits", ""),
    (forms.mode, "7777", "'7777' is not a mode in octal digits", ""),
    (forms.mode, "", "'' is not a mode", ""),
    (forms.name_or_number, " ", "' ' is not a name or a number", ""),
    (forms.level, "debig", "'debig' is not a level of the log", "did you mean debug?"),
    (
        forms.level_of_one,
        "x=loud",
        "'loud' is not a level",
        "there are debug, info, warning, error, critical",
    ),
    (forms.level_of_one, "=info", "'=info' is not a level of the log, or NAME=LEVEL", ""),
    (forms.named_value, "port", "'port' is not NAME=VALUE", ""),
    (forms.named_value, "=1", "'=1' is not NAME=VALUE", ""),
    (forms.choice("text", "json", "x"), "jason", "'jason' is not text, json or x", "did you mean json?"),
    (forms.items(forms.whole), "1,b", "'b' is not a whole number", ""),
    (form_for(Colour), "green", "'green' is not red or dark_blue", "there are red, dark_blue"),
    (form_for(even), "3", "'3' is not a even", ""),
]


@pytest.mark.parametrize(("form", "text", "said", "hint"), WRONG)
def test_a_text_that_is_no_value_is_told_with_what_is_wanted(
    form: Form, text: str, said: str, hint: str
) -> None:
    """What came, what was wanted, and the likely mend."""
    with pytest.raises(FormError) as refused:
        form.read(text)
    assert said in str(refused.value)
    if hint:
        assert refused.value.hint == hint


@pytest.mark.parametrize(
    ("form", "given_as", "value"),
    [
        (forms.flag, True, True),
        (forms.flag, "yes", True),
        (forms.whole, 7, 7),
        (forms.seconds, 2.5, 2.5),
        (forms.seconds, 3, 3.0),
        (forms.size, 1000, 1000),
        (forms.name_or_number, 33, 33),
        (forms.items(forms.level_of_one), ["info", "a=debug"], ((None, 20), ("a", 10))),
        (form_for(list[str]), ["a,b", "c"], ["a,b", "c"]),
    ],
)
def test_a_file_may_give_numbers_flags_and_lists(form: Form, given_as: object, value: object) -> None:
    """What TOML has types for; and a comma in a list's item is a part of it."""
    assert form.take(given_as) == value


@pytest.mark.parametrize(
    ("form", "given_as", "hint"),
    [
        (forms.mode, 22, 'write it as text: "22"'),
        (forms.text, 7, 'write it as text: "7"'),
        (forms.whole, True, ""),
        (forms.flag, 1, 'write it as text: "1"'),
        (forms.seconds, ["3"], ""),
    ],
)
def test_a_file_may_not_give_a_number_for_a_mode_or_a_text(form: Form, given_as: object, hint: str) -> None:
    """A umask of 22 would be 026, and nobody would notice."""
    with pytest.raises(FormError, match="is not") as refused:
        form.take(given_as)
    assert refused.value.hint == hint


@given(some.floats(0, 1e9))
def test_seconds_are_shown_as_they_are(value: float) -> None:
    """To the last digit."""
    assert forms.seconds.read(forms.seconds.show(value)) == value


@given(some.integers(1, 1 << 60))
def test_sizes_are_shown_as_they_are(value: int) -> None:
    """Units are used where nothing is lost."""
    assert forms.size.read(forms.size.show(value)) == value


@given(some.text())
def test_no_text_makes_a_form_fail_otherwise(text: str) -> None:
    """Whatever is typed, the answer is a value or a sentence."""
    for form in {id(form): form for form, *_ in RIGHT}.values():
        with suppress(FormError):
            form.read(text)


def test_a_similar_word_is_found_and_an_unlike_one_is_not() -> None:
    """A guess that is far off is worse than none."""
    assert forms.similar("logflie", ["logfile", "log-level"]) == "logfile"
    assert forms.similar("reactor", ["logfile", "log-level"]) == ""
