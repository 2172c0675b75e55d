"""One line for each answer, whatever was asked."""

from __future__ import annotations

import json
import logging

from hypothesis import given
from hypothesis import strategies as st

from trioservice.net.addresses import UNIXPeer
from trioservice.net.http import Answered, Headers, Request
from trioservice.plugins.web.access import as_json, combined, log_access

REQUEST = Request("GET", b"/a?b", "1.1", Headers([(b"user-agent", b'me "1"'), (b"referer", b"http://x/")]))
ANSWERED = Answered(("10.0.0.7", 40000), REQUEST, 200, 1234, 0.0125)


def test_the_combined_format_is_that_of_others() -> None:
    assert combined(ANSWERED, 0.0) == (
        '10.0.0.7 - - [01/Jan/1970:00:00:00 +0000] "GET /a?b HTTP/1.1" 200 1234 "http://x/" "me \\"1\\""'
    )


def test_what_was_no_request_has_a_line_as_well() -> None:
    line = combined(Answered(UNIXPeer("/run/x", 1, 2, 3), None, 400, 0, 0.0), 0.0)
    assert line.endswith('"-" 400 - "-" "-"')


def test_json_has_the_time_that_it_took() -> None:
    fields = json.loads(as_json(ANSWERED, 1.5))
    assert fields["seconds"] == 0.0125
    assert (fields["peer"], fields["target"], fields["status"]) == ("10.0.0.7:40000", "/a?b", 200)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_nothing_that_is_sent_ends_the_line(target: bytes, agent: bytes) -> None:
    request = Request("GET", target, "1.1", Headers([(b"user-agent", agent)]))
    answered = Answered(("::1", 1), request, 200, 0, 0.0)
    line = combined(answered, 0.0)
    assert line.isprintable()
    assert line.isascii()
    assert json.loads(as_json(answered, 0.0))["agent"] == agent.decode("latin-1")


def test_it_is_logged_where_somebody_wants_it(caplog) -> None:
    log = log_access(combined)
    with caplog.at_level(logging.WARNING, "trioservice.access"):
        log(ANSWERED)
    with caplog.at_level(logging.INFO, "trioservice.access"):
        log(ANSWERED)
    assert len(caplog.records) == 1
