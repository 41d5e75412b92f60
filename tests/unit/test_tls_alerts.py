"""Alerts of TLS that are about our certificate are told in words, with the key of the ini."""

from __future__ import annotations

import ssl

import pytest
from pika.exceptions import AMQPConnectionError, StreamLostError

from taskqueue.broker.connect import reason
from taskqueue.request.http.fault import while_connecting, while_talking

WORDS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "wants a client certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "may want a client certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "wants a client certificate, or another one",
    "TLSV1_ALERT_UNKNOWN_CA": "does not accept the client certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "does not accept the client certificate",
    "TLSV1_ALERT_PROTOCOL_VERSION": None,
    "WRONG_VERSION_NUMBER": None,
}


def alert(name: str) -> ssl.SSLError:
    """Make the error that OpenSSL gives for an alert."""
    error = ssl.SSLError(1, f"[SSL: {name}] {name.lower().replace('_', ' ')} (_ssl.c:1006)")
    error.reason = name
    return error


@pytest.mark.parametrize(("name", "words"), WORDS.items())
def test_an_alert_of_a_receiver_or_broker_is_told_in_words(name: str, words: str | None) -> None:
    """In the handshake, or after it as with TLS 1.3; and its own name stays."""
    requests = [
        while_connecting(alert(name), "h:1", 1.0),
        while_talking(alert(name), "h:1", 1.0, answered=False),
    ]
    lost = StreamLostError(f"Stream connection lost: {alert(name)!r}")
    brokers = [reason(alert(name)), reason(AMQPConnectionError(lost))]
    for told, who, key in [(requests, "receiver", "request_cert_file"), (brokers, "broker", "cert_file")]:
        for each in told:
            assert name in each
            assert (f"the {who} {words} ({key})" in each) is (words is not None)
            assert ("certificate (" in each or "one (" in each) is (words is not None)
