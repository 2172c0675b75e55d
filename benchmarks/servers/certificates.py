"""The certificate that all who speak TLS through the ssl module share."""

from __future__ import annotations

import ssl


def context(certificate: str) -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(certificate)
    return made
