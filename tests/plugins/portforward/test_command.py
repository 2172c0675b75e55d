"""`trioservice portforward`, as it is typed."""

from __future__ import annotations

import pytest

from trioservice.cli import main
from trioservice.config.plugins import application_of
from trioservice.plugins.portforward.command import portforward
from trioservice.process.exits import Exit


def test_the_options_describe_the_service() -> None:
    app = application_of(
        "portforward",
        portforward,
        {"listen": "tcp:8080", "to": "tcp:far:80", "max_connections": 3, "idle_timeout": 9.0},
    )
    forward = app["forward"]
    assert (forward.near.max_connections, forward.near.idle_timeout) == (3, 9.0)
    assert str(forward.far.endpoint) == "tcp:far:80"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--listen", "tcp:8080"], "--to"),
        (["--to", "tcp:far:80"], "--listen"),
        (["--listen", "tpc:8080", "--to", "tcp:far:80"], "tpc"),
        (["--listen", "tcp:8080", "--to", "tcp:far"], "tcp:far"),
        (["--listen", "tcp:8080", "--to", "tcp:far:80", "--max-connections", "0"], "--max-connections"),
    ],
)
def test_a_mistake_is_told_in_a_line(words: list[str], said: str, capsys) -> None:
    assert main(["portforward", *words]) == Exit.USAGE
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_its_help_names_the_options(capsys) -> None:
    assert main(["portforward", "--help"]) == Exit.OK
    told = capsys.readouterr().out
    assert "--listen ENDPOINT" in told
    assert "where they are led" in told
