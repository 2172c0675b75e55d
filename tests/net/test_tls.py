"""Certificates that can be loaded again, contexts, and the stream."""

from __future__ import annotations

import shutil
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from certificates import (
    authority,
    certificate,
    encrypt,
    stranger,
    trusting,
    write_authority,
    write_pair,
    write_pem,
)
from trio.testing import check_two_way_stream

from trioservice.net.endpoints import server_endpoint
from trioservice.net.streams import SocketStream
from trioservice.net.tls import (
    CertificateError,
    CertificateFiles,
    CertificateFolder,
    Certificates,
    TLSStream,
    certificates_of,
    client_context,
    verifies,
)

from .support import LIMIT

NAME = "shop.example"


# ---- handshakes without a network


class Handshake:
    """One handshake of two contexts, in memory.

    Attributes:
        error: what the server's ended with.
        told: what the client's ended with.
        shown: the names in the certificate that the client saw.
    """

    def __init__(
        self,
        server: ssl.SSLContext,
        client: ssl.SSLContext | None = None,
        name: str | None = NAME,
        on_the_wire: bytes | None = None,
    ) -> None:
        self.error: ssl.SSLError | None = None
        self.told: ssl.SSLError | None = None
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        if client is None:
            client = trusting()
            client.check_hostname = False
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        self.client = client.wrap_bio(to_client, to_server, server_hostname=name)
        self.told = self._step(self.client)
        if on_the_wire is not None:
            assert name is not None
            assert len(name) == len(on_the_wire)
            to_server.write(to_server.read().replace(name.encode(), on_the_wire))
        for _ in range(3):
            self.error = self.error or self._step(self.server)
            self.told = self.told or self._step(self.client)
        self.told = self.told or self._refused_later()

    @staticmethod
    def _step(side: ssl.SSLObject) -> ssl.SSLError | None:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            return error
        return None

    def _refused_later(self) -> ssl.SSLError | None:
        # In TLS 1.3 a client learns only after its own end of the handshake what is thought of it.
        try:
            self.client.read(1)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            return error
        raise AssertionError("nothing was sent")

    @property
    def shown(self) -> set[str]:
        cert = self.client.getpeercert()
        assert cert is not None
        return {value for _, value in cert["subjectAltName"]}  # type: ignore[misc]


def shown(server: Certificates, name: str | None = NAME) -> set[str]:
    """The names in the certificate that a client sees who asks for *name*."""
    handshake = Handshake(server.context, name=name)
    assert handshake.error is None, handshake.error
    return handshake.shown


# ---- certificates from files


@pytest.mark.parametrize("together", [True, False])
def test_a_certificate_and_its_key_may_stand_in_one_file_or_in_two(tmp_path: Path, together: bool) -> None:
    """Both ways that files of certificates are written are taken."""
    files = (write_pem(tmp_path / "all.pem", certificate(NAME)),)
    if not together:
        files = write_pair(tmp_path, certificate(NAME))  # type: ignore[assignment]
    certificates = CertificateFiles(*files)
    certificates.load()
    assert shown(certificates) == {NAME}


def test_the_first_use_reads_the_files_and_later_uses_do_not(tmp_path: Path) -> None:
    """Outside of a server nobody needs to know that there is something to load."""
    path = write_pem(tmp_path / "all.pem", certificate(NAME))
    certificates = CertificateFiles(path)
    context = certificates.context
    path.unlink()
    assert certificates.context is context


def test_further_certificates_from_another_file_are_shown_as_well(tmp_path: Path) -> None:
    """A client that knows the root alone can go all the way, with the key in either file."""
    between = authority().create_child_ca()
    leaf = between.issue_cert(NAME)
    cert, key, both, chain = (tmp_path / name for name in ("cert", "key", "both", "chain"))
    cert.write_bytes(leaf.cert_chain_pems[0].bytes())
    leaf.private_key_pem.write_to_path(key)
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    chain.write_bytes(leaf.cert_chain_pems[1].bytes())
    alone = Handshake(CertificateFiles(cert, key).context)
    assert isinstance(alone.told, ssl.SSLCertVerificationError)
    text = server_endpoint(f"ssl:0:certKey={cert}:privateKey={key}:extraCertChain={chain}")
    for certificates in (
        CertificateFiles(cert, key, chain=chain),
        CertificateFiles(both, chain=chain),
        certificates_of(text),  # type: ignore[arg-type]
    ):
        whole = Handshake(certificates.context)
        assert (whole.error, whole.told) == (None, None)


def test_the_file_that_joins_certificates_holds_no_key_and_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Further certificates take a temporary file, and no key is ever written to one."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    seen: list[str] = []
    really = ssl.SSLContext.load_cert_chain

    def load_cert_chain(context: ssl.SSLContext, certfile: str, *args: Any) -> None:
        seen.append(Path(certfile).read_text())
        really(context, certfile, *args)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", load_cert_chain)
    path = write_pem(tmp_path / "all.pem", certificate(NAME))
    CertificateFiles(path, chain=write_authority(tmp_path / "ca.pem")).load()
    (joined,) = seen
    assert joined.count("BEGIN CERTIFICATE") == 2
    assert "PRIVATE KEY" not in joined
    assert list((tmp_path / "tmp").iterdir()) == []


def mistakes(folder: Path) -> dict[str, tuple[Callable[[], Certificates], str]]:
    """What can be wrong with files, and what is said of it."""
    cert, key = write_pair(folder, certificate(NAME))
    _, other = write_pair(folder, certificate("other.example"), "other")
    rsa = write_pair(folder, authority().issue_cert(NAME, key_type=trustme.KeyType.RSA), "rsa")[1]
    locked = encrypt(key)
    written = {"empty": "", "words": "no certificate\n", "der": ssl.PEM_cert_to_DER_cert(cert.read_text())}
    for name, content in written.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    empty, words, der = (folder / name for name in written)
    broken = folder / "broken"
    broken.write_text(cert.read_text().replace("M", "!"))
    latin = folder / "latin.pem"
    latin.write_bytes(cert.read_bytes().replace(b"M", b"\xe9"))
    cas = folder / "cas"
    cas.mkdir()
    shutil.copy(latin, cas)
    folder_of = folder / "folder"
    folder_of.mkdir()
    gone = folder / "gone"
    hosts: dict[str, list[str]] = {
        "nothing": [],
        "twice": ["a.example.pem", "A.example.pem"],
        "label": ["a..b.pem"],
        "idna": ["faß.example.pem"],
    }
    for name, files in hosts.items():
        (folder / name).mkdir()
        for file in files:
            write_pem(folder / name / file, certificate(NAME))
    one_bad = folder / "one_bad"
    one_bad.mkdir()
    write_pem(one_bad / "a.example.pem", certificate(NAME))
    (one_bad / "b.example.pem").write_text(cert.read_text())
    files, hosts_in = CertificateFiles, CertificateFolder
    return {
        "no cert": (lambda: files(gone), f"cannot read the certificate, {gone}: No such file .* path right"),
        "no key": (lambda: files(cert, gone), f"cannot read the private key, {gone}: No such file"),
        "no chain": (lambda: files(cert, key, chain=gone), f"the further certificates, {gone}: No such"),
        "no ca": (lambda: files(cert, key, client_ca=gone), f"cannot read the authorities, {gone}: No such"),
        "folder": (lambda: files(folder_of), f"{folder_of}: Is a directory; .*CertificateFolder"),
        "key missing": (lambda: files(cert), f"{cert} holds no private key .*name the file that does"),
        "swapped": (lambda: files(key, cert), f"{key} holds no certificate .*are the two swapped"),
        "other key": (lambda: files(cert, other), f"{other} does not belong to .*{cert}; has one been"),
        "other kind": (lambda: files(cert, rsa), f"{rsa} does not belong to .*{cert}; has one been"),
        "locked": (lambda: files(cert, locked), f"{locked} is encrypted, .*openssl pkey -in {locked}"),
        "empty": (lambda: files(empty), f"{empty} holds no certificate in PEM form; it is empty"),
        "words": (lambda: files(words), f"{words} holds no certificate .* -----BEGIN"),
        "der": (lambda: files(der), f"{der} holds no .*DER: openssl x509 -inform der -in {der}"),
        "broken": (lambda: files(broken, key), f"OpenSSL cannot use {broken} with {key}: .*whole"),
        "broken ca": (lambda: files(cert, key, client_ca=broken), f"the authorities in {broken}: .*whole"),
        "latin ca": (
            lambda: files(cert, key, client_ca=latin),
            f"{latin} holds bytes inside a certificate that are not ASCII; is the file whole",
        ),
        "latin in cas": (lambda: files(cert, key, client_ca=cas), "cas/latin.pem holds bytes inside"),
        "nul": (lambda: files("a\0b"), "the certificates cannot be loaded: embedded null byte"),
        "key as ca": (lambda: files(cert, key, client_ca=key), f"{key} holds no certificate"),
        "no folder": (lambda: hosts_in(gone), f"cannot read the folder of certificates, {gone}: No such"),
        "nothing": (lambda: hosts_in(folder / "nothing"), "nothing holds no .pem file; call one default.pem"),
        "twice": (lambda: hosts_in(folder / "twice"), "A.example.pem and .*a.example.pem are for the same"),
        "label": (lambda: hosts_in(folder / "label"), "a..b.pem is not called by the name of a host"),
        "idna": (lambda: hosts_in(folder / "idna"), "faß.example.pem is not .*write .* as xn--"),
        "one bad": (lambda: hosts_in(one_bad), "b.example.pem holds no private key"),
    }


@pytest.mark.parametrize(
    "which",
    """no cert|no key|no chain|no ca|folder|key missing|swapped|other key|other kind|locked|empty|words|der
    |broken|broken ca|latin ca|latin in cas|nul|key as ca|no folder|nothing|twice|label|idna
    |one bad""".replace("\n    ", "").split("|"),
)
def test_what_is_wrong_with_files_is_one_sentence_that_names_the_file(tmp_path: Path, which: str) -> None:
    """And nothing is asked at the terminal."""
    make, said = mistakes(tmp_path)[which]
    certificates = make()
    with pytest.raises(CertificateError, match=said) as caught:
        certificates.load()
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong after privileges are dropped is told with its mend."""
    path = write_pem(tmp_path / "all.pem", certificate(NAME))

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("trioservice.net.tls.open", refuse, raising=False)
    with pytest.raises(CertificateError, match=r"all.pem: Permission denied; let the user .* read it"):
        CertificateFiles(path).load()


def test_no_room_for_a_temporary_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service whose system is read-only learns what to do, and its certificates stay."""
    cert, key = write_pair(tmp_path, certificate(NAME))
    certificates = CertificateFiles(cert, key, chain=write_authority(tmp_path / "ca.pem"))
    certificates.load()
    before = certificates.context
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(
        CertificateError, match=r"cannot join .*crt and .*ca.pem .*: No such file .*; let TMPDIR"
    ):
        certificates.load()
    assert certificates.context is before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("something new")])
def test_whatever_else_ssl_says_of_files_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whoever loads them again catches CertificateError, and must not be ended by another."""
    path = write_pem(tmp_path / "all.pem", certificate(NAME))
    roots = write_authority(tmp_path / "ca.pem")

    def refuse(*args: object, **options: object) -> None:
        raise error

    for method in ("load_cert_chain", "load_verify_locations"):
        monkeypatch.setattr(ssl.SSLContext, method, refuse)
        for load in (
            CertificateFiles(path, client_ca=roots).load,
            lambda: client_context(trust_roots=roots, cert=path),
        ):
            with pytest.raises(
                CertificateError, match=f"^the certificates cannot be loaded: .*{error.args[-1]}"
            ):
                load()


def test_authorities_that_are_not_ascii_are_told_to_clients_too(tmp_path: Path) -> None:
    """It is the same file, read by the other end."""
    roots = write_authority(tmp_path / "ca.pem")
    roots.write_bytes(roots.read_bytes().replace(b"M", b"\xe9"))
    with pytest.raises(CertificateError, match="are not ASCII"):
        client_context(trust_roots=roots)


def test_a_load_that_fails_leaves_what_was_and_one_that_succeeds_replaces_it(tmp_path: Path) -> None:
    """Whoever replaces files one by one breaks nothing in between."""
    cert, key = write_pair(tmp_path, certificate(NAME))
    certificates = CertificateFiles(cert, key)
    certificates.load()
    before = certificates.context
    write_pair(tmp_path, certificate("new.example"), "new")
    (tmp_path / "new.crt").replace(cert)
    with pytest.raises(CertificateError, match="does not belong"):
        certificates.load()
    assert certificates.context is before
    assert shown(certificates) == {NAME}
    (tmp_path / "new.key").replace(key)
    certificates.load()
    assert shown(certificates) == {"new.example"}


def test_paths_are_those_of_the_folder_in_which_they_were_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that changes its folder can still load them again."""
    (tmp_path / "hosts").mkdir()
    write_pem(tmp_path / "hosts" / f"{NAME}.pem", certificate(NAME))
    write_pem(tmp_path / "all.pem", certificate(NAME))
    write_authority(tmp_path / "ca")
    monkeypatch.chdir(tmp_path)
    one = CertificateFiles("all.pem", "all.pem", chain="ca", client_ca="ca")
    many = CertificateFolder("hosts", client_ca="ca")
    monkeypatch.chdir("/")
    for certificates in (one, many):
        certificates.load()
        assert certificates.context.cert_store_stats()["x509_ca"] == 1


# ---- what is asked of clients


def test_clients_without_a_certificate_or_with_a_strangers_are_refused_where_one_is_demanded(
    tmp_path: Path,
) -> None:
    """And the right one is known to the handler by its names; the system's authorities count for nothing."""
    path = write_pem(tmp_path / "all.pem", certificate(NAME))
    certificates = CertificateFiles(path, client_ca=write_authority(tmp_path / "ca.pem"))
    assert certificates.context.cert_store_stats()["x509_ca"] == 1
    none = Handshake(certificates.context, trusting())
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in str(none.error)
    assert "CERTIFICATE_REQUIRED" in str(none.told)
    wrong = Handshake(certificates.context, trusting(certificate("client.example", by=stranger())))
    assert isinstance(wrong.error, ssl.SSLCertVerificationError)
    assert "UNKNOWN_CA" in str(wrong.told)
    right = Handshake(certificates.context, trusting(certificate("client.example")))
    assert right.error is None
    assert right.told is None
    cert = right.server.getpeercert()
    assert cert is not None
    assert cert["subjectAltName"] == (("DNS", "client.example"),)


def test_nothing_below_the_minimum_version_is_spoken(tmp_path: Path) -> None:
    """TLS 1.2 is taken by default, and not where 1.3 is demanded; nothing lower ever is."""
    path = write_pem(tmp_path / "all.pem", certificate(NAME))
    folder = tmp_path / "hosts"
    folder.mkdir()
    write_pem(folder / f"{NAME}.pem", certificate(NAME))
    old = trusting()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    for server in (CertificateFiles(path), CertificateFolder(folder)):
        assert Handshake(server.context, old).server.version() == "TLSv1.2"
    for server in (
        CertificateFiles(path, minimum_version="1.3"),
        CertificateFolder(folder, minimum_version="1.3"),
    ):
        refused = Handshake(server.context, old)
        assert "UNSUPPORTED_PROTOCOL" in str(refused.error)
        assert "PROTOCOL_VERSION" in str(refused.told)
    assert CertificateFiles(path).context.minimum_version == ssl.TLSVersion.TLSv1_2
    for version in ("1.1", "TLSv1.2", 1.2):
        with pytest.raises(ValueError, match=r"minimum_version is '1.2' or '1.3', not"):
            CertificateFiles(path, minimum_version=version)  # type: ignore[arg-type]


def test_of_the_protocols_that_both_know_the_one_that_the_server_prefers_is_chosen(tmp_path: Path) -> None:
    """The client's order does not matter; a client that knows none of them goes without."""
    write_pem(tmp_path / f"{NAME}.pem", certificate(NAME))
    for server in (
        CertificateFiles(tmp_path / f"{NAME}.pem", alpn=("h2", "http/1.1")),
        CertificateFolder(tmp_path, alpn=("h2", "http/1.1")),
    ):
        for offered, chosen in ((["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), (["ftp"], None)):
            client = trusting()
            client.set_alpn_protocols(offered)
            handshake = Handshake(server.context, client)
            assert handshake.server.selected_alpn_protocol() == chosen
            assert handshake.client.selected_alpn_protocol() == chosen


@pytest.mark.parametrize("alpn", [[b"h2"], b"h2", None, 2, {"h2"}, ["h2", None]])
def test_protocols_of_the_wrong_type_are_refused_where_they_are_written(tmp_path: Path, alpn: Any) -> None:
    """And not when the first file is read, or the first client comes."""
    for make in (
        lambda: CertificateFiles(tmp_path, alpn=alpn),
        lambda: CertificateFolder(tmp_path, alpn=alpn),
        lambda: client_context(alpn=alpn),
    ):
        with pytest.raises(TypeError, match="alpn is a") as caught:
            make()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("alpn", ["h2", [""], ["é"], ["x" * 256]])
def test_what_cannot_be_a_protocol_is_refused_where_it_is_written(alpn: Any) -> None:
    """A text by itself would be taken for a list of letters."""
    with pytest.raises(ValueError, match="alpn"):
        CertificateFiles("x", alpn=alpn)
    with pytest.raises(ValueError, match="alpn"):
        client_context(alpn=alpn)


# ---- a folder: names


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    """A folder of certificates: exact, wildcard, beyond ASCII, and other files."""
    folder = tmp_path / "hosts"
    folder.mkdir()
    for file, name in {
        "one.example.pem": "one.example",
        "Two.Example.pem": "two.example",
        "_.wild.example.pem": "*.wild.example",
        "exact.wild.example.pem": "exact.wild.example",
        "bücher.example.pem": "xn--bcher-kva.example",
        "_.bücher.example.pem": "*.xn--bcher-kva.example",
        "xn--fa-hia.example.pem": "xn--fa-hia.example",
    }.items():
        write_pem(folder / file, certificate(name))
    (folder / "notes.txt").write_text("not a certificate")
    (folder / ".hidden.pem").write_text("being written")
    return folder


@pytest.mark.parametrize(
    ("asked", "seen"),
    {
        "one.example": "one.example",
        "ONE.Example": "one.example",
        "two.example": "two.example",
        "a.wild.example": "*.wild.example",
        "exact.wild.example": "exact.wild.example",
        "bücher.example": "xn--bcher-kva.example",
        "xn--bcher-kva.example": "xn--bcher-kva.example",
        "a.bücher.example": "*.xn--bcher-kva.example",
        "xn--fa-hia.example": "xn--fa-hia.example",
        "b.a.wild.example": None,
        "wild.example": None,
        "three.example": None,
        "sub.one.example": None,
        "default": None,
        None: None,
    }.items(),
)
def test_a_client_sees_the_certificate_for_the_name_that_it_asks_for(
    hosts: Path, asked: str | None, seen: str | None
) -> None:
    """Exact names first, then wildcards for one label, then the default; without that, it is refused."""
    without = Handshake(CertificateFolder(hosts).context, name=asked)
    if seen is None:
        assert "CALLBACK_FAILED" in str(without.error)
        assert "UNRECOGNIZED_NAME" in str(without.told)
    else:
        assert without.shown == {seen}
    write_pem(hosts / "default.pem", certificate("default.example"))
    assert shown(CertificateFolder(hosts), asked) == {seen or "default.example"}


@pytest.mark.parametrize(
    "hostile",
    [
        "../outside",
        "./one.example",
        "hosts/../../outside",
        "/etc/passwd",
        "_.wild.example2",
        "...",
        "a.\r\n.b",
    ],
)
def test_a_name_from_the_wire_never_becomes_a_path(hosts: Path, hostile: str) -> None:
    """Whatever a client sends as its name is looked up in a table, even if a file of that path is there."""
    write_pem(hosts.parent / "outside.pem", certificate(NAME))
    certificates = CertificateFolder(hosts)
    name = ("x" * 64)[: len(hostile)]
    handshake = Handshake(certificates.context, name=name, on_the_wire=hostile.encode())
    assert "UNRECOGNIZED_NAME" in str(handshake.told)
    shutil.rmtree(hosts)
    assert shown(certificates, "one.example") == {"one.example"}, "no file is needed either"


def test_a_name_with_a_nul_is_refused_before_it_is_looked_at(hosts: Path) -> None:
    """OpenSSL takes no such name."""
    context = CertificateFolder(hosts).context
    handshake = Handshake(context, name="x" * 11 + ".example", on_the_wire=b"one.example\0xyz.ple")
    assert "BAD_EXTENSION" in str(handshake.error)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Python's, not ours
def test_a_name_that_is_not_ascii_on_the_wire_is_refused(hosts: Path) -> None:
    """Names beyond ASCII travel as xn--."""
    context = CertificateFolder(hosts).context
    handshake = Handshake(context, name="x" * 6, on_the_wire="bü\xff".encode() + b"x")
    assert "CALLBACK_FAILED" in str(handshake.error)
    assert shown(CertificateFolder(hosts), "one.example") == {"one.example"}


def test_a_name_with_a_dot_at_its_end_is_the_same_name(hosts: Path) -> None:
    """Some clients send names as DNS writes them."""
    assert shown(CertificateFolder(hosts), "one.example.") == {"one.example"}


def test_what_is_asked_of_clients_holds_for_every_name(hosts: Path) -> None:
    """The certificate is chosen late in the handshake; who may come is not."""
    ca = write_authority(hosts.parent / "ca.pem")
    folder = CertificateFolder(hosts, client_ca=ca)
    for name in ("one.example", "a.wild.example"):
        assert "PEER_DID_NOT_RETURN" in str(Handshake(folder.context, name=name).error)
        client = trusting(certificate("client.example"))
        client.check_hostname = False
        assert Handshake(folder.context, client, name).error is None
        client = trusting(certificate("client.example", by=stranger()))
        client.check_hostname = False
        assert Handshake(folder.context, client, name).error is not None


def test_a_folder_that_is_loaded_again_shows_what_it_holds_now(hosts: Path) -> None:
    """New names come, others go, and a broken file leaves all as it was."""
    folder = CertificateFolder(hosts)
    folder.load()
    (hosts / "one.example.pem").unlink()
    write_pem(hosts / "three.example.pem", certificate("three.example"))
    assert shown(folder, "one.example") == {"one.example"}
    (hosts / "four.example.pem").write_text("half a")
    with pytest.raises(CertificateError, match=r"four\.example\.pem"):
        folder.load()
    assert shown(folder, "one.example") == {"one.example"}
    (hosts / "four.example.pem").unlink()
    folder.load()
    assert shown(folder, "three.example") == {"three.example"}
    assert "UNRECOGNIZED_NAME" in str(Handshake(folder.context, name="one.example").told)


# ---- what a server was given


def test_a_server_may_be_given_certificates_a_context_or_a_text(tmp_path: Path) -> None:
    """All become certificates; a context is the user's, and loading leaves it alone."""
    cert, key = write_pair(tmp_path, certificate(NAME))
    both = write_pem(tmp_path / f"{NAME}.pem", certificate(NAME))
    files = CertificateFiles(cert, key)
    assert certificates_of(files) is files
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    given = certificates_of(context)
    given.load()
    assert given.context is context
    for text in (
        f"ssl:0:certKey={cert}:privateKey={key}",
        f"ssl:0:{both}",
        f"ssl:0:certKey={both}",
        f"ssl:0:certKey={cert}:privateKey={key}:extraCertChain={cert}",
        f"tls:{tmp_path}:port=0",
    ):
        assert shown(certificates_of(server_endpoint(text))) == {NAME}  # type: ignore[arg-type]


def test_the_terms_in_a_text_are_kept(tmp_path: Path) -> None:
    """Authorities, protocols and version mean the same in a text as in Python."""
    both = write_pem(tmp_path / f"{NAME}.pem", certificate(NAME))
    ca = write_authority(tmp_path / "authority")
    more = f"clientCa={ca}:alpn=h2,http/1.1:minimumVersion=1.3"
    for text in (f"ssl:0:{both}:{more}", f"tls:{tmp_path}:port=0:{more}"):
        context = certificates_of(server_endpoint(text)).context  # type: ignore[arg-type]
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
        assert context.verify_mode == ssl.CERT_REQUIRED
        client = trusting(certificate("client.example"))
        client.set_alpn_protocols(["http/1.1", "h2"])
        assert Handshake(context, client).client.selected_alpn_protocol() == "h2"


def test_a_context_for_clients_is_refused_where_a_servers_is_wanted() -> None:
    """It is what `create_default_context()` makes, and each connection would fail with it."""
    with pytest.raises(ValueError, match=r"a context for clients; .*Purpose\.CLIENT_AUTH"):
        certificates_of(ssl.create_default_context())
    with pytest.raises(TypeError, match=r"ssl_context= is Certificates or an ssl\.SSLContext, not 'x\.pem'"):
        certificates_of("x.pem")  # type: ignore[arg-type]


# ---- clients


def test_a_clients_context_verifies_with_the_systems_authorities_unless_others_are_named(
    tmp_path: Path,
) -> None:
    """Named authorities, of a file or of a folder, are the only ones."""
    server = CertificateFiles(write_pem(tmp_path / "all.pem", certificate(NAME))).context
    theirs = Handshake(server, client_context())
    assert isinstance(theirs.told, ssl.SSLCertVerificationError)
    folder = tmp_path / "roots"
    folder.mkdir()
    (folder / "README").write_text("not one")
    (folder / "key.pem").write_text("no certificate")
    (folder / ".hidden.pem").mkdir()
    write_authority(folder / "a.pem", stranger())
    stranger_only = client_context(trust_roots=str(folder))
    assert isinstance(Handshake(server, stranger_only).told, ssl.SSLCertVerificationError)
    file = write_authority(folder / "b.pem")
    for roots, count in ((file, 1), (folder, 2)):
        context = client_context(trust_roots=str(roots))
        assert context.cert_store_stats()["x509_ca"] == count
        assert Handshake(server, context).told is None
        other = Handshake(server, context, name="other.example")
        assert isinstance(other.told, ssl.SSLCertVerificationError)
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_client_can_show_a_certificate_and_offer_protocols(tmp_path: Path) -> None:
    """With its key in the same file, or in another."""
    path, ca = write_pem(tmp_path / "all.pem", certificate(NAME)), write_authority(tmp_path / "ca.pem")
    server = CertificateFiles(path, client_ca=ca, alpn=("b", "a")).context
    cert, key = write_pair(tmp_path, certificate("client.example"), "client")
    both = write_pem(tmp_path / "client.pem", certificate("client.example"))
    for files in ({"cert": str(cert), "key": str(key)}, {"cert": str(both)}):
        context = client_context(trust_roots=str(ca), alpn=("a",), **files)
        handshake = Handshake(server, context)
        assert (handshake.error, handshake.told) == (None, None)
        assert handshake.server.getpeercert() is not None
        assert handshake.client.selected_alpn_protocol() == "a"


def test_what_a_client_cannot_use_is_told_as_to_a_server(tmp_path: Path) -> None:
    """Every file is named, with what is wrong with it."""
    cert, key = write_pair(tmp_path, certificate(NAME))
    (tmp_path / "empty").mkdir()
    broken = tmp_path / "broken"
    broken.write_text(cert.read_text().replace("M", "!"))
    for wrong, said in (
        ({"trust_roots": "gone"}, "cannot read the authorities, .*gone: No such file"),
        ({"trust_roots": str(tmp_path / "empty")}, "empty holds no .pem file with a certificate"),
        ({"trust_roots": str(broken)}, "OpenSSL cannot use the authorities in .*broken"),
        ({"trust_roots": str(key)}, "server.key holds no certificate"),
        ({"cert": str(cert), "key": str(encrypt(key))}, "is encrypted"),
        ({"cert": "gone"}, "cannot read the certificate, .*gone"),
    ):
        with pytest.raises(CertificateError, match=said):
            client_context(**wrong)
    with pytest.raises(ValueError, match="a key is of no use without its certificate"):
        client_context(key=str(key))


def test_a_context_verifies_only_if_it_looks_at_certificate_and_name() -> None:
    """Half of it is as good as nothing."""
    assert verifies(client_context())
    nameless = client_context()
    nameless.check_hostname = False
    assert not verifies(nameless)
    nameless.verify_mode = ssl.CERT_OPTIONAL
    assert not verifies(nameless)
    nameless.verify_mode = ssl.CERT_NONE
    assert not verifies(nameless)
    optional = client_context()
    optional.verify_mode = ssl.CERT_OPTIONAL
    assert not verifies(optional)


# ---- the stream


async def bare_pair() -> tuple[SocketStream, SocketStream]:
    """Both ends of one TCP connection: the server's, the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, peer = listener.accept()
    return (
        SocketStream(other, peer),
        SocketStream(one, one.getpeername()),
    )


def server_context(*, ragged: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate(NAME).configure_cert(context)
    if ragged:
        context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


async def unshaken_pair(
    server: ssl.SSLContext | None = None, client: ssl.SSLContext | None = None
) -> tuple[TLSStream, TLSStream]:
    ours, theirs = await bare_pair()
    return (
        TLSStream(ours, server or server_context(), server_side=True),
        TLSStream(theirs, client or trusting(), server_hostname=NAME),
    )


async def shake(*streams: TLSStream) -> None:
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(stream.do_handshake)


async def tls_pair(*contexts: ssl.SSLContext) -> tuple[TLSStream, TLSStream]:
    server, client = await unshaken_pair(*contexts)
    await shake(server, client)
    return server, client


async def reset(stream: TLSStream) -> None:
    """Close the connection below with a RST instead of a FIN."""
    assert isinstance(stream.below, SocketStream)
    stream.below.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.below.aclose()


async def breaks(stream: TLSStream, async_fn: Callable[..., Any], *args: object) -> BaseException | None:
    """Let *stream* break; what it comes from."""
    with trio.fail_after(LIMIT), pytest.raises(trio.BrokenResourceError) as caught:
        await async_fn(*args)
    assert stream.broke_with(caught.value)
    assert not stream.broke_with(trio.BrokenResourceError())
    return caught.value.__cause__


async def test_it_keeps_every_promise_of_a_two_way_stream() -> None:
    """Whatever trio promises of a stream holds for ours, the handshake made or not."""
    await check_two_way_stream(tls_pair, None)
    await check_two_way_stream(unshaken_pair, None)


async def test_addresses_and_counters_are_those_of_the_connection_below() -> None:
    """Also after a proxy has said who the client is; what is counted is what the wire carries."""
    server, client = await tls_pair()
    async with server, client:
        assert server.peer == client.local
        assert server.local == client.peer
        assert isinstance(server.below, SocketStream)
        server.below.introduce(("192.0.2.1", 7), ("192.0.2.2", 443))
        assert (server.peer, server.local) == (("192.0.2.1", 7), ("192.0.2.2", 443))
        received, sent = server.bytes_received, client.bytes_sent
        assert received > 200, "there was a handshake"
        await client.send_all(b"x" * 1000)
        await server.receive_some()
        assert client.bytes_sent - sent == server.bytes_received - received > 1000


async def test_what_the_handshake_has_brought_can_be_asked_for() -> None:
    """And before it, asking is a mistake of the program."""
    server, client = await unshaken_pair()
    async with server, client:
        for ask in (server.version, server.cipher, server.selected_alpn_protocol, server.getpeercert):
            with pytest.raises(trio.NeedHandshakeError):
                ask()
        await shake(server, client)
        assert server.version() == client.version() == "TLSv1.3"
        cipher = server.cipher()
        assert cipher is not None
        assert cipher == client.cipher()
        assert server.selected_alpn_protocol() is None
        assert server.getpeercert() is None
        cert = client.getpeercert()
        assert cert is not None
        assert cert["subjectAltName"] == (("DNS", NAME),)
        der = client.getpeercert(binary_form=True)
        assert der is not None
        assert ssl.DER_cert_to_PEM_cert(der).encode() == certificate(NAME).cert_chain_pems[0].bytes()
        assert client.server_name == NAME
        assert server.server_name is None, "this context looks at no names"


async def test_a_server_knows_the_name_that_was_asked_for(hosts: Path) -> None:
    """Where there is more than one, a handler may want to know; the name is as the client sent it."""
    context = CertificateFolder(hosts).context
    for name in ("one.example", "a.wild.example"):
        ours, theirs = await bare_pair()
        server = TLSStream(ours, context, server_side=True)
        client = TLSStream(theirs, trusting(), server_hostname=name)
        async with server, client:
            await shake(server, client)
            assert server.server_name == name


async def test_a_close_is_seen_as_an_end_by_the_other_side_in_both_directions() -> None:
    """We always say that it is the end, so nobody has to guess."""
    for first, second in ((0, 1), (1, 0)):
        pair = await tls_pair()
        await pair[first].send_all(b"last words")
        await pair[first].aclose()
        with trio.fail_after(LIMIT):
            assert await pair[second].receive_some() == b"last words"
            assert await pair[second].receive_some() == b""
            await pair[second].aclose()


@pytest.mark.parametrize("within_a_record", [False, True])
async def test_an_end_without_tls_own_is_an_error_unless_the_context_says_otherwise(
    within_a_record: bool,
) -> None:
    """Whether the peer did not bother or somebody cut the connection, nobody can tell."""
    for ragged in (False, True):
        server, client = await tls_pair(server_context(ragged=ragged))
        async with server:
            await client.send_all(b"hello")
            assert await server.receive_some() == b"hello"
            if within_a_record:
                await client.below.send_all(b"\x17\x03\x03\x00\x50half")
            await client.below.aclose()
            if ragged:
                assert await server.receive_some() == b""
            else:
                assert isinstance(await breaks(server, server.receive_some), ssl.SSLEOFError)


@pytest.mark.parametrize("make", [CertificateFiles, CertificateFolder])
async def test_certificates_can_say_that_an_end_without_tls_own_is_one(tmp_path: Path, make: Any) -> None:
    """`require_close_notify` is what the context says of it."""
    path = write_pem(tmp_path / f"{NAME}.pem", certificate(NAME))
    path = tmp_path if make is CertificateFolder else path
    for strict in (True, False):
        certificates = make(path, require_close_notify=strict)
        server, client = await tls_pair(certificates.context)
        async with server:
            await client.below.aclose()
            if strict:
                await breaks(server, server.receive_some)
            else:
                assert await server.receive_some() == b""
    await breaks(*await broken_by_default(make(path)))


async def broken_by_default(certificates: Certificates) -> tuple[TLSStream, Any]:
    server, client = await tls_pair(certificates.context)
    await client.below.aclose()

    async def receive() -> None:
        async with server:
            await server.receive_some()

    return server, receive


async def test_a_reset_is_the_connections_own_error_whatever_was_being_done() -> None:
    """Receiving, sending, and waiting to send: the server can tell it from a handler's bug."""
    for what in ("receive_some", "send_all", "wait_send_all_might_not_block"):
        server, client = await tls_pair()
        async with server:
            await reset(client)
            if what == "receive_some":
                await breaks(server, server.receive_some)
            else:
                with suppress(trio.BrokenResourceError):  # the system tells it once by whatever comes first
                    await server.receive_some()
                await breaks(server, server.send_all, b"x")
            if what == "wait_send_all_might_not_block":
                await breaks(server, server.wait_send_all_might_not_block)


async def test_garbage_in_the_middle_is_the_connections_own_error() -> None:
    """What is not from the peer that we shook hands with is not from a peer."""
    server, client = await tls_pair()
    async with server, client:
        await client.below.send_all(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        assert "BAD_RECORD_MAC" in str(await breaks(server, server.receive_some)).replace(" ", "_").upper()


async def test_a_handshake_that_fails_tells_the_peer_why() -> None:
    """The alert leaves before the connection is closed."""
    demanding = server_context()
    demanding.verify_mode = ssl.CERT_REQUIRED
    server, client = await unshaken_pair(demanding)
    async with server, client, trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        assert "PEER_DID_NOT_RETURN" in str(await breaks(server, server.do_handshake))
        await server.aclose()
        assert "CERTIFICATE_REQUIRED" in str(await breaks(client, client.receive_some))


async def test_a_client_that_distrusts_the_server_tells_it() -> None:
    """The server's log says what the client thinks of its certificate."""
    server, client = await unshaken_pair(None, ssl.create_default_context())
    async with server, client, trio.open_nursery() as nursery:
        nursery.start_soon(breaks, client, client.do_handshake)
        assert "UNKNOWN_CA" in str(await breaks(server, server.do_handshake))


async def test_a_name_without_a_certificate_is_told_to_both_ends(hosts: Path) -> None:
    """The client gets the alert, the server's log the name."""
    server, client = await unshaken_pair(CertificateFolder(hosts).context)
    async with server, client, trio.open_nursery() as nursery:
        nursery.start_soon(breaks, client, client.do_handshake)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await server.do_handshake()
        assert server.broke_with(caught.value)
        assert str(caught.value) == (
            f"it asked for {NAME!r}, and there is no certificate for that, nor a default.pem"
        )


async def test_a_peer_that_is_gone_before_it_can_be_told_makes_no_further_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The alert is a courtesy; the handshake's own error is what comes out."""
    old, new = trusting(), server_context()
    old.maximum_version, new.minimum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    server, client = await unshaken_pair(new, old)
    tried = []

    async def send_all(alert: bytes) -> None:
        tried.append(alert)
        raise trio.BrokenResourceError("gone")

    monkeypatch.setattr(server.below, "send_all", send_all)
    async with client, trio.open_nursery() as nursery:
        nursery.start_soon(breaks, client, client.do_handshake)
        assert "UNSUPPORTED_PROTOCOL" in str(await breaks(server, server.do_handshake))
        await server.aclose()
    assert len(tried) == 1


async def test_abandoned_it_says_nothing_to_the_peer() -> None:
    """What was cut off must not look like an end."""
    server, client = await tls_pair()
    server.abandon()
    async with client:
        assert isinstance(await breaks(client, client.receive_some), ssl.SSLEOFError)


async def test_tls_can_end_and_the_connection_go_on() -> None:
    """`unwrap` gives back the connection below."""
    server, client = await tls_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.unwrap)
        below, ahead = await server.unwrap()
    assert (below, ahead) == (server.below, b"")
    await client.below.send_all(b"plain")
    assert await below.receive_some() == b"plain"
    await below.aclose()
    await client.below.aclose()


async def test_an_unwrap_that_the_peer_cuts_is_the_connections_own_error() -> None:
    """As for everything else that can break."""
    server, client = await tls_pair()
    await client.below.aclose()
    async with server:
        await breaks(server, server.unwrap)


async def test_a_close_before_the_handshake_that_breaks_is_the_connections_own_error() -> None:
    """Closing makes the handshake first, for the end has to be said in TLS."""
    server, client = await unshaken_pair()
    await client.below.aclose()
    await breaks(server, server.aclose)
