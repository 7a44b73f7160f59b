"""What must hold between several settings, and what is unwise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import combinations
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from monitor.core.text import found
from monitor.rulefile.document import Node
from monitor.rulefile.judge import closest, did_you_mean, node_at
from monitor.rulefile.problem import Problem, SourceText
from monitor.settings.model import (
    AlertmanagerSink,
    Brokers,
    Cluster,
    EmailSink,
    Http,
    Mllp,
    Settings,
    WebhookSink,
)

DEFAULT: Final = "default"
"""The receiver of what names nobody else."""
LOG: Final = "log"
"""The sink that there is where none are named, and to which alerts go where no receivers are."""
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_PLACEHOLDER = re.compile(r"\{(\w*)\}")
_IN_LINKS: Final = frozenset({"alert", "journey"})
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - it is recognised, not bound


class _Found(NamedTuple):
    """What is wrong, and under which key."""

    path: tuple[str | int, ...]
    code: str
    message: str
    hint: str | None = None
    severity: Literal["error", "warning"] = "error"


def check(settings: Settings, root: Node, source: SourceText) -> list[Problem]:
    """All that is wrong, or unwise, about settings whose single values are right; `root` is what they were read from."""
    all_found = [
        *_receivers(settings),
        *_addresses(settings),
        *_listeners(settings),
        *_strangers(settings),
        *_open_ways(settings),
        *(each for number, kafka in enumerate(settings.kafka) for each in _brokers(kafka, ("kafka", number))),
        *(_cluster(settings.cluster) if settings.cluster else ()),
    ]
    if (
        not settings.rules and settings.cluster is None
    ):  # of a cluster only the workers need rules, and ask for them
        all_found.append(_Found((), "no-rules", "no `rules`: nothing is watched", severity="warning"))
    return [_problem(each, root, source) for each in all_found]


def _problem(each: _Found, root: Node, source: SourceText) -> Problem:
    node = node_at(root, each.path)
    return source.problem(
        node.start, max(node.end, node.start + 1), each.code, each.message, each.hint, severity=each.severity
    )


def _receivers(settings: Settings) -> Iterator[_Found]:
    if "receivers" not in settings.model_fields_set and LOG not in settings.sinks:
        message = f"no `receivers`: alerts would go to a sink `{LOG}`, which is not among these"
        names = ", ".join(settings.sinks) or "..."
        yield _Found(
            ("sinks",), "missing-key", message, f"write `receivers: {{{DEFAULT}: {{sinks: [{names}]}}}}`"
        )
        return
    for name, receiver in settings.receivers.items():
        for number, sink in enumerate(receiver.sinks):
            if sink not in settings.sinks:
                hint = did_you_mean(closest(sink, settings.sinks))
                message = f"no sink has the name {found(sink)}"
                yield _Found(("receivers", name, "sinks", number), "unknown-sink", message, hint)
            elif isinstance(settings.sinks[sink], EmailSink) and not receiver.email:
                message = f"sink {found(sink)} sends e-mail, and the receiver has no addresses"
                yield _Found(
                    ("receivers", name), "missing-key", message, "write `email: [name@hospital.example]`"
                )
        for number, address in enumerate(receiver.email):
            if not _is_address(address):
                message = f"{found(address)} is not an e-mail address"
                yield _Found(("receivers", name, "email", number), "bad-value", message)
    if DEFAULT not in settings.receivers:
        message = f"no receiver `{DEFAULT}`: alerts that name no other would reach nobody"
        yield _Found(("receivers",), "missing-key", message)


def _addresses(settings: Settings) -> Iterator[_Found]:
    for name, sink in settings.sinks.items():
        if isinstance(sink, WebhookSink):
            yield from _url(("sinks", name, "webhook"), sink.webhook)
        elif isinstance(sink, AlertmanagerSink):
            for number, url in enumerate(sink.alertmanager):
                yield from _url(("sinks", name, "alertmanager", number), url)
        elif isinstance(sink, EmailSink):
            if not _is_address(sink.sender):
                message = f"{found(sink.sender)} is not an e-mail address"
                yield _Found(("sinks", name, "sender"), "bad-value", message)
            if sink.password_file is not None and sink.user is None:
                yield _Found(("sinks", name), "missing-key", "`password_file` without `user`")
    if settings.link is not None:
        yield from _url(("link",), _PLACEHOLDER.sub("x", settings.link))
        for unknown in sorted(set(_PLACEHOLDER.findall(settings.link)) - _IN_LINKS):
            message = f"`{{{unknown}}}` stands for nothing: a link may hold `{{alert}}` and `{{journey}}`"
            yield _Found(("link",), "bad-value", message)


def _url(path: tuple[str | int, ...], url: str) -> Iterator[_Found]:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        yield _Found(path, "bad-value", f"{found(url)} is not an address: write https://host/path")


def _is_address(text: str) -> bool:
    return re.fullmatch(r"(?:[^<>\r\n]*<)?[^@\s<>]+@[^@\s<>]+>?", text) is not None


def _brokers(kafka: Brokers, path: tuple[str | int, ...]) -> Iterator[_Found]:
    if kafka.security.startswith("sasl") and (kafka.user is None or kafka.password_file is None):
        yield _Found(path, "missing-key", f"security `{kafka.security}` needs `user` and `password_file`")
    if (kafka.certificate is None) != (kafka.key is None):
        yield _Found(path, "missing-key", "`certificate` and `key` go together")
    if not kafka.security.endswith("tls") and (kafka.ca or kafka.certificate):
        message = f"certificates are of no use with security `{kafka.security}`"
        yield _Found((*path, "security"), "bad-value", message, "write `security: tls` or `sasl-tls`")


def _cluster(cluster: Cluster) -> Iterator[_Found]:
    yield from _brokers(cluster, ("cluster",))
    if not _PREFIX.fullmatch(cluster.prefix):
        message = f"{found(cluster.prefix)} cannot begin the name of a topic: write ASCII letters, digits, `.`, `_`, `-`"
        yield _Found(("cluster", "prefix"), "bad-value", message)


def _listeners(settings: Settings) -> Iterator[_Found]:
    """Two that listen on one port, of which the second could not start."""
    listeners: dict[str, Mllp | Http] = {"mllp": settings.mllp, "http": settings.http}
    for (one, first), (other, second) in combinations(listeners.items(), 2):
        share_hosts = first.host == second.host or not _EVERYWHERE.isdisjoint({first.host, second.host})
        if first.port == second.port != 0 and share_hosts:
            message = f"`{one}` and `{other}` cannot both listen on port {second.port}"
            yield _Found((other, "port"), "same-port", message)


def _strangers(settings: Settings) -> Iterator[_Found]:
    """What listens beyond this machine without protection: it may be right behind a proxy, but should be meant."""
    mllp, http = settings.mllp, settings.http
    if not is_loopback(mllp.host) and mllp.tls is None:
        message = (
            "MLLP listens beyond this machine without `tls`: anyone who reaches it can read and send messages"
        )
        yield _Found(("mllp", "host"), "unprotected", message, severity="warning")
    if not is_loopback(http.host) and http.tls is None:
        message = "HTTP listens beyond this machine without `tls`: tokens and patients cross the network as they are"
        yield _Found(("http", "host"), "unprotected", message, severity="warning")
    if not is_loopback(http.host) and http.tokens is None:
        message = "HTTP listens beyond this machine without `tokens`: nobody there may post or read"
        yield _Found(("http", "host"), "unprotected", message, severity="warning")


def _open_ways(settings: Settings) -> Iterator[_Found]:
    """Sinks by which patients would cross the network for all to read."""
    for name, sink in settings.sinks.items():
        if isinstance(sink, WebhookSink):
            urls: list[tuple[tuple[str | int, ...], str]] = [(("webhook",), sink.webhook)]
        elif isinstance(sink, AlertmanagerSink):
            urls = [(("alertmanager", number), url) for number, url in enumerate(sink.alertmanager)]
        else:
            continue
        shown = {
            each.identifiers or sink.identifiers for each in settings.receivers.values() if name in each.sinks
        }
        for path, url in urls:
            if "full" in shown and _is_open(url):
                message = f"patients cross the network as they are: {found(url)} is not `https`, and `identifiers` is `full`"
                yield _Found(("sinks", name, *path), "unprotected", message, severity="warning")


def _is_open(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "http" and not is_loopback(parts.hostname or "")
    except ValueError:
        return False  # which is told as what it is


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
