"""Alerts as JSON, posted to an address: one request a notice, signed, and named so that a repeat can be told."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from monitor.core.event import moment_text
from monitor.notify.answer import bearer, client, post
from monitor.notify.key import key
from monitor.notify.notice import Delivery, Identifiers, Sees
from monitor.notify.secret import secret
from monitor.notify.text import line, shown, subject

VERSION: Final = 1
"""Of the body; it grows when a field changes its meaning or goes, not when one is added."""


class WebhookSink:
    """Signs with `Handoff-Signature: v1=HEX`, the HMAC-SHA256 of `TIMESTAMP.BODY`, where `Handoff-Timestamp` has the seconds since 1970."""

    at_once = 1
    gather_seconds = 0.0

    def __init__(
        self,
        name: str,
        url: str,
        sees: Sees,
        now: Callable[[], datetime],
        *,
        secret_file: str | None = None,
        token_file: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self._url = url
        self._sees = sees
        self._now = now
        self._secret_file = secret_file
        self._token_file = token_file
        self._client = client(tls)

    async def send(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            content = msgspec.json.encode(body(delivery, self._sees(delivery.receiver)))
            headers = {"Idempotency-Key": key([delivery])}
            headers |= bearer(self._token_file and secret(self._token_file))
            if self._secret_file is not None:
                headers |= signed(content, secret(self._secret_file), self._now())
            await post(self._client, self._url, content, headers)

    async def close(self) -> None:
        await self._client.aclose()


def body(delivery: Delivery, identifiers: Identifiers) -> dict[str, Any]:
    """What is posted of one delivery."""
    notice = delivery.notice
    return {
        "version": VERSION,
        "key": key([delivery]),
        "receiver": delivery.receiver,
        "title": subject(notice),
        "text": line(notice, identifiers),
        "alert": _exact(msgspec.to_builtins(shown(notice, identifiers), builtin_types=(datetime,))),
    }


def _exact(value: Any) -> Any:
    """Times to the microsecond, always: so the sequences of an alert are in order as text, too."""
    if isinstance(value, datetime):
        return moment_text(value)
    if isinstance(value, list | tuple):
        return [_exact(each) for each in value]
    if isinstance(value, dict):
        return {name: _exact(each) for name, each in value.items()}
    return value


def signed(content: bytes, secret: str, now: datetime) -> dict[str, str]:
    """The headers by which the other side knows that a body is ours, and fresh."""
    timestamp = str(int(now.timestamp()))
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + content, "sha256").hexdigest()
    return {"Handoff-Timestamp": timestamp, "Handoff-Signature": f"v1={digest}"}
