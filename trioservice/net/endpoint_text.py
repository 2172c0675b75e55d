r"""The text of endpoints: how a line becomes a description and a description a line, whatever the kinds are.

A text is a kind and its arguments, separated by ``:``, each by position or as ``key=value``; ``\``
quotes the character after it.  That is Twisted's language.  What it knows of no kind is here,
what the kinds are is in :mod:`trioservice.net.endpoints`.

Each kind is a frozen dataclass, and the dataclass is the whole definition: its fields are the
arguments, and the :class:`Form` of each field says how it is written, read and checked.  So a
description made in Python is checked as strictly as a text, and reading and writing are each
other's inverse: ``read(str(endpoint)) == endpoint``, always.

Twisted's own reader is mended in four places.  :func:`~trioservice.net.endpoints.quote` quotes
``=`` as well, without which a path like ``/run/a=b`` was a keyword.  A key may be spelt
``privateKey``, ``private_key`` or ``private-key``.  Numbers are digits, and not whatever
``int()`` takes.  And there is one error, :class:`EndpointError`, that points at the part that is wrong.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, NoReturn, TypeAlias, TypeVar

from ..errors import ServiceError
from ..records import record

if typing.TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["ENTRY_POINTS", "Argument", "Endpoint", "EndpointError", "Form", "arguments_of", "quote", "read"]

#: The group of entry points by which a package offers kinds of its own.  The entry's name is the
#: kind, its value the class, or a tuple of classes if clients and servers know the kind.  The kinds
#: of trioservice cannot be replaced.
ENTRY_POINTS = "trioservice.endpoints"

E = TypeVar("E", bound="Endpoint")


class EndpointError(ServiceError, ValueError):
    """A text is no endpoint.  ``str()`` shows the text, points at the part that is wrong, and suggests.

    Args:
        text: the whole text.
        start: where in it the wrong part begins.
        length: of the wrong part; 0 for something that is missing there.
        complaint: what is wrong and the likely mend, as one sentence.
    """

    def __init__(self, text: str, start: int, length: int, complaint: str) -> None:
        super().__init__(text, start, length, complaint)
        self.text = text
        self.start = start
        self.length = length
        self.complaint = "".join(map(_visible, complaint))

    def __str__(self) -> str:
        shown = [_visible(character) for character in self.text]
        before = sum(map(_width, shown[: self.start]))
        within = sum(map(_width, shown[self.start : self.start + self.length]))
        return f"{self.complaint}\n    {''.join(shown)}\n    {' ' * before}^{'~' * (within - 1)}"


def _visible(character: str) -> str:
    r"""A line break or a tab would move the text away from the caret, so they are shown as ``\n``, ``\t``."""
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def _width(shown: str) -> int:
    """How many columns of a terminal it takes: two for Chinese, none for an accent that joins the letter."""
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in shown)


# ---- what a kind is made of -------------------------------------------------------------------


class Form(NamedTuple):
    """One way to write a value.

    Args:
        wanted: what it has to be, for error messages: "a number from 0 to 65535".
        is_one: whether a value is one.  It is asked of anything, also of values of another type.
        read: text to value; what it raises as ValueError or LookupError, or gives that is not one, is a
            mistake of the writer.
        show: value to text.  ``read(show(value)) == value`` for every value that is one.
        mend: what to say further of a value that is not one; nothing by default.
        role: the value is an endpoint of this role; *read* and *show* are not used then.
        rest: that endpoint is not quoted: it is what follows the other arguments, up to the end.
    """

    wanted: str
    is_one: Callable[[Any], bool]
    read: Callable[[str], Any] = str
    show: Callable[[Any], str] = str
    mend: Callable[[Any], str] = lambda value: ""
    role: type[Endpoint] | None = None
    rest: bool = False

    def complaint(self, name: str, came: object, value: object) -> str:
        """One sentence on a *value* that is not one, and that *came* so."""
        mend = self.mend(value)
        return f"{name} is {self.wanted}, not {came!r}" + (mend and f"; {mend}")


class Argument(NamedTuple):
    """One argument of a kind, made from one field of its dataclass.

    Args:
        name: of the field, ``private_key``.
        form: how it is written.
        default: what it is if left out; ``dataclasses.MISSING`` if it must be given.
    """

    name: str
    form: Form
    default: Any

    @property
    def key(self) -> str:
        """How it is called in text, in Twisted's manner, ``privateKey``."""
        first, *others = self.name.split("_")
        return first + "".join(map(str.capitalize, others))

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is dataclasses.MISSING

    def accepts(self, value: object) -> bool:
        """Whether the field may hold *value*."""
        return (value is None and self.default is None) or self.form.is_one(value)


def arguments_of(kind: type[Any]) -> Sequence[Argument]:
    """The arguments of a kind by position: those that must be given, what follows, those with a default.

    Raises:
        TypeError: *kind* is no dataclass, or a field has no :class:`Form`.
    """
    hashable: Any = kind  # mypy takes a class's __hash__ for that of its instances
    return _arguments_of(hashable)


@functools.cache
def _arguments_of(kind: type[Any]) -> Sequence[Argument]:
    hints = typing.get_type_hints(kind, include_extras=True)
    found = [
        Argument(field.name, _form_of(kind, field.name, hints[field.name]), _default_of(field))
        for field in dataclasses.fields(kind)
        if field.init
    ]
    return sorted(found, key=lambda argument: (not argument.required, argument.form.rest))


def _form_of(kind: type[Any], name: str, hint: Any) -> Form:
    """The form in ``Annotated[..., form]``, or in that ``| None``."""
    for part in (hint, *typing.get_args(hint)):
        for extra in getattr(part, "__metadata__", ()):
            if isinstance(extra, Form):
                return extra
    raise TypeError(
        f"{kind.__name__}.{name} has no form, so no text can be read for it; annotate it with one, "
        "for example trioservice.net.endpoints.Port"
    )


def _default_of(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


class Endpoint:
    """The base of all descriptions.  ``str()`` is the text that describes the same endpoint.

    Raises:
        ValueError: a field is not of its form; said when the description is made.
    """

    #: What the text begins with.
    kind: ClassVar[str]
    #: What an endpoint of this role is for, to end the sentence "something ...".
    purpose: ClassVar[str]
    #: Arguments that Twisted's kind takes and this one does not, and the mend.
    gone: ClassVar[Mapping[str, str]] = {}

    def __str__(self) -> str:
        return _write(self)

    def __post_init__(self) -> None:
        for argument in arguments_of(type(self)):
            value = getattr(self, argument.name)
            if not argument.accepts(value):
                raise ValueError(argument.form.complaint(argument.name, value, value))
            if argument.form.rest and type(self) in _chain(value):
                raise ValueError(_twice(type(self)))


def _chain(endpoint: Endpoint) -> Iterator[type[Endpoint]]:
    """The kinds in ``haproxy:tcp:8080``, from left to right."""
    yield type(endpoint)
    for argument in arguments_of(type(endpoint)):
        if argument.form.rest:
            yield from _chain(getattr(endpoint, argument.name))


def _twice(kind: type[Endpoint]) -> str:
    return f"{kind.kind} stands before {kind.kind}; once is enough"


# ---- to text ----------------------------------------------------------------------------------


def quote(text: str) -> str:
    r"""Quote *text* so that it stands for itself as one argument of an endpoint.

    ::

        server_endpoint(f"unix:{quote(path)}:mode=660")
        quote("::1")  # r"\:\:1"
    """
    return "".join("\\" + character if character in "\\:=" else character for character in text)


def _write(endpoint: Endpoint) -> str:
    required, chosen, rest = [], [], []
    for argument in arguments_of(type(endpoint)):
        value, form = getattr(endpoint, argument.name), argument.form
        if form.rest:
            rest.append(str(value))
        elif argument.required:
            required.append(_shown(form, value))
        elif value != argument.default:
            chosen.append(f"{argument.key}={_shown(form, value)}")
    parts = [quote(endpoint.kind), *required, *chosen, *rest]
    return ":".join(parts) if len(parts) > 1 else f"{parts[0]}:"


def _shown(form: Form, value: Any) -> str:
    return quote(str(value) if form.role is not None else form.show(value))


# ---- from text --------------------------------------------------------------------------------

#: The kinds that are known without asking other packages, by role.
Kinds: TypeAlias = Mapping[type[Endpoint], Sequence[type[Endpoint]]]


def read(text: str, role: type[E], kinds: Kinds) -> E:
    """The endpoint of a role that *text* describes.

    Args:
        text: as an operator wrote it.
        role: what it shall be good for.
        kinds: those that are known; others are looked for among :data:`ENTRY_POINTS`.

    Raises:
        EndpointError: the text is none; it points at the wrong part.
        TypeError: it is not even a text.
    """
    if not isinstance(text, str):
        raise TypeError(f"an endpoint is a text like 'tcp:8080', or a description, not {text!r}")
    parts = list(_split(text))
    try:
        endpoint = _Reader(text, kinds).build(parts, role, ())
    except EndpointError as error:
        # Looked for after a failure only, so that it never stands in the way of what can be read.
        _blame_unquoted_ipv6(text, parts, error)
        raise
    return typing.cast("E", endpoint)


class _Part(NamedTuple):
    """One part of a text between colons, without its quoting."""

    start: int  # in the whole text, like all places
    end: int
    key: str | None
    value: str
    places: Sequence[int]  # where each character of the value stands, and where the value ends


def _split(text: str) -> Iterator[_Part]:
    """Take *text* apart at its colons, and each part at its first ``=``, and remove the quoting."""
    start, key = 0, None
    value: list[tuple[str, int]] = []
    characters = iter(enumerate(text))

    def part(end: int) -> _Part:
        return _Part(start, end, key, _joined(value), [*(place for _, place in value), end])

    for place, character in characters:
        if character == "\\":
            _, quoted = next(characters, (0, ""))
            if not quoted:
                raise EndpointError(
                    text,
                    place,
                    1,
                    r"a \ quotes the character after it, but here is none; write \\ for itself",
                )
            value.append((quoted, place))
        elif character == ":":
            yield part(place)
            start, key, value = place + 1, None, []
        elif character == "=" and key is None:
            key, value = _joined(value), []
        else:
            value.append((character, place))
    yield part(len(text))


def _joined(value: list[tuple[str, int]]) -> str:
    return "".join(character for character, _ in value)


@record
class _Reader:
    """Builds descriptions from the parts of one text."""

    text: str
    kinds: Kinds

    def build(
        self, parts: Sequence[_Part], role: type[Endpoint], around: tuple[type[Endpoint], ...]
    ) -> Endpoint:
        """What *parts* describe, where kinds *around* stand before it."""
        head, *rest = parts
        kind = self.kind(head, role)
        if kind in around:
            self.fail(head.start, head.end, _twice(kind))
        arguments = arguments_of(kind)
        if [(part.start, part.key) for part in rest] == [(len(self.text), None)] and not any(
            argument.required for argument in arguments
        ):
            rest = []  # "stdio:" has no arguments; its colon tells that it is a kind
        values: dict[str, Any] = {}
        positions = iter(arguments)
        for number, part in enumerate(rest):
            argument = (
                self.by_position(kind, positions, part) if part.key is None else self.by_key(kind, part)
            )
            if argument.name in values:
                self.fail(part.start, part.end, f"{argument.key} is given twice" + _by_position(part))
            if argument.form.rest and argument.form.role:
                values[argument.name] = self.build(rest[number:], argument.form.role, (*around, kind))
                break
            values[argument.name] = self.value(argument, part)
        return self.made(kind, values, head)

    def fail(self, start: int, end: int, complaint: str) -> NoReturn:
        raise EndpointError(self.text, start, end - start, complaint)

    # -- the kind

    def kind(self, head: _Part, role: type[Endpoint]) -> type[Endpoint]:
        """The class for the kind that an endpoint begins with."""
        known = {kind.kind: kind for kind in self.kinds[role]}
        if head.key is not None:
            mend = f"a colon follows the kind, as in {head.key}:" if head.key in known else _there_are(known)
            self.fail(head.start, head.end, f"an endpoint begins with its kind; {mend}")
        found = known.get(head.value) or self.announced(head, role)
        if found is None:
            self.fail(head.start, head.end, self.unknown_kind(head, role, known))
        return found

    def announced(self, head: _Part, role: type[Endpoint]) -> type[Endpoint] | None:
        """A kind that a package offers by an entry point."""
        from importlib.metadata import entry_points

        offered: list[type[Endpoint]] = []
        for entry in entry_points(group=ENTRY_POINTS, name=head.value):
            try:
                offered += _offered(entry)
            except Exception as error:
                package = f" of {entry.dist.name}" if entry.dist is not None else ""
                complaint = f"the entry point {entry.name} = {entry.value}{package} is broken: {error!r}"
                raise EndpointError(self.text, head.start, head.end - head.start, complaint) from error
        fitting = [kind for kind in offered if issubclass(kind, role)]
        if offered and not fitting:
            self.fail(head.start, head.end, _of_another_role(head.value, offered[0].purpose, role))
        return fitting[0] if fitting else None

    def unknown_kind(self, head: _Part, role: type[Endpoint], known: Mapping[str, object]) -> str:
        from importlib.metadata import entry_points

        for other, kinds in self.kinds.items():
            if head.value in {kind.kind for kind in kinds}:
                return f"{_of_another_role(head.value, other.purpose, role)}; {_there_are(known)}"
        names = [*known, *sorted(entry_points(group=ENTRY_POINTS).names)]
        mends = [_suggest(head.value, names), self.guess(role) if head.start == 0 else "", _there_are(names)]
        if not head.value.isalnum():  # more like a path or an address than like a kind with a slip
            mends[:2] = reversed(mends[:2])
        came = f"{head.value!r} is no kind of endpoint" if head.value else "an endpoint begins with its kind"
        return f"{came}; {next(filter(None, mends))}"

    def guess(self, role: type[Endpoint]) -> str:
        """What is meant by a text without a kind: ``8080``, ``localhost:80``, ``[::1]:80``, ``/run/x``."""
        for guess in _with_a_kind(self.text):
            try:
                read(guess, role, self.kinds)
            except EndpointError:
                continue
            return f"did you mean {guess}?"
        return ""

    # -- the arguments

    def by_position(self, kind: type[Endpoint], positions: Iterator[Argument], part: _Part) -> Argument:
        argument = next(positions, None)
        if argument is None:
            most = len(arguments_of(kind))
            self.fail(
                part.start, part.end, f"{kind.kind} takes {f'at most {most}' if most else 'no'} arguments"
            )
        return argument

    def by_key(self, kind: type[Endpoint], part: _Part) -> Argument:
        key = part.key or ""
        keyed = [argument for argument in arguments_of(kind) if not argument.form.rest]
        for argument in keyed:
            if _plain(argument.name) == _plain(key):
                return argument
        keys = [argument.key for argument in keyed]
        mend = (
            kind.gone.get(_plain(key))
            or _suggest(key, keys)
            or f"it takes {', '.join(keys) or 'no arguments'}"
        )
        if "/" in key:
            mend += r"; an = in a path is written \="
        self.fail(part.start, part.places[0] - 1, f"{kind.kind} has no argument {key!r}; {mend}")

    def value(self, argument: Argument, part: _Part) -> Any:
        if argument.form.role is not None:
            return self.nested(argument.form.role, part)
        value: Any = part.value
        try:
            value = argument.form.read(part.value)
            is_one = argument.form.is_one(value)
        except (ValueError, LookupError):
            is_one = False
        if not is_one:
            self.fail(part.places[0], part.end, argument.form.complaint(argument.key, part.value, value))
        return value

    def nested(self, role: type[Endpoint], part: _Part) -> Endpoint:
        """An endpoint within the endpoint; what is wrong there is pointed at in the whole text."""
        try:
            return read(part.value, role, self.kinds)
        except EndpointError as error:
            start, end = part.places[error.start], part.places[error.start + error.length]
            raise EndpointError(self.text, start, end - start, error.complaint) from error.__cause__

    def made(self, kind: type[Endpoint], values: Mapping[str, Any], head: _Part) -> Endpoint:
        for argument in arguments_of(kind):
            if argument.required and argument.name not in values:
                wanted = f"{argument.key}: {argument.form.wanted}"
                if argument.form.rest and argument.form.role:
                    example = self.kinds[argument.form.role][0].kind
                    wanted = f"an endpoint after it, as in {kind.kind}:{example}:..."
                self.fail(len(self.text), len(self.text), f"{kind.kind} needs {wanted}")
        try:
            return kind(**values)
        except ValueError as error:  # the parts are well, but not together
            raise EndpointError(self.text, head.start, len(self.text) - head.start, str(error)) from None


def _offered(entry: EntryPoint) -> Sequence[type[Endpoint]]:
    """The kinds that an entry point names, if all is well with them."""
    loaded = entry.load()
    kinds = loaded if isinstance(loaded, tuple) else (loaded,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Endpoint) and hasattr(kind, "purpose")):
            raise TypeError(
                f"{kind!r} is no class that derives from a role, for example StreamServerEndpoint"
            )
        if getattr(kind, "kind", None) != entry.name:
            raise TypeError(
                f"{kind.__name__}.kind is not {entry.name!r}, so its texts could not be read again"
            )
        arguments_of(kind)
    return kinds


def _of_another_role(name: str, purpose: str, role: type[Endpoint]) -> str:
    return f"{name} is something {purpose}, but wanted is something {role.purpose}"


def _there_are(names: typing.Iterable[str]) -> str:
    return f"there are {', '.join(names)}"


def _by_position(part: _Part) -> str:
    return ", by its key and here by its position" if part.key is None else ""


def _plain(key: str) -> str:
    """``privateKey``, ``private_key`` and ``private-key`` are the same."""
    return key.replace("_", "").replace("-", "").lower()


def _suggest(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(_plain(name), list(map(_plain, known)), 1)
    return f"did you mean {next(entry for entry in known if _plain(entry) == close[0])}?" if close else ""


def _with_a_kind(text: str) -> Iterator[str]:
    if "/" in text or text.startswith("@"):
        yield from (f"unix:{text}", f"unix-datagram:{text}")
    host, _, port = text.rpartition(":")
    host = quote(host.strip("[]"))
    for kind in ("tcp", "udp"):
        if host in ("", "*"):
            yield f"{kind}:{port}"
        else:
            yield from (f"{kind}:{host}:{port}", f"{kind}:{port}:interface={host}")


# ---- IPv6 addresses, the one mistake that everybody makes ---------------------------------------


def _blame_unquoted_ipv6(text: str, parts: Sequence[_Part], error: EndpointError) -> None:
    """Raise a better error if the mistake lies within an IPv6 address that has lost its colons."""
    found = []
    for number, part in enumerate(parts[1:], 1):
        start = part.places[0]
        ends = [other.end for other in parts[number + 2 : number + 9]]  # two colons at least, eight at most
        ends = [end for end in ends if start <= error.start <= end and _is_ipv6(text[start:end])]
        if part.key is None and len(ends) > 1 and ends[-1] == len(text):
            ends.pop()  # tcp:::1:80 could be an address as a whole, but then the port would be missing
        found += [(end, -start) for end in ends]
    if found:
        end, start = max(found)[0], -max(found)[1]
        quoted = quote(_bare(text[start:end]))
        mend = f"colons separate arguments; those within an IPv6 address are quoted: {quoted}"
        raise EndpointError(text, start, end - start, mend) from None


def _bare(text: str) -> str:
    return text.replace("[", "").replace("]", "")


def _is_ipv6(text: str) -> bool:
    """Whether *text* is an IPv6 address, or a list of addresses with one among them."""
    from ipaddress import IPv6Interface

    found = False
    for part in text.split(","):
        if ":" in part:
            try:
                IPv6Interface(_bare(part))
            except ValueError:
                return False
            found = True
    return found
