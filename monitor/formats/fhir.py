"""FHIR R4 and R5: Encounters and the bundles that bring them, as visits and events."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from monitor.core.event import Event, Moment
from monitor.core.place import Registry
from monitor.formats.reject import Reject


class Visit(msgspec.Struct, kw_only=True):
    """The whole state of one Encounter in one version, as the events that would tell it."""

    source: str
    key: str
    """Names the Encounter within its source."""
    recorded_at: Moment
    """`meta.lastUpdated`."""
    events: list[Event] = []
    """Of a visit that was decoded: the events of this version, as if it were the first. Of one that is kept: what has been told, the last word on each."""


class Notification(msgspec.Struct, kw_only=True):
    """What one document brings."""

    visits: list[Visit] = []
    """The Encounters in it, older versions before newer ones."""
    rejects: list[Reject] = []
    """Why entries of it could not be used."""
    kind: Literal["events", "heartbeat", "handshake"] = "events"
    """`heartbeat` and `handshake` of a subscription bring no Encounters: they prove that the source lives."""
    subscription: str | None = None
    """The subscription by which it came, as its source names it."""
    numbers: tuple[int, int] | None = None
    """The first and the last `eventNumber` in it; a gap to the last one of the notification before shows what was lost."""
    source: str = ""
    """The feed: the `source` that was given, else what the message says of itself, else `fhir`."""
    heard_at: Moment | None = None
    """When its sender made it, if it says so."""


class Changes(NamedTuple):
    """What a version of an Encounter brings."""

    events: list[Event]
    """To be told now: new events, corrections (`replaces`), cancels (`cancels`); none if nothing is new."""
    told: Visit
    """To be kept in place of what was kept before; the next version is compared with it."""


def decode(content: bytes, registry: Registry, source: str = "") -> Notification | Reject:
    """What a FHIR resource or Bundle (JSON, R4 or R5) brings, or why it cannot be used. Never raises."""
    raise NotImplementedError


def changes(visit: Visit, told: Visit | None) -> Changes:
    """What a version of an Encounter says beyond what has been told of it; `told` is None where nothing has been."""
    raise NotImplementedError
