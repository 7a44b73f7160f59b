"""Alerts to Prometheus Alertmanager, by its API v2.

Alertmanager knows an alert by its labels, and lets it end when nothing is heard of it for a while. So what fires is told again
every minute; and when labels change (severity, level, place), the alert of the former labels is ended with the same request.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec

from monitor.notify.answer import bearer, client, post
from monitor.notify.notice import Delivery, Identifiers, NotDelivered, Notice, Sees
from monitor.notify.secret import secret
from monitor.notify.text import line, moment, shown

Firing = Callable[[str], Awaitable[Sequence[tuple[str, Notice]]]]
"""By a sink's name: all alerts that fire now and were told through it, each with its receiver and in its present state."""

_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]")
_AT_ONCE: Final = 500


class Told(NamedTuple):
    """What Alertmanager was told of an alert that fires, under one set of labels."""

    labels: dict[str, str]
    notice: Notice


class _Known:
    """What was told of one alert for one receiver: its latest notice, and what may still be firing there, by labels."""

    def __init__(self, notice: Notice) -> None:
        self.latest = notice
        self.live: dict[str, Told] = {}


class _Member:
    """One Alertmanager of a cluster. What it is told, it is told in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_down = False
        self.in_order = asyncio.Lock()


class AlertmanagerSink:
    """Posts to all members of a cluster, as Prometheus does: they share silences, and what was sent, but not alerts."""

    at_once = _AT_ONCE
    gather_seconds = 0.0

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        sees: Sees,
        now: Callable[[], datetime],
        firing: Firing,
        *,
        token_file: str | None = None,
        tls: ssl.SSLContext | None = None,
        refresh_seconds: float = 60.0,
    ) -> None:
        self.name = name
        self.refresh_seconds = refresh_seconds
        self._lasts = timedelta(seconds=5 * refresh_seconds)
        self._sees = sees
        self._now = now
        self._firing = firing
        self._token_file = token_file
        self._client = client(tls)
        self._members = [_Member(f"{url.rstrip('/')}/api/v2/alerts") for url in urls]
        self._known: dict[tuple[str, str], _Known] = {}

    async def send(self, deliveries: Sequence[Delivery]) -> None:
        """A member that did not answer the last time is left to `refresh`, so that it holds up nothing, unless all are so."""
        await self._tell(
            [(delivery.receiver, delivery.notice) for delivery in deliveries],
            [member for member in self._members if not member.is_down] or self._members,
        )

    async def refresh(self) -> None:
        """Tell every member what fires now. Raises `NotDelivered`, in the end, when some of it could be told to none."""
        firing = await self._firing(self.name)
        problems: list[NotDelivered] = []
        for first in range(0, len(firing), _AT_ONCE):
            try:
                await self._tell(firing[first : first + _AT_ONCE], self._members)
            except NotDelivered as problem:
                problems.append(problem)
        fires = {(notice.alert, receiver) for receiver, notice in firing}
        over = [name for name, known in self._known.items() if name not in fires and not known.live]
        for name in over:
            del self._known[name]
        if problems:
            raise problems[0]

    async def close(self) -> None:
        await self._client.aclose()

    async def _tell(self, told: Sequence[tuple[str, Notice]], members: Sequence[_Member]) -> None:
        body: list[dict[str, Any]] = []
        ended: list[tuple[_Known, str, Told]] = []
        now = self._now()
        for receiver, notice in told:
            known = self._known.setdefault((notice.alert, receiver), _Known(notice))
            if notice.sequence < known.latest.sequence:
                continue  # it was read before something newer was sent
            known.latest = notice
            told_now = Told(labels(receiver, notice), notice)
            present = _name(told_now.labels)
            if notice.state == "firing" or not known.live:
                known.live[present] = told_now
            for name, each in known.live.items():
                if notice.state == "firing" and name == present:
                    body.append(self._alert(receiver, each, now, now + self._lasts))
                else:
                    body.append(self._alert(receiver, each, now, now))
                    ended.append((known, name, each))
        await self._post(body, members)
        for known, name, each in ended:
            if known.live.get(name) is each:
                del known.live[name]

    def _alert(self, receiver: str, told: Told, now: datetime, ends_at: datetime) -> dict[str, Any]:
        notice = shown(told.notice, self._sees(receiver))
        alert: dict[str, Any] = {
            "labels": told.labels,
            "annotations": texts(told.notice, self._sees(receiver)),
            # One that began later than it ends would be refused.
            "startsAt": _text(min(notice.at, now)),
            "endsAt": _text(ends_at),
        }
        if notice.link is not None and notice.link.startswith(("https://", "http://")):
            alert["generatorURL"] = notice.link
        return alert

    async def _post(self, alerts: Sequence[dict[str, Any]], members: Sequence[_Member]) -> None:
        """One member that takes them is enough: the others are told by `refresh`. Raises `NotDelivered` when none does."""
        if not alerts:
            return
        body = msgspec.json.encode(alerts)
        headers = bearer(self._token_file and secret(self._token_file))
        problems = await asyncio.gather(*(self._post_to(member, body, headers) for member in members))
        if None not in problems:
            raise max((each for each in problems if each is not None), key=lambda problem: problem.retry)

    async def _post_to(self, member: _Member, body: bytes, headers: dict[str, str]) -> NotDelivered | None:
        async with member.in_order:
            try:
                await post(self._client, member.url, body, headers)
            except NotDelivered as problem:
                member.is_down = problem.retry
                return problem
        member.is_down = False
        return None


def labels(receiver: str, notice: Notice) -> dict[str, str]:
    """By these Alertmanager knows and routes an alert. They never tell of the patient, and all but `alert` are few."""
    given = {_LABEL.sub("_", name): value for name, value in notice.labels.items()}
    place = shown(notice, "none").place
    ours = {
        "alertname": notice.rule,
        "rule": notice.rule,
        "severity": notice.severity,
        "level": str(notice.level),
        "place": place or "",
        "receiver": receiver,
        "alert": notice.alert,
    }
    return {name: value for name, value in (given | ours).items() if value}


def texts(notice: Notice, identifiers: Identifiers) -> dict[str, str]:
    """What people read; with as much of the patient as the receiver may see."""
    seen = shown(notice, identifiers)
    given = {_LABEL.sub("_", name): value for name, value in notice.annotations.items()}
    ours: dict[str, str | None] = {
        "summary": seen.summary,
        "description": line(notice, identifiers),
        "action": seen.action,
        "owner": seen.owner,
        "since": None if seen.trigger_at is None else moment(seen.trigger_at, seen.timezone),
        "due": None if seen.due_at is None else moment(seen.due_at, seen.timezone),
        "place": seen.place_name,
        "location": seen.location,
        "patient": seen.patient,
        "encounter": seen.encounter,
        "pseudonym": seen.pseudonym,
        "link": seen.link,
        "runbook_url": seen.runbook,
    }
    return given | {name: value for name, value in ours.items() if value}


def _name(labels: dict[str, str]) -> str:
    return msgspec.json.encode(sorted(labels.items())).decode()


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")
