"""TLS: certificates that can be loaded again, contexts, and the stream.

Python's ``ssl`` does the cryptography and :class:`trio.SSLStream` does the waiting.  What is
left, and done here, is what an operator meets:

*Certificates come from files, and the files change.*  :class:`Certificates` makes a whole new
context from them at each :meth:`~Certificates.load`, and puts it into place only when it is
complete.  A connection keeps the context it began with, so nothing that is open notices, and a
half-written file costs nothing but a line in the log.

*One server has many names.*  :class:`CertificateFolder` holds a certificate for each.  The name
a client asks for comes from the network, so it is looked up in a table that was made when the
folder was read, and never becomes a path.

*A refusal should say why.*  trio closes a connection whose handshake fails before the alert has
left; :class:`TLSStream` sends it, so that a client reads "protocol version" or "certificate
required" where it would have seen a connection that ends.

*The other end's last word.*  TLS ends with a ``close_notify``.  A connection that ends without
it was closed by a peer who does not bother, as many do, or was cut by somebody between, and
nobody can tell which.  So here it is an error, the connection's own and one line at level INFO:
whoever reads to the end can trust that it is the end.  Where the protocol above knows its own
end, as HTTP does, the context can be told to take it as the end; see ``require_close_notify``.
We ourselves always send it.
"""

from __future__ import annotations

import os
import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Literal, NoReturn, cast, overload

import trio

from ..errors import ServiceError
from ..records import record
from .addresses import Address
from .endpoints import SSLServerEndpoint, TLSServerEndpoint
from .streams import Connection

__all__ = [
    "CertificateError",
    "CertificateFiles",
    "CertificateFolder",
    "Certificates",
    "TLSStream",
    "certificates_of",
    "client_context",
    "verifies",
]

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

StrPath = str | os.PathLike[str]


class CertificateError(ServiceError, ValueError):
    """A certificate, its key or an authority cannot be used; ``str()`` names the file and the likely mend."""


class Certificates(ABC):
    """What a TLS server shows its clients, and what it asks of them.

    Derive from it to take certificates from elsewhere.
    """

    @property
    @abstractmethod
    def context(self) -> ssl.SSLContext:
        """For the next connection."""

    @abstractmethod
    def load(self) -> None:
        """Take what is there now; on failure all stays as it was.

        Raises:
            CertificateError: what is there cannot be used.
        """


# ---- the files of a server ----------------------------------------------------------------------


@record
class _Terms:
    """What all contexts of one server have in common."""

    client_ca: str | None
    alpn: tuple[str, ...]
    minimum_version: str
    require_close_notify: bool

    def __post_init__(self) -> None:
        if self.minimum_version not in _VERSIONS:
            raise ValueError(f"minimum_version is '1.2' or '1.3', not {self.minimum_version!r}")

    def context(self) -> ssl.SSLContext:
        """A context that has no certificate yet."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = _VERSIONS[self.minimum_version]
        if self.alpn:
            context.set_alpn_protocols(self.alpn)
        if self.client_ca is not None:
            _trust(context, self.client_ca, _authorities_in(self.client_ca))
            context.verify_mode = ssl.CERT_REQUIRED
        if not self.require_close_notify:
            context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        return context


class _FromFiles(Certificates):
    """What certificates from one file and from many have in common."""

    def __init__(
        self,
        client_ca: StrPath | None,
        alpn: Sequence[str],
        minimum_version: str,
        require_close_notify: bool,
    ) -> None:
        self._terms = _Terms(_absolute(client_ca), _protocols(alpn), minimum_version, require_close_notify)
        self._context: ssl.SSLContext | None = None

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection; the files are read now if they have not been yet."""
        if self._context is None:
            self.load()
        assert self._context is not None
        return self._context

    def load(self) -> None:
        """Read the files; if one of them cannot be used, all stays as it was.

        Raises:
            CertificateError: it names the file and the likely mend.
        """
        with _as_certificate_error():
            self._context = self._read()

    @abstractmethod
    def _read(self) -> ssl.SSLContext: ...


class CertificateFiles(_FromFiles):
    """One certificate, from files.

    ::

        SSLServer(443, handler, CertificateFiles("shop.pem", "shop.key"))

    Paths are taken from the folder that is current now, whatever it is when they are read again.

    Args:
        cert: file of the server's certificate, followed by those that lead to the root (PEM).
        key: file of its private key (PEM), without a password; by default *cert* holds it too.
        chain: file of further certificates on the way to the root, if *cert* does not hold them.
        client_ca: file of authorities (PEM); clients must then show a certificate from one of
            them, which is ``stream.getpeercert()``.
        alpn: protocols to offer, the preferred one first; the server's preference decides.
        minimum_version: of TLS, ``"1.2"`` or ``"1.3"``.
        require_close_notify: take it for an error if a client closes its connection without
            TLS's own end; ``False`` (from OpenSSL 3 on) takes it for the end.

    Raises:
        ValueError: a version or a protocol that cannot be one.
        TypeError: protocols that are no strings.
    """

    def __init__(
        self,
        cert: StrPath,
        key: StrPath | None = None,
        *,
        chain: StrPath | None = None,
        client_ca: StrPath | None = None,
        alpn: Sequence[str] = (),
        minimum_version: str = "1.2",
        require_close_notify: bool = True,
    ) -> None:
        super().__init__(client_ca, alpn, minimum_version, require_close_notify)
        self._cert, self._key, self._chain = _absolute(cert), _absolute(key), _absolute(chain)

    def _read(self) -> ssl.SSLContext:
        context = self._terms.context()
        _load_pair(context, self._cert, self._key, self._chain)
        return context


class CertificateFolder(_FromFiles):
    """A certificate for each name that clients ask for (SNI), from a folder of files.

    Each file holds a private key, its certificate, and those that lead to the root (PEM).  It
    is called by the name that it is for:

    - ``shop.example.pem`` for that name;
    - ``_.shop.example.pem`` for all names one label longer, as ``*.shop.example`` in a certificate;
    - ``default.pem`` for every other name, and for clients that ask for none.  Without it they
      are refused (alert ``unrecognized_name``).

    Capitals do not matter.  A name beyond ASCII may be written as it is spoken.  Files that do
    not end in ``.pem``, and hidden ones, are not looked at.

    Args:
        path: the folder.
        client_ca: as for :class:`CertificateFiles`, like the others; the same for all names.
        alpn: see *client_ca*.
        minimum_version: see *client_ca*.
        require_close_notify: see *client_ca*.

    Raises:
        ValueError: a version or a protocol that cannot be one.
        TypeError: protocols that are no strings.
    """

    def __init__(
        self,
        path: StrPath,
        *,
        client_ca: StrPath | None = None,
        alpn: Sequence[str] = (),
        minimum_version: str = "1.2",
        require_close_notify: bool = True,
    ) -> None:
        super().__init__(client_ca, alpn, minimum_version, require_close_notify)
        self._path = _absolute(path)

    def _read(self) -> ssl.SSLContext:
        contexts = {}
        for name, path in _files_by_name(self._path).items():
            contexts[name] = self._terms.context()
            _load_pair(contexts[name], path)
        # Until a client has said its name, a connection has this context; all that is asked of
        # clients must stand in it, for only the certificate changes with the name.
        front = contexts.get(_DEFAULT) or self._terms.context()
        # A name that is not ASCII is refused by Python itself, which complains on standard error.
        front.sslobject_class = _SSLObject
        front.sni_callback = _chooser(contexts)
        return front


class _Given(Certificates):
    """A context of the user's own, which is the user's to change."""

    def __init__(self, context: ssl.SSLContext) -> None:
        if context.protocol == ssl.PROTOCOL_TLS_CLIENT:
            raise ValueError(
                "ssl_context= is a context for clients; a server's is made by "
                "ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)"
            )
        self._context = context

    @property
    def context(self) -> ssl.SSLContext:
        """The user's."""
        return self._context

    def load(self) -> None:
        """There is nothing to read."""


def certificates_of(
    source: ssl.SSLContext | Certificates | SSLServerEndpoint | TLSServerEndpoint,
) -> Certificates:
    """What a server was given, whatever it was.

    Raises:
        ValueError: a context that servers cannot use.
        TypeError: nothing of that kind.
    """
    match source:
        case Certificates():
            return source
        case ssl.SSLContext():
            return _Given(source)
        case SSLServerEndpoint():
            cert = source.cert_key or source.private_key
            assert cert is not None
            return CertificateFiles(
                cert,
                source.private_key if source.cert_key else None,
                chain=source.extra_cert_chain,
                client_ca=source.client_ca,
                alpn=source.alpn,
                minimum_version=source.minimum_version,
            )
        case TLSServerEndpoint():
            return CertificateFolder(
                source.path,
                client_ca=source.client_ca,
                alpn=source.alpn,
                minimum_version=source.minimum_version,
            )
    raise TypeError(f"ssl_context= is Certificates or an ssl.SSLContext, not {source!r}")


# ---- clients ------------------------------------------------------------------------------------


def client_context(
    *,
    trust_roots: StrPath | None = None,
    cert: StrPath | None = None,
    key: StrPath | None = None,
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    """A context for clients; it verifies the server's certificate and name, and speaks TLS 1.2 or later.

    Args:
        trust_roots: file, or folder of ``.pem`` files, of the authorities to believe, and no
            others; by default the system's.
        cert: file of the client's own certificate (PEM), for servers that ask for one.
        key: file of its private key, if *cert* does not hold it.
        alpn: protocols to offer, the preferred one first.

    Raises:
        CertificateError: a file cannot be used; it names the file and the likely mend.
        ValueError: a protocol that cannot be one; a key without a certificate.
        TypeError: protocols that are no strings.
    """
    if key is not None and cert is None:
        raise ValueError("a key is of no use without its certificate; give cert= too")
    protocols, roots = _protocols(alpn), _absolute(trust_roots)
    with _as_certificate_error():
        context = _verifying(roots)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if protocols:
            context.set_alpn_protocols(protocols)
        if cert is not None:
            _load_pair(context, _absolute(cert), _absolute(key))
    return context


def _verifying(roots: str | None) -> ssl.SSLContext:
    if roots is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=_authorities_in(roots))
    except ssl.SSLError as error:
        raise _broken_authorities(roots, error) from None


def verifies(context: ssl.SSLContext) -> bool:
    """Whether a client with this *context* knows whom it speaks to: certificate and name are verified."""
    return context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname


# ---- the stream ---------------------------------------------------------------------------------


class TLSStream(Connection):
    """A connection with TLS, as a :class:`trio.abc.Stream`.

    It has no ``send_eof``: TLS ends both directions at once.  As with :class:`trio.SSLStream`,
    which does the work, one task may receive while one other sends.

    Args:
        below: the connection that carries the bytes.
        context: for a peer that closes without TLS's own end, ``ssl.OP_IGNORE_UNEXPECTED_EOF``
            among its options decides: with it that is the end, without it an error.
        server_hostname: for clients: the name that the server's certificate must be for.
        server_side: we are the server.

    Attributes:
        below: the connection that carries the bytes; for socket options.
    """

    def __init__(
        self,
        below: Connection,
        context: ssl.SSLContext,
        *,
        server_hostname: str | None = None,
        server_side: bool = False,
    ) -> None:
        self.below = below
        self._wiring = wiring = _Wiring(context)
        self._stream: trio.SSLStream[Connection] = trio.SSLStream(
            below,
            cast("ssl.SSLContext", wiring),
            server_hostname=server_hostname,
            server_side=server_side,
        )

    # ---- as a connection

    @property
    def peer(self) -> Address:  # type: ignore[override]
        """The address of the other end."""
        return self.below.peer

    @property
    def local(self) -> Address:
        """The address of our end."""
        return self.below.local

    @property
    def bytes_received(self) -> int:  # type: ignore[override]
        """On the wire, so far."""
        return self.below.bytes_received

    @property
    def bytes_sent(self) -> int:  # type: ignore[override]
        """On the wire, so far."""
        return self.below.bytes_sent

    def progress(self) -> object:
        """Something that differs from before if bytes have moved on the wire."""
        return self.below.progress()

    def abandon(self) -> None:
        """Close it at once, without TLS's own end."""
        self.below.abandon()

    # ---- as a stream

    async def do_handshake(self) -> None:
        """Make the handshake; a server has made it before its handler's turn.

        Raises:
            trio.BrokenResourceError: there is none with this peer; it has been told why, and
                ``__cause__`` tells us.
        """
        try:
            await self._stream.do_handshake()
        except trio.BrokenResourceError as error:
            await self._send_alert()
            refusal = self._wiring.refusal
            self._broke(error if refusal is None else trio.BrokenResourceError(refusal))

    async def _send_alert(self) -> None:
        alert = self._wiring.outgoing.read()
        if alert:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it was a courtesy
                await self.below.send_all(alert)

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """The next bytes, at least one; ``b""`` when the peer has ended the connection."""
        try:
            return await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            self._broke(error)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of *data*; raises :exc:`trio.BrokenResourceError` if the peer has gone."""
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            self._broke(error)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until :meth:`send_all` could take some data."""
        try:
            await self._stream.wait_send_all_might_not_block()
        except trio.BrokenResourceError as error:
            self._broke(error)

    async def unwrap(self) -> tuple[Connection, bytes | bytearray]:
        """End TLS, wait for the peer to end it too, and go on without: the connection below, and bytes of it.

        The bytes are what was read too far ahead; they come first.
        """
        try:
            below, ahead = await self._stream.unwrap()
        except trio.BrokenResourceError as error:
            self._broke(error)
        assert below is self.below
        return self.below, ahead

    async def aclose(self) -> None:
        """Say that this is the end, and close the connection."""
        try:
            await self._stream.aclose()
        except trio.BrokenResourceError as error:
            self._broke(error)

    # ---- what the handshake has brought; before it, trio.NeedHandshakeError

    @property
    def server_name(self) -> str | None:
        """The name that the client asked for (SNI), if a :class:`CertificateFolder` was asked."""
        return self._wiring.object.server_hostname

    def version(self) -> str | None:
        """The version of TLS: ``"TLSv1.3"``."""
        return cast("str | None", self._stream.version())

    def cipher(self) -> tuple[str, str, int] | None:
        """Name of the cipher, version of TLS that defines it, number of secret bits."""
        return cast("tuple[str, str, int] | None", self._stream.cipher())

    def selected_alpn_protocol(self) -> str | None:
        """The protocol that both ends want; ``None`` if there is none."""
        return cast("str | None", self._stream.selected_alpn_protocol())

    @overload
    def getpeercert(self, binary_form: Literal[False] = False) -> dict[str, Any] | None: ...
    @overload
    def getpeercert(self, binary_form: Literal[True]) -> bytes | None: ...
    @overload
    def getpeercert(self, binary_form: bool) -> dict[str, Any] | bytes | None: ...

    def getpeercert(self, binary_form: bool = False) -> dict[str, Any] | bytes | None:
        """The certificate that the peer has shown, as :meth:`ssl.SSLSocket.getpeercert` gives it.

        ``None`` if it has shown none; an empty dict if it has not been verified.
        """
        return cast("dict[str, Any] | bytes | None", self._stream.getpeercert(binary_form))


class _SSLObject(ssl.SSLObject):
    """Python's, which tells a server as well what name was asked for."""

    asked: str | None = None
    refusal: str | None = None

    @property
    def server_hostname(self) -> str | None:
        return self.asked or super().server_hostname


class _Wiring:
    """Stands in for a context where trio makes its SSL object, and keeps what trio keeps to itself."""

    object: ssl.SSLObject
    outgoing: ssl.MemoryBIO

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, **how: Any) -> ssl.SSLObject:
        self.outgoing = outgoing
        self.object = self._context.wrap_bio(incoming, outgoing, **how)
        return self.object

    @property
    def refusal(self) -> str | None:
        return self.object.refusal if isinstance(self.object, _SSLObject) else None


# ---- names --------------------------------------------------------------------------------------

_DEFAULT = ""  # which no client can ask for: names on the wire are not empty
_WILDCARD = "*."

_SNICallback = Callable[[ssl.SSLObject, str | None, ssl.SSLContext], int | None]


def _chooser(contexts: dict[str, ssl.SSLContext]) -> _SNICallback:
    """What chooses a certificate; *contexts* are all there are."""

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        assert isinstance(connection, _SSLObject)
        connection.asked = name
        for candidate in _candidates(name):
            if candidate in contexts:
                connection.context = contexts[candidate]
                return None
        asked = "it asked for no name" if name is None else f"it asked for {name!r}"
        connection.refusal = f"{asked}, and there is no certificate for that, nor a default.pem"
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    return choose


def _candidates(name: str | None) -> tuple[str, ...]:
    """Under which keys a certificate for *name* may stand, the best first."""
    if name is None:
        return (_DEFAULT,)
    name = name.lower().removesuffix(".")
    _, _, above = name.partition(".")
    return name, _WILDCARD + above, _DEFAULT


def _files_by_name(folder: str) -> dict[str, str]:
    """The files of *folder*, each by the name that it is for."""
    files: dict[str, str] = {}
    for path in _pem_files(folder, "the folder of certificates"):
        name = _name_of(path)
        if name in files:
            raise CertificateError(f"{files[name]} and {path} are for the same name; remove one of them")
        files[name] = path
    if not files:
        raise CertificateError(f"{folder} holds no .pem file; call one default.pem, or by the name it is for")
    return files


def _name_of(path: str) -> str:
    """The name that a file is for, as it stands on the wire."""
    name = os.path.basename(path).removesuffix(".pem").lower()
    if name == "default":
        return _DEFAULT
    rest = name.removeprefix("_.")
    try:
        wire = rest.encode("idna").decode()
        # Python's codec knows IDNA of 2003, where some names became others; those stay out.
        if not rest.isascii() and wire.encode().decode("idna") != rest:
            raise UnicodeError
    except UnicodeError:
        raise CertificateError(
            f"{path} is not called by the name of a host; write names beyond ASCII as xn--..."
        ) from None
    return wire if rest == name else _WILDCARD + wire


# ---- files --------------------------------------------------------------------------------------


@contextmanager
def _as_certificate_error() -> Iterator[None]:
    """Tell as :exc:`CertificateError` what nobody below knew: that a disk is full, a path no path.

    Whoever loads certificates again, and goes on with the old ones on failure, catches only that.
    """
    try:
        yield
    except CertificateError:
        raise
    except (OSError, ValueError) as error:
        raise CertificateError(f"the certificates cannot be loaded: {error}") from None


_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")

# The last is what OpenSSL says of an RSA key for an EC certificate.
_MISMATCH = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}


def _load_pair(context: ssl.SSLContext, cert: str, key: str | None = None, chain: str | None = None) -> None:
    """Let *context* show the certificate in *cert*."""
    content = _content(cert, "the certificate")
    own = _certificates_in(cert, content)
    _require_key(cert if key is None else key, content if key is None else _content(key, "the private key"))
    if chain is None:
        _load(context, cert, key or cert, cert)
        return
    further = _certificates_in(chain, _content(chain, "the further certificates"))
    from tempfile import NamedTemporaryFile

    # Python takes one file of certificates and nothing else.  They are what everybody may see.
    with ExitStack() as stack:
        try:
            joined = stack.enter_context(NamedTemporaryFile(suffix=".pem"))
            joined.write(b"\n".join([*own, *further, b""]))
            joined.flush()
        except OSError as error:
            raise CertificateError(
                f"cannot join {cert} and {chain} in a temporary file: {error.strerror}; "
                f"let TMPDIR name a folder to write to, or put all certificates into {cert}"
            ) from None
        _load(context, joined.name, key or cert, cert)


def _load(context: ssl.SSLContext, certificates: str, key: str, cert: str) -> None:
    def refuse() -> NoReturn:  # without it, OpenSSL asks at the terminal, and waits
        raise CertificateError(
            f"the private key in {key} is encrypted, and a service has nobody to ask for the password; "
            f"write it without: openssl pkey -in {key} -out NEW, in a file that only the service can read"
        )

    try:
        context.load_cert_chain(certificates, key, refuse)
    except ssl.SSLError as error:
        if error.reason in _MISMATCH:
            raise CertificateError(
                f"the private key in {key} does not belong to the first certificate in {cert}; "
                "has one been renewed without the other?"
            ) from None
        said = (error.reason or str(error)).replace("_", " ").lower()
        files = cert if key == cert else f"{cert} with {key}"
        raise CertificateError(f"OpenSSL cannot use {files}: {said}; is the file whole?") from None


def _require_key(path: str, content: bytes) -> None:
    if not _PRIVATE_KEY.search(content):
        mend = "name the file that does as its key" if _CERTIFICATE.search(content) else _form(path, content)
        raise CertificateError(f"{path} holds no private key in PEM form; {mend}")


def _certificates_in(path: str, content: bytes) -> list[bytes]:
    found: list[bytes] = _CERTIFICATE.findall(content)
    if not found:
        swapped = _PRIVATE_KEY.search(content)
        mend = "it holds a private key; are the two swapped?" if swapped else _form(path, content)
        raise CertificateError(f"{path} holds no certificate in PEM form; {mend}")
    return found


def _form(path: str, content: bytes) -> str:
    if content.startswith(b"0"):  # an ASN.1 sequence
        return f"it looks like DER: openssl x509 -inform der -in {path} (for keys, openssl pkey) converts it"
    return "it would begin with -----BEGIN" if content else "it is empty"


def _authorities_in(path: str) -> str:
    """The certificates in a file, or in all files of a folder that hold some."""
    if not os.path.isdir(path):
        blocks = _as_text(path, _certificates_in(path, _content(path, "the authorities")))
    else:
        blocks = []
        for file in _pem_files(path, "the folder of authorities"):
            blocks += _as_text(file, _CERTIFICATE.findall(_content(file, "an authority")))
        if not blocks:
            raise CertificateError(f"{path} holds no .pem file with a certificate in it")
    return "\n".join([*blocks, ""])


def _as_text(path: str, blocks: list[bytes]) -> list[str]:
    if not all(block.isascii() for block in blocks):
        raise CertificateError(
            f"{path} holds bytes inside a certificate that are not ASCII; is the file whole?"
        )
    return [block.decode() for block in blocks]


def _trust(context: ssl.SSLContext, path: str, authorities: str) -> None:
    try:
        context.load_verify_locations(cadata=authorities)
    except ssl.SSLError as error:
        raise _broken_authorities(path, error) from None


def _broken_authorities(path: str, error: ssl.SSLError) -> CertificateError:
    said = (error.reason or str(error)).replace("_", " ").lower()
    return CertificateError(f"OpenSSL cannot use the authorities in {path}: {said}; is the file whole?")


def _pem_files(folder: str, what: str) -> list[str]:
    try:
        entries = sorted(os.listdir(folder))
    except OSError as error:
        raise _unreadable(folder, what, error) from None
    # Hidden files are what other programs have not finished.
    names = [entry for entry in entries if entry.endswith(".pem") and not entry.startswith(".")]
    return [os.path.join(folder, name) for name in names]


def _content(path: str, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise _unreadable(path, what, error) from None


def _unreadable(path: str, what: str, error: OSError) -> CertificateError:
    mend = {
        FileNotFoundError: "is the path right?",
        PermissionError: "let the user that the service runs as read it",
        IsADirectoryError: "name the file in it; for a folder of certificates there is CertificateFolder",
    }.get(type(error), "")
    return CertificateError(f"cannot read {what}, {path}: {error.strerror}" + (mend and f"; {mend}"))


# ---- arguments ----------------------------------------------------------------------------------


@overload
def _absolute(path: StrPath) -> str: ...
@overload
def _absolute(path: None) -> None: ...
@overload
def _absolute(path: StrPath | None) -> str | None: ...


def _absolute(path: StrPath | None) -> str | None:
    # Files are read again later, when a daemon may have left for another folder.
    return None if path is None else os.path.abspath(path)


def _protocols(alpn: Sequence[str]) -> tuple[str, ...]:
    if isinstance(alpn, str):
        raise ValueError(f"alpn is a sequence of protocols, like ('h2', 'http/1.1'), not {alpn!r}")
    if not isinstance(alpn, Sequence):
        raise TypeError(f"alpn is a sequence of protocols, like ('h2', 'http/1.1'), not {alpn!r}")
    for name in alpn:
        if not isinstance(name, str):
            raise TypeError(f"a protocol for alpn is a string, like 'h2', not {name!r}")
        if not (name.isascii() and 0 < len(name) < 256):
            raise ValueError(f"a protocol for alpn has 1 to 255 ASCII characters, unlike {name!r}")
    return tuple(alpn)
