"""Certificates for tests: one authority a process, and what it vouches for."""

from __future__ import annotations

import functools
import ssl
import subprocess
from pathlib import Path

import trustme
from programs import foreign


@functools.cache
def authority() -> trustme.CA:
    """The one whom clients of tests believe."""
    return trustme.CA()


@functools.cache
def stranger() -> trustme.CA:
    """One whom nobody believes."""
    return trustme.CA()


@functools.cache
def certificate(*names: str, by: trustme.CA | None = None) -> trustme.LeafCert:
    """A certificate, with its key, for *names*."""
    return (by or authority()).issue_cert(*names)


def write_pem(path: Path, leaf: trustme.LeafCert) -> Path:
    """A file of the key, the certificate and those above it."""
    leaf.private_key_and_cert_chain_pem.write_to_path(path)
    return path


def write_pair(folder: Path, leaf: trustme.LeafCert, name: str = "server") -> tuple[Path, Path]:
    """Two files: certificates, and the key."""
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(key)
    return cert, key


def write_authority(path: Path, of: trustme.CA | None = None) -> Path:
    """A file of the authority's own certificate."""
    (of or authority()).cert_pem.write_to_path(path)
    return path


def encrypt(key: Path) -> Path:
    """Put a password on the key in the file."""
    encrypted = key.with_suffix(".encrypted")
    command = [
        foreign("openssl"),
        "pkey",
        "-in",
        key,
        "-aes256",
        "-passout",
        "pass:secret",
        "-out",
        encrypted,
    ]
    subprocess.run(command, check=True, capture_output=True)
    return encrypted


def trusting(leaf: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """A client's context that believes the authority, and shows *leaf* if asked."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    if leaf is not None:
        leaf.configure_cert(context)
    return context
