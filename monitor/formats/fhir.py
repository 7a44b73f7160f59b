"""FHIR R4 and R5: Encounters and the bundles that bring them, as visits and events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from monitor.core.event import Event


class Visit(msgspec.Struct, kw_only=True):
    """The whole state of one Encounter in one version, as the events that would tell it."""

    source: str
    key: str
    """Names the Encounter within its source."""
    recorded_at: datetime
    """`meta.lastUpdated`."""
    events: list[Event]
    """Each under the id that it has as long as it is about the same thing."""


def changes(visit: Visit, told: Sequence[Event]) -> list[Event]:
    """What a new version of an Encounter says beyond what has been told of it: new events, corrections, cancels."""
    raise NotImplementedError
