"""What the other end of a TLS connection means by an alert that is about our certificate."""

from __future__ import annotations

import re

# OpenSSL's names, such as SSLV3_ALERT_HANDSHAKE_FAILURE; the version before them tells nothing.
_ALERT = re.compile(r"[A-Z0-9]+_ALERT_([A-Z_]+)")
_MEANINGS = {
    "CERTIFICATE_REQUIRED": "{} wants a client certificate ({})",
    # Before TLS 1.3 there was no alert for a certificate that is missing (RFC 5246, 7.4.6).
    "HANDSHAKE_FAILURE": "{} may want a client certificate ({}), or has no cipher of ours",
    "BAD_CERTIFICATE": "{} wants a client certificate, or another one ({})",
    **dict.fromkeys(
        (
            "UNKNOWN_CA",
            "CERTIFICATE_UNKNOWN",
            "CERTIFICATE_EXPIRED",
            "CERTIFICATE_REVOKED",
            "UNSUPPORTED_CERTIFICATE",
        ),
        "{} does not accept the client certificate ({})",
    ),
}


def meaning(text: str, who: str, key: str) -> str | None:
    """Say what `who` means by the alert in OpenSSL's text, and which key of the ini mends it.

    None where the text has no alert, or one that is about something else.
    """
    found = _ALERT.search(text)
    meant = found and _MEANINGS.get(found[1])
    return meant.format(who, key) if meant else None
