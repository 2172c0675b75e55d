"""Names in their wire form: labels, each after its length, and at the end the empty one (RFC 1035, 3.1).

A name is compared without regard to case, and bytes are quick to compare, so a name that is looked up
is the bytes of its wire form in lower case.  No length of a label, 63 at most, is a capital letter, so
``bytes.lower()`` does the whole of it.

Pure: nothing here waits, or knows of a socket.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["ROOT", "MalformedError", "ancestors", "end_of_name", "end_of_plain_name", "from_text"]

ROOT = b"\0"  #: the name of the root

_LONGEST = 255  # bytes, with the empty label (RFC 1035, 2.3.4)
_POINTER = 0xC0


class MalformedError(ValueError):
    """A message, or a name, that is not what the RFCs allow."""


def from_text(text: str) -> bytes:
    """The wire form of a name as people write it, in lower case.

    Args:
        text: such as ``example.org`` or ``example.org.``; letters beyond ASCII are written as IDNA has them.

    Raises:
        MalformedError: it cannot be a name: a label is empty or longer than 63 bytes, all of it than 255.
    """
    if text in ("", "."):
        return ROOT
    try:
        labels = [_label(label) for label in text.removesuffix(".").split(".")]
    except UnicodeError:
        raise MalformedError(f"{text!r} is no name: letters, digits, - and _, in parts of 1 to 63") from None
    wire = b"".join(bytes([len(label)]) + label for label in labels) + ROOT
    if len(wire) > _LONGEST:
        raise MalformedError(f"{text!r} is no name: it has more than {_LONGEST} bytes")
    return wire.lower()


def _label(label: str) -> bytes:
    encoded = label.encode("ascii" if label.isascii() else "idna")
    if not 1 <= len(encoded) <= 63:
        raise UnicodeError(label)
    return encoded


def ancestors(name: bytes) -> Iterator[bytes]:
    """The name itself, the one above it, and so on to the root."""
    start = 0
    while length := name[start]:
        yield name[start:]
        start += 1 + length
    yield ROOT


def end_of_plain_name(message: bytes, start: int) -> int:
    """Where the name that begins at *start* ends, if it is written out in full.

    Raises:
        MalformedError: it is not, or is too long, or the message ends within it.
    """
    here = start
    try:
        while length := message[here]:
            if length > 63:
                raise MalformedError("a name that is not written out")
            here += 1 + length
    except IndexError:
        raise MalformedError("the message ends within a name") from None
    if here - start >= _LONGEST:
        raise MalformedError(f"a name of more than {_LONGEST} bytes")
    return here + 1


def end_of_name(message: bytes, start: int) -> int:
    """Where what stands at *start* for a name ends: labels, or a pointer backwards (RFC 1035, 4.1.4).

    Raises:
        MalformedError: it is neither.
    """
    here = start
    try:
        while length := message[here]:
            if length >= _POINTER:
                if ((length & 0x3F) << 8 | message[here + 1]) >= start:
                    raise MalformedError("a name that points forwards")
                return here + 2
            if length > 63:
                raise MalformedError("a label of an unknown kind")
            here += 1 + length
    except IndexError:
        raise MalformedError("the message ends within a name") from None
    return here + 1
