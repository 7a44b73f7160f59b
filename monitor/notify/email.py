"""Alerts by e-mail: one message for a receiver and the alerts of a short while."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Final

from monitor.notify.key import key
from monitor.notify.log import Log
from monitor.notify.notice import Delivery, Identifiers, NotDelivered, Sees
from monitor.notify.secret import secret
from monitor.notify.text import html, plain, subject
from monitor.settings import EmailSink as Server

PORTS: Final = {"tls": 465, "starttls": 587, "none": 25}
_TIMEOUT_SECONDS: Final = 20.0
_SEPARATOR: Final = "\n" + "-" * 60 + "\n\n"


class EmailSink:
    """Sends in threads of its own, since `smtplib` waits. Certificates are verified, unless `security` is `none`."""

    at_once = 50

    def __init__(
        self,
        name: str,
        server: Server,
        sees: Sees,
        now: Callable[[], datetime],
        addresses: Callable[[str], Sequence[str]],
        log: Log,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`addresses` are those of a receiver."""
        self.name = name
        self.gather_seconds = server.gather.total_seconds()
        self._server = server
        self._sees = sees
        self._now = now
        self._addresses = addresses
        self._log = log
        self._tls = tls or ssl.create_default_context()
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix=f"email-{name}")

    async def send(self, deliveries: Sequence[Delivery]) -> None:
        receiver = deliveries[0].receiver
        addresses = list(self._addresses(receiver))
        if not addresses:
            raise NotDelivered("the receiver has no e-mail address", retry=False)
        message = compose(deliveries, self._sees(receiver), self._server.sender, addresses, self._now())
        run = asyncio.get_running_loop().run_in_executor
        refused = await run(self._threads, self._hand_over, message, addresses)
        if refused:
            self._log("addresses_refused", sink=self.name, receiver=receiver, codes=refused)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _hand_over(self, message: EmailMessage, addresses: Sequence[str]) -> list[int]:
        """The codes by which some of the addresses were refused for good, while others were not.

        Raises `NotDelivered`: finally only when the server said, with a 5xx code, that it will not have this message or its receivers.
        """
        try:
            with self._connected() as server:
                refused = server.send_message(message, self._server.sender, addresses)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            raise NotDelivered(
                f"all addresses refused: {codes}", retry=any(code < 500 for code in codes)
            ) from None
        except smtplib.SMTPDataError as error:
            raise NotDelivered(f"message refused: {error.smtp_code}", retry=error.smtp_code < 500) from None
        except (
            smtplib.SMTPResponseException
        ) as error:  # of the connection, the login or the sender: not of this message
            raise NotDelivered(f"{type(error).__name__}: {error.smtp_code}") from None
        except (OSError, smtplib.SMTPException) as error:
            raise NotDelivered(f"no connection: {type(error).__name__}") from None
        codes = [code for code, _ in refused.values()]
        if any(code < 500 for code in codes):
            raise NotDelivered("one of several addresses was put off")
        return codes

    def _connected(self) -> smtplib.SMTP:
        host, port = address(self._server.email, PORTS[self._server.security])
        if self._server.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT_SECONDS, context=self._tls)
        else:
            server = smtplib.SMTP(host, port, timeout=_TIMEOUT_SECONDS)
        try:
            if self._server.security == "starttls":
                server.starttls(context=self._tls)
            if self._server.user is not None and self._server.password_file is not None:
                server.login(self._server.user, secret(self._server.password_file))
        except BaseException:
            server.close()
            raise
        return server


def compose(
    deliveries: Sequence[Delivery],
    identifiers: Identifiers,
    sender: str,
    addresses: Sequence[str],
    now: datetime,
) -> EmailMessage:
    """One message of several notices. Its subject never tells who the patients are."""
    notices = [delivery.notice for delivery in deliveries]
    message = EmailMessage()
    first = subject(notices[0])
    message["Subject"] = first if len(notices) == 1 else f"{len(notices)} alerts: {first}, and others"
    message["From"] = sender
    message["To"] = ", ".join(addresses)
    message["Date"] = format_datetime(now)
    domain = parseaddr(sender)[1].rpartition("@")[2] or "handoff-monitor"
    message["Message-ID"] = f"<{key(deliveries)}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no machine should answer
    message.set_content(_SEPARATOR.join(plain(notice, identifiers) for notice in notices))
    message.add_alternative(html(notices, identifiers), subtype="html")
    return message


def address(server: str, port: int) -> tuple[str, int]:
    """Host and port of `host`, `host:port` or `[::1]:port`."""
    host, colon, given = server.rpartition(":")
    if colon and given.isdigit() and (host.startswith("[") or ":" not in host):
        return host.strip("[]"), int(given)
    return server.strip("[]"), port
