"""Feeds: which source is alive, and since when one has been silent (contract, section 5, Feeds)."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime, timedelta

from monitor.core.calendar import inside
from monitor.core.clock import Clock
from monitor.core.place import Registry


class Feed:
    """When one source, that declares `silent_after`, was heard; and so, for every clock, whether it is silent."""

    __slots__ = ("_registry", "falls_silent_at", "silences", "source")

    def __init__(self, source: str, registry: Registry) -> None:
        self.source = source
        self._registry = registry
        self.falls_silent_at: Clock | None = None
        """The clock from which it is silent, if it is not heard again before."""
        self.silences: list[tuple[Clock, Clock]] = []
        """Past silences: from, and until it was heard again."""

    def heard(self, at: datetime) -> None:
        """Any event, duplicate or heartbeat came."""
        if self.falls_silent_at is not None and self.falls_silent_at <= (at, 0):
            self.silences.append((self.falls_silent_at, (at, 0)))
        limit = self._limit(at)
        self.falls_silent_at = None if limit is None else (at + limit, 1)

    def silent_since(self, now: Clock) -> Clock | None:
        """Since when it is silent at a clock; None while it is alive."""
        if self.falls_silent_at is not None and self.falls_silent_at <= now:
            return self.falls_silent_at
        index = bisect_right(self.silences, now, key=lambda silence: silence[0]) - 1
        if index < 0 or self.silences[index][1] <= now:
            return None
        return self.silences[index][0]

    def turns(self) -> list[Clock]:
        """Every clock at which it fell silent or came back, or will fall silent."""
        turns = [clock for silence in self.silences for clock in silence]
        return turns if self.falls_silent_at is None else [*turns, self.falls_silent_at]

    def _limit(self, at: datetime) -> timedelta | None:
        """How long it may be silent when last heard at an instant."""
        profile = self._registry.source(self.source)
        limits = profile.silent_after
        if limits is None or isinstance(limits, timedelta):
            return limits
        local = at.astimezone(profile.timezone or self._registry.timezone)
        for limit in limits:
            if inside(local, limit.hours, limit.days):
                return limit.after
        return None
