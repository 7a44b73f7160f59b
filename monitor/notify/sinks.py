"""The sinks that the settings name."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime

from monitor import settings as told
from monitor.notify.alertmanager import AlertmanagerSink, Firing
from monitor.notify.apprise import AppriseSink
from monitor.notify.email import EmailSink
from monitor.notify.log import Log, LogSink
from monitor.notify.notice import Identifiers, Sink
from monitor.notify.routing import identifiers_of, is_address
from monitor.notify.webhook import WebhookSink


def make_sinks(
    settings: told.Settings,
    *,
    log: Log,
    now: Callable[[], datetime],
    firing: Firing,
    tls: ssl.SSLContext | None = None,
) -> dict[str, Sink]:
    """All sinks, by name. `tls` says whom to trust; by default whom the machine trusts.

    To be made anew when the settings change: they know the receivers' addresses, and what each may see.
    """
    return {name: _make(name, settings, log, now, firing, tls) for name in settings.sinks}


def _make(
    name: str,
    settings: told.Settings,
    log: Log,
    now: Callable[[], datetime],
    firing: Firing,
    tls: ssl.SSLContext | None,
) -> Sink:
    def sees(receiver: str) -> Identifiers:
        return identifiers_of(settings, name, receiver)

    def addresses(receiver: str) -> list[str]:
        if receiver in settings.receivers:
            return settings.receivers[receiver].email
        return [receiver] if is_address(receiver) else []

    match settings.sinks[name]:
        case told.LogSink():
            return LogSink(name, log, sees)
        case told.WebhookSink() as sink:
            return WebhookSink(
                name,
                sink.webhook,
                sees,
                now,
                secret_file=sink.secret_file,
                token_file=sink.token_file,
                tls=tls,
            )
        case told.AlertmanagerSink() as sink:
            return AlertmanagerSink(
                name, sink.alertmanager, sees, now, firing, token_file=sink.token_file, tls=tls
            )
        case told.EmailSink() as sink:
            return EmailSink(name, sink, sees, now, addresses, log, tls=tls)
        case told.AppriseSink() as sink:
            return AppriseSink(name, sink.apprise_file, sees)
