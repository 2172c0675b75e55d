"""Endpoints as options: kept as they were written, or refused."""

from __future__ import annotations

import pytest

from trioservice.config.endpoint_forms import connecting, listening
from trioservice.forms import Form, FormError


@pytest.mark.parametrize(
    ("form", "given"),
    [
        (listening, "tcp:8080"),
        (listening, "unix:/run/shop.sock:mode=660"),
        (connecting, "tcp:10.0.0.7:80"),
        (connecting, "unix:/run/shop.sock"),
    ],
)
def test_an_endpoint_is_kept_as_it_was_written(form: Form, given: str) -> None:
    assert form.read(given) == given


@pytest.mark.parametrize(
    ("form", "given", "said"),
    [
        (listening, "tpc:8080", "did you mean tcp"),
        (listening, "tcp:8080:interfce=::1", "did you mean interface"),
        (connecting, "tcp:8080", "tcp:8080"),
        (connecting, "systemd:web", "systemd"),
    ],
)
def test_the_mistake_is_pointed_at_in_what_is_none(form: Form, given: str, said: str) -> None:
    with pytest.raises(FormError, match=said) as raised:
        form.read(given)
    assert f"    {given}\n" in str(raised.value)
    assert raised.value.hint == f"give {form.wanted}"
