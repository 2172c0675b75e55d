"""Who is really there: headers of the PROXY protocol, whole, in pieces, broken and absent."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trioservice.net.proxy_protocol import MAX_HEADER, ProxyHeader, ProxyProtocolError, read_header

SIGNATURE = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
LOCAL, PROXY = 0x20, 0x21
UNSPEC, TCP4, UDP4, TCP6, UDP6, UNIX, UNIX_DGRAM = 0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32
UNTOLD = ProxyHeader(None, None)


def v2(command: int, kind: int, block: bytes = b"") -> bytes:
    """A version 2 header, by the specification's struct."""
    return SIGNATURE + struct.pack("!BBH", command, kind, len(block)) + block


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def packed(source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    hosts = [ipaddress.ip_address(host).packed for host, _ in (source, destination)]
    return b"".join(hosts) + struct.pack("!HH", source[1], destination[1])


SOMEONE = packed(("192.0.2.1", 56324), ("198.51.100.2", 443))

# Captured behind AWS network load balancers, whose checksums are nobody's invention: they stand
# in the tests of go-proxyproto and of Amazon's own tools.
AWS_FIRST = v2(
    PROXY,
    TCP4,
    bytes.fromhex("ac1f0771ac1f0a1fc8f20050 030004e8d6892d ea0017")
    + b"\1vpce-08d2bf15fac5001c9"
    + tlv(0x04, bytes(36)),
)
AWS_SECOND = v2(
    PROXY,
    TCP4,
    bytes.fromhex("c0a82c0ac0a82c07cc3e241b 030004b9286fa6 ea0017")
    + b"\1vpce-00eafc458ec97b833"
    + tlv(0x04, bytes(36)),
)

# ---- headers of every kind, and what they say --------------------------------------------------

ports = st.integers(0, 65535)
ipv4 = st.tuples(st.ip_addresses(v=4).map(str), ports)
mapped = st.ip_addresses(v=4).map(lambda ip: f"::ffff:{ip}")
# By the spelling of inet_ntop, which for a few prefixes differs from that of the ipaddress module.
ordinary_ipv6 = st.ip_addresses(v=6).filter(lambda ip: int(ip) >> 48).map(str)
ipv6 = st.tuples(ordinary_ipv6 | mapped, ports)
names = st.text("abc/.-ü", min_size=1, max_size=50)
unix = st.just("") | names | names.map("@{}".format)
tlvs = st.lists(
    st.tuples(st.integers(0, 255).filter(lambda kind: kind not in {0x03, 0x04}), st.binary(max_size=20)),
    max_size=3,
)

Made = tuple[bytes, ProxyHeader]


@st.composite
def v1_headers(draw: st.DrawFn) -> Made:
    number, addresses = draw(st.sampled_from([(4, ipv4), (6, ipv6)]))
    source, destination = draw(addresses), draw(addresses)
    hosts = f"{source[0]} {destination[0]}"
    if number == 6 and draw(st.booleans()):
        hosts = hosts.upper()
    line = f"PROXY TCP{number} {hosts} {source[1]} {destination[1]}\r\n"
    return line.encode(), ProxyHeader(source, destination)


@st.composite
def v1_unknown(draw: st.DrawFn) -> Made:
    told = draw(st.just("") | st.text("0123456789abcdef:. ü", max_size=45).map(" {}".format))
    return f"PROXY UNKNOWN{told}\r\n".encode(), UNTOLD


@st.composite
def v2_headers(draw: st.DrawFn) -> Made:
    kind, addresses = draw(st.sampled_from([(TCP4, ipv4), (UDP4, ipv4), (TCP6, ipv6), (UDP6, ipv6)]))
    source, destination = draw(addresses), draw(addresses)
    more = draw(tlvs)
    block = packed(source, destination) + b"".join(tlv(*pair) for pair in more)
    return v2(PROXY, kind, block), ProxyHeader(source, destination, tuple(more))


@st.composite
def v2_unix(draw: st.DrawFn) -> Made:
    source, destination, more = draw(unix), draw(unix), draw(tlvs)
    raw = [name.replace("@", "\0").encode().ljust(108, b"\0") for name in (source, destination)]
    block = b"".join(raw) + b"".join(tlv(*pair) for pair in more)
    return v2(PROXY, draw(st.sampled_from([UNIX, UNIX_DGRAM])), block), ProxyHeader(
        source, destination, tuple(more)
    )


@st.composite
def v2_untold(draw: st.DrawFn) -> Made:
    block = draw(st.binary(max_size=300))
    if draw(st.booleans()):
        return v2(LOCAL, draw(st.integers(0, 255)), block), UNTOLD
    return v2(PROXY, draw(st.sampled_from([UNSPEC, 0x01, 0x02])), block), UNTOLD


headers = st.one_of(v1_headers(), v1_unknown(), v2_headers(), v2_unix(), v2_untold())


@st.composite
def nearly_headers(draw: st.DrawFn) -> bytes:
    """A header in which a few bytes were replaced, left out or put in."""
    data = bytearray(draw(headers)[0])
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(data)


anything = st.one_of(
    nearly_headers(),
    st.binary(max_size=120),
    st.binary(max_size=120).map(lambda rest: b"PROXY TCP6 " + rest),
    st.binary(max_size=120).map(lambda rest: SIGNATURE + rest),
)


@given(headers, st.binary(max_size=100))
@example(
    (
        AWS_FIRST,
        ProxyHeader(("172.31.7.113", 51442), ("172.31.10.31", 80), ((0xEA, b"\1vpce-08d2bf15fac5001c9"),)),
    ),
    b"",
)
@example(
    (
        AWS_SECOND,
        ProxyHeader(("192.168.44.10", 52286), ("192.168.44.7", 9243), ((0xEA, b"\1vpce-00eafc458ec97b833"),)),
    ),
    b"\x16\x03\x01",
)
def test_every_header_says_what_was_put_into_it_and_leaves_the_client_s_bytes(
    made: Made, payload: bytes
) -> None:
    """Both versions, all families; the length tells where the client's own bytes begin."""
    data, header = made
    received = bytearray(data + payload)
    assert read_header(received) == (header, len(data))
    assert received == data + payload
    assert read_header(bytes(received)) == (header, len(data))


@given(headers)
@example((AWS_FIRST, UNTOLD))
def test_the_beginning_of_a_header_only_asks_for_more(made: Made) -> None:
    """Whatever the pieces in which a valid header comes, none of them is refused or believed."""
    data, _ = made
    assert [read_header(data[:size]) for size in range(len(data))] == [None] * len(data)


def outcome(data: bytes) -> object:
    """What :func:`read_header` makes of *data*: its answer, or that it refuses."""
    try:
        return read_header(data)
    except ProxyProtocolError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 600
    return "refused"


@given(anything)
def test_once_decided_no_further_byte_changes_the_decision(data: bytes) -> None:
    """So it cannot matter where the network splits what was sent, be it a header or not."""
    outcomes = [outcome(data[:size]) for size in range(len(data) + 1)]
    decided = [found for found in outcomes if found is not None]
    assert outcomes == [None] * (len(outcomes) - len(decided)) + decided
    assert all(found == decided[0] for found in decided)


@given(anything, st.sampled_from([b"\0", b"0", b" ", b"\r\n"]))
@example(b"", b"\0")
def test_whoever_holds_the_most_bytes_a_header_can_have_waits_no_longer(data: bytes, more: bytes) -> None:
    """A caller's buffer is bounded: there is a header then, or an error, and never a third."""
    assert outcome((data + more * MAX_HEADER)[:MAX_HEADER]) is not None


# ---- refused at once -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "foreign",
    [
        b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
        b"HEAD / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"EHLO example.org\r\n",
        b"\x00",
        b"\nPROXY UNKNOWN\r\n",
    ],
)
def test_other_protocols_are_refused_at_their_first_byte(foreign: bytes) -> None:
    """A browser that came past the proxy sends one byte and is not kept waiting for the twelfth."""
    with pytest.raises(ProxyProtocolError, match=r"header was wanted, but b'.*does this peer come past"):
        read_header(foreign[:1])
    assert outcome(foreign) == "refused"


@pytest.mark.parametrize(
    "method", [b"POST / HTTP/1.1\r\n", b"PUT /", b"PATCH /", b"PROPFIND /", b"PRI * HTTP/2"]
)
def test_requests_that_begin_like_a_header_are_refused_where_they_differ(method: bytes) -> None:
    """POST differs at its second byte; PROPFIND goes along for three."""
    same = next(size for size in range(6) if not b"PROXY ".startswith(method[: size + 1]))
    assert read_header(method[:same]) is None
    assert outcome(method[: same + 1]) == "refused"


@pytest.mark.parametrize("blank", [b"\r\n\r\nGET /", b"\r\nGET /", b"\r\n\r\n\0\r\nQUIT\r\n"])
def test_empty_lines_are_no_signature(blank: bytes) -> None:
    """The binary signature begins like two empty lines, which HTTP clients do send."""
    same = next(size for size in range(13) if not SIGNATURE.startswith(blank[: size + 1]))
    assert read_header(blank[:same]) is None
    assert outcome(blank[: same + 1]) == "refused"


VALID_FIRST = {0: b"P\r", 6: b"TU", 9: b"46"}


@given(st.integers(0, 10), st.integers(0, 255))
def test_the_first_wrong_byte_of_a_line_s_beginning_is_enough(at: int, byte: int) -> None:
    """``PROXY TCP5`` is known to be none before its addresses come."""
    good = b"PROXY TCP4 "
    allowed = VALID_FIRST.get(at, good[at : at + 1])
    assert (outcome(good[:at] + bytes([byte])) == "refused") is (byte not in allowed)


@given(st.integers(0, 13), st.integers(0, 255))
def test_the_first_wrong_byte_of_a_block_is_enough(at: int, byte: int) -> None:
    """Signature, version and command, family and transport: each is judged when it comes."""
    good = v2(PROXY, TCP4, SOMEONE)
    allowed = {
        0: set(b"P\r"),
        12: {LOCAL, PROXY},
        13: {16 * family + transport for family in range(4) for transport in range(3)},
    }.get(at, {good[at]})
    assert (outcome(good[:at] + bytes([byte])) == "refused") is (byte not in allowed)


def test_a_long_stranger_is_shown_in_a_few_bytes() -> None:
    """The log line has enough to recognise it by, and no more."""
    with pytest.raises(ProxyProtocolError) as caught:
        read_header(b"GET /a-secret-in-a-long-path HTTP/1.1\r\n")
    assert "but b'GET /a-secret-in-a-long-'... came" in str(caught.value)
    with pytest.raises(ProxyProtocolError, match=r"but b'GET ' came"):
        read_header(b"GET ")


# ---- version 1 -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "header"),
    [
        (
            b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
            ProxyHeader(("192.168.0.1", 56324), ("192.168.0.11", 443)),
        ),
        (
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            ProxyHeader(("255.255.255.255", 65535), ("255.255.255.255", 65535)),
        ),
        (
            b"PROXY TCP6 " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n",
            ProxyHeader(("ffff:" * 7 + "ffff", 65535), ("ffff:" * 7 + "ffff", 65535)),
        ),
        (b"PROXY TCP6 2001:DB8:0:0:0:0:0:1 :: 0 1\r\n", ProxyHeader(("2001:db8::1", 0), ("::", 1))),
        (b"PROXY UNKNOWN\r\n", UNTOLD),
        (b"PROXY UNKNOWN " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535\r\n", UNTOLD),
    ],
)
def test_the_lines_of_the_specification_are_read(line: bytes, header: ProxyHeader) -> None:
    """Its example and its four longest and shortest lines; IPv6 is given its usual spelling."""
    assert read_header(line + b"GET / HTTP/1.1\r\n") == (header, len(line))


def test_leading_zeros_are_refused_where_the_system_would_forgive_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To one reader 192.0.2.010 ends in ten, to another in eight; access rules must not depend on it."""
    monkeypatch.setattr(socket, "inet_pton", lambda family, text: bytes(map(int, text.split("."))))
    assert outcome(b"PROXY TCP4 192.0.2.10 192.0.2.2 1 2\r\n") != "refused"
    assert outcome(b"PROXY TCP4 192.0.2.010 192.0.2.2 1 2\r\n") == "refused"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("TCP4  192.0.2.1 192.0.2.2 1 2", "one space"),
        ("TCP4 192.0.2.1  192.0.2.2 1 2", "one space"),
        ("TCP4 192.0.2.1 192.0.2.2 1 2 ", "one space"),
        ("TCP4 192.0.2.1 192.0.2.2 1", "two ports"),
        ("TCP4 192.0.2.1 192.0.2.2 1 2 3", "two ports"),
        ("TCP4 ", "two addresses"),
        ("TCP4 192.0.2.1 192.0.2.2 01 2", "leading zeros"),
        ("TCP4 192.0.2.1 192.0.2.2 1 00", "leading zeros"),
        ("TCP4 192.0.2.1 192.0.2.2 65536 2", "at most 65535"),
        ("TCP4 192.0.2.1 192.0.2.2 1 99999", "at most 65535"),
        ("TCP4 192.0.2.1 192.0.2.2 1 100000", "two ports"),
        ("TCP4 192.0.2.1 192.0.2.2 1 2a", "two ports"),
        ("TCP4 192.0.2.1 192.0.2.2 -1 2", "no b'-' in"),
        ("TCP4 192.0.2.1 192.0.2.2 +1 2", r"no b'\+' in"),
        ("TCP4 192.0.2.1 192.0.2.2 1\t2", "no b'.*t' in"),
        ("TCP4 192.0.2.1 192.0.2.2 1 \u0662", "no b'.*' in"),
        ("TCP4 192.0.2.01 192.0.2.2 1 2", "names IPv4 addresses"),
        ("TCP4 192.0.2.256 192.0.2.2 1 2", "names IPv4 addresses"),
        ("TCP4 192.0.2 192.0.2.2 1 2", "names IPv4 addresses"),
        ("TCP4 192.0.2.1 2001:db8::1 1 2", "TCP4 line names IPv4 addresses"),
        ("TCP6 192.0.2.1 2001:db8::1 1 2", "TCP6 line names IPv6 addresses"),
        ("TCP6 2001:db8::1 192.0.2.1 1 2", "TCP6 line names IPv6 addresses"),
        ("TCP6 1::2::3 ::1 1 2", "names IPv6 addresses"),
        ("TCP6 1:2:3:4:5:6:7 ::1 1 2", "names IPv6 addresses"),
        ("TCP6 12345::1 ::1 1 2", "names IPv6 addresses"),
        ("TCP6 fe80::1%eth0 ::1 1 2", "no b'%' in"),
        ("TCP6 [::1] ::1 1 2", r"no b'\[' in"),
        ("UNKNOWNS", "header was wanted"),
        ("TCP5 192.0.2.1 192.0.2.2 1 2", "header was wanted"),
        ("tcp4 192.0.2.1 192.0.2.2 1 2", "header was wanted"),
        ("UDP4 192.0.2.1 192.0.2.2 1 2", "header was wanted"),
    ],
)
def test_a_line_off_the_grammar_is_refused_and_shown(line: str, said: str) -> None:
    """One space each, no leading zeros, the family the keyword names, ports that exist."""
    with pytest.raises(ProxyProtocolError, match=said):
        read_header(f"PROXY {line}\r\n".encode())


@pytest.mark.parametrize(
    "start", [b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2", b"PROXY UNKNOWN", b"PROXY UNKNOWN "]
)
@pytest.mark.parametrize("end", [b"\n", b"\rG", b"\r\r\n", b"\r\0"])
def test_half_a_line_end_is_none(start: bytes, end: bytes) -> None:
    """A lone CR or LF must not be tolerated; what `echo` sends is told apart from what is still to come."""
    assert outcome(start + end) == "refused"
    assert read_header(start + b"\r") is None
    assert read_header(start + b"\r\n") is not None


@pytest.mark.parametrize("start", [b"PROXY TCP6 ", b"PROXY UNKNOWN "])
def test_a_line_ends_within_107_bytes(start: bytes) -> None:
    """It is refused when there is room for CR and LF no more, not when the limit is passed."""
    assert read_header(start.ljust(105, b"0")) is None
    assert read_header(start.ljust(105, b"0") + b"\r") is None
    assert outcome(start.ljust(106, b"0")) == "refused"
    assert read_header(b"PROXY UNKNOWN ".ljust(105, b"0") + b"\r\n") == (UNTOLD, 107)
    assert outcome(b"PROXY UNKNOWN ".ljust(106, b"0") + b"\r\n") == "refused"


def test_what_stands_in_no_address_is_refused_before_the_line_ends() -> None:
    """The rest of such a line need not come."""
    assert read_header(b"PROXY TCP4 192.0.2.1") is None
    assert outcome(b"PROXY TCP4 192.0.2.1/") == "refused"


# ---- version 2 -------------------------------------------------------------------------------


def test_a_local_connection_is_the_proxy_s_own_whatever_its_block_says() -> None:
    """Health checks: family and block, sound or not, are skipped by their length."""
    assert read_header(v2(LOCAL, UNSPEC)) == (UNTOLD, 16)
    assert read_header(v2(LOCAL, TCP4, SOMEONE) + b"x") == (UNTOLD, 28)
    assert read_header(v2(LOCAL, 0xFF, b"\1\xff\xff\0")) == (UNTOLD, 20)


@pytest.mark.parametrize("kind", [UNSPEC, 0x01, 0x10, 0x20, 0x30])
def test_what_the_proxy_could_not_specify_is_skipped(kind: int) -> None:
    """An unspecified family or transport: the connection is served with the socket's addresses."""
    block = SOMEONE + bytes(300)
    assert read_header(v2(PROXY, kind, block)) == (UNTOLD, 16 + len(block))


@pytest.mark.parametrize(("command", "shown"), [(0x22, "22"), (0x2F, "2f"), (0x11, "11"), (0x31, "31")])
def test_other_versions_and_commands_are_refused(command: int, shown: str) -> None:
    """Version 2 is the only one of its form, and unassigned commands must be dropped."""
    with pytest.raises(ProxyProtocolError, match=f"0x21 .PROXY., but 0x{shown} came"):
        read_header(v2(command, TCP4, SOMEONE))


@pytest.mark.parametrize(("kind", "said"), [(0x41, "4 and 1"), (0x13, "1 and 3"), (0xFF, "15 and 15")])
def test_other_families_and_transports_are_refused(kind: int, said: str) -> None:
    """The error tells both halves of the byte as numbers."""
    with pytest.raises(ProxyProtocolError, match=f"but {said} came"):
        read_header(v2(PROXY, kind, SOMEONE))


@pytest.mark.parametrize(("kind", "size"), [(TCP4, 12), (UDP4, 12), (TCP6, 36), (UDP6, 36), (UNIX, 216)])
def test_a_block_too_short_for_its_addresses_is_refused_before_it_comes(kind: int, size: int) -> None:
    """The length says so already; nobody waits for the rest."""
    assert read_header(v2(PROXY, kind, bytes(size))) is not None
    with pytest.raises(
        ProxyProtocolError, match=f"of {16 + size} to 4096 bytes .* but one of {15 + size} came"
    ):
        read_header(v2(PROXY, kind, bytes(size - 1))[:16])


@pytest.mark.parametrize("command", [LOCAL, PROXY])
def test_a_header_beyond_the_limit_is_refused_before_it_comes(command: int) -> None:
    """Up to 65,551 bytes can be announced; a sender that keeps to the rules has no use for them."""
    longest = v2(command, UNSPEC, bytes(MAX_HEADER - 16))
    assert read_header(longest) == (UNTOLD, MAX_HEADER)
    with pytest.raises(ProxyProtocolError, match="to 4096 bytes was wanted, but one of 4097 came"):
        read_header(v2(command, UNSPEC, bytes(MAX_HEADER - 15))[:16])


def test_unix_paths_end_at_their_nul_and_abstract_names_begin_with_one() -> None:
    """All 108 bytes may be used, without a NUL; a client without a name has none."""
    longest = b"/" + b"x" * 107
    for raw, shown in [
        (b"/run/app.sock\0garbage", "/run/app.sock"),
        (b"\0abstract", "@abstract"),
        (b"", ""),
        (longest, longest.decode()),
        (b"\0" + longest[:107], "@" + longest[:107].decode()),
        (b"/not-utf8-\xff", "/not-utf8-\udcff"),
    ]:
        block = raw.ljust(108, b"\0") + b"/destination".ljust(108, b"\0")
        assert read_header(v2(PROXY, UNIX, block)) == (ProxyHeader(shown, "/destination"), 232)


def test_an_ipv4_address_in_ipv6_is_spelt_as_the_socket_module_spells_it() -> None:
    """Both versions and the socket's own peer address agree, on every Python."""
    mapped = packed(("::ffff:192.0.2.1", 1), ("::1", 2))
    header = ProxyHeader(("::ffff:192.0.2.1", 1), ("::1", 2))
    assert read_header(v2(PROXY, TCP6, mapped)) == (header, 52)
    line = b"PROXY TCP6 ::ffff:c000:201 ::1 1 2\r\n"
    assert read_header(line) == (header, len(line))


@pytest.mark.parametrize("broken", [b"\1", b"\1\0", b"\1\0\1", b"\1\0\3h2", b"\1\0\2h2\4", b"\4\xff\xff"])
def test_tlvs_that_do_not_fill_their_block_are_refused(broken: bytes) -> None:
    """Half a TLV is no TLV; the bytes after the header are the client's and are never taken for it."""
    with pytest.raises(ProxyProtocolError, match="the last TLV of a PROXY header ends with it"):
        read_header(v2(PROXY, TCP4, SOMEONE + broken) + bytes(100))


def test_what_the_client_asked_for_can_be_read_by_name() -> None:
    """Host name and protocol, as the client chose them: text that never fails to be read."""
    found = read_header(
        v2(PROXY, TCP4, SOMEONE + tlv(1, b"h2") + tlv(4, b"padding") + tlv(2, b"b\xc3\xbc.example"))
    )
    assert found is not None
    assert (found[0].alpn, found[0].authority) == ("h2", "bü.example")
    assert found[0].tlvs == ((1, b"h2"), (2, b"b\xc3\xbc.example"))
    found = read_header(v2(PROXY, TCP4, SOMEONE + tlv(2, b"\xff")))
    assert found is not None
    assert (found[0].alpn, found[0].authority) == (None, "\ufffd")


@pytest.mark.parametrize("at", [*range(16, 28), *range(31, 35), *range(38, 61), *range(64, 100)])
def test_a_header_that_was_changed_on_its_way_fails_its_checksum(at: int) -> None:
    """Any bit of its addresses, of its TLVs' values and of the checksum itself."""
    for bit in range(8):
        changed = bytearray(AWS_FIRST)
        changed[at] ^= 1 << bit
        with pytest.raises(ProxyProtocolError, match="was it changed on its way"):
            read_header(changed)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (tlv(3, bytes(3)), "but 1 came, the first of 3 bytes"),
        (tlv(3, bytes(5)), "but 1 came, the first of 5 bytes"),
        (tlv(3, bytes(4)) * 2, "but 2 came, the first of 4 bytes"),
        (tlv(3, bytes(4)), "checksum [0-9a-f]{8} was wanted, but it says 00000000"),
    ],
)
def test_a_checksum_is_one_of_four_bytes(more: bytes, said: str) -> None:
    """Many would be work for nothing, and which of them held could not be said."""
    with pytest.raises(ProxyProtocolError, match=said):
        read_header(v2(PROXY, TCP4, SOMEONE + more))
