"""What the service writes at once, and the parts that it consists of."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from monitor.core.change import CaseVerdict
from monitor.core.event import Event
from monitor.formats.fhir import Visit
from monitor.formats.reject import Reject
from monitor.ingest.intake import Origin, Position
from monitor.notify.notice import Notice


class Kept(msgspec.Struct, kw_only=True):
    """A reject, with the bytes that it was."""

    origin: Origin
    where: str
    source: str
    reason: str
    detail: str
    segment: str | None = None
    field: str | None = None
    content: bytes
    arrived_at: datetime


class Folded(NamedTuple):
    """A journey that is on disk alone."""

    patient: str
    due_at: datetime | None
    """When something in it is due, with no message coming."""
    phase: int
    is_over: bool
    """Whether nothing that the clock brings can change it."""


class Asked(NamedTuple):
    """A reject that someone wants tried again."""

    id: int
    origin: Origin
    where: str
    source: str
    content: bytes


class Batch(msgspec.Struct, kw_only=True):
    """What one transaction writes."""

    clock: datetime
    """The engine's; never below any arrival in it."""
    facts: list[Event] = []
    """With their arrivals, in order. One whose equal copy is there already is passed over. Their patients are hot from then on."""
    heard: dict[str, datetime] = {}
    """When sources were heard, for messages that leave no fact are signs of life, too."""
    rejects: list[Kept] = []
    retried: list[tuple[int, Reject | None]] = []
    """Rejects that were tried again, and why they are rejected still; None: they were taken."""
    visits: list[Visit] = []
    """What has been told of an Encounter: each takes the place of the one before it."""
    positions: list[Position] = []
    anew: list[str] = []
    """Patients whose verdicts are all in this batch: what was known of them before is forgotten."""
    verdicts: list[CaseVerdict] = []
    gone: list[str] = []
    """Ids of cases that are no more."""
    notices: list[Notice] = []
    """The present state of alerts; one with an older sequence than that on disk changes nothing."""
    deliveries: list[tuple[str, str, Notice]] = []
    """Sink, receiver, notice: put into the outbox."""
    folded: list[Folded] = []
    """Journeys that are now on disk alone. A patient who is in `hot` or `facts` too is hot."""
    hot: list[str] = []
    """Patients whose journeys are in memory again."""
