"""The numbers of the protocol, by the names that the RFCs gave them.

Plain integers, not an enum: they are compared once and more for every question.
"""

from __future__ import annotations

__all__ = [
    "AAAA",
    "AUTHORITATIVE",
    "BADVERS",
    "CHECKING_DISABLED",
    "CNAME",
    "FORMERR",
    "IN",
    "META",
    "NOERROR",
    "NOTIMP",
    "NS",
    "NXDOMAIN",
    "OPT",
    "PTR",
    "RECURSION_AVAILABLE",
    "RECURSION_DESIRED",
    "REFUSED",
    "RESPONSE",
    "SERVFAIL",
    "SOA",
    "TRUNCATED",
    "A",
]

# ---- types of records, and the one class that is in use (RFC 1035, 3596, 6891)

A, NS, CNAME, SOA, PTR, AAAA, OPT = 1, 2, 5, 6, 12, 28, 41
IN = 1

#: Types that no record has; they ask for something else: ANY, AXFR, keys (RFC 6895, section 3.1).
META = range(128, 256)

# ---- how it went (RFC 1035, 6891)

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

# ---- bits of the header's flags (RFC 1035, 4035)

RESPONSE, AUTHORITATIVE, TRUNCATED = 0x8000, 0x0400, 0x0200
RECURSION_DESIRED, RECURSION_AVAILABLE, CHECKING_DISABLED = 0x0100, 0x0080, 0x0010
