"""Which sources are silent (contract, section 5, Feeds; decisions 30 to 32)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from match import duration, in_hours

from monitor.core.event import Event


def silent_from(
    events: Iterable[Event], registry: dict[str, Any], instant: datetime, listened: Iterable[str]
) -> dict[str, datetime]:
    """For each source that was heard, the instant after which it is silent if nothing more is heard of it."""
    found = {}
    for source in listened:
        heard = [e.arrived_at for e in events if e.source == source and e.arrived_at <= instant]
        limit = limit_at(source, registry, max(heard)) if heard else None
        if limit is not None:
            found[source] = max(heard) + limit
    return found


def limit_at(source: str, registry: dict[str, Any], heard_at: datetime) -> timedelta | None:
    profile = registry.get("sources", {}).get(source, {})
    limits = profile.get("silent_after")
    if limits is None or isinstance(limits, str):
        return duration(limits) if limits else None
    local = heard_at.astimezone(ZoneInfo(profile.get("timezone") or registry.get("timezone", "UTC")))
    return next((duration(each["after"]) for each in limits if in_hours(each, local)), None)


def silences(
    events: Iterable[Event], registry: dict[str, Any], clock: tuple[datetime, int], listened: Iterable[str]
) -> dict[str, datetime]:
    """The sources that are silent at the clock, and since when."""
    limits = silent_from(events, registry, clock[0], listened)
    return {source: at for source, at in limits.items() if clock > (at, 0)}
