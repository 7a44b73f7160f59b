"""Feeds: which source is alive, and since when one has been silent (contract, section 5, Feeds)."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime, timedelta
from typing import Final

from monitor.core.calendar import inside
from monitor.core.clock import Clock
from monitor.core.place import Registry

SHORT: Final = timedelta(seconds=30)
"""Shorter gaps are not remembered, unless the limit is shorter still: a busy feed has one after each message."""


class Feed:
    """When one source was heard; and so, by what the registry allows, whether it is silent at a clock."""

    __slots__ = ("_gaps", "_last", "_registry", "_short", "source")

    def __init__(self, source: str, registry: Registry) -> None:
        self.source = source
        self._registry = registry
        self._short = min([SHORT, *self._limits()])
        self._last: datetime | None = None
        self._gaps: list[tuple[datetime, datetime]] = []
        """When it was heard, and next heard, where these lie apart."""

    def heard(self, at: datetime) -> None:
        """Any event, duplicate or heartbeat came."""
        if self._last is not None and at - self._last > self._short:
            self._gaps.append((self._last, at))
        self._last = at

    def heard_through(self, since: datetime, until: datetime) -> None:
        """It was heard again and again from one instant to another, without a gap that could be silence."""
        self.heard(since)
        self._last = until

    def under(self, registry: Registry) -> Feed:
        """The same feed by the limits of another registry."""
        other = Feed(self.source, registry)
        other._last, other._gaps = self._last, self._gaps
        return other

    @property
    def falls_silent_at(self) -> Clock | None:
        """The clock from which it is silent, if it is not heard again before."""
        return None if self._last is None else self._limit(self._last)

    def silent_since(self, now: Clock) -> Clock | None:
        """Since when it is silent at a clock; None while it is alive."""
        if self._last is None:
            return None
        last = self._last
        if (last, 0) > now:
            index = bisect_right(self._gaps, now, key=lambda gap: (gap[0], 0)) - 1
            if index < 0 or (self._gaps[index][1], 0) <= now:
                return None
            last = self._gaps[index][0]
        falls = self._limit(last)
        return falls if falls is not None and falls <= now else None

    def turns(self) -> list[Clock]:
        """Every clock at which it fell silent or came back, or will fall silent."""
        turns: list[Clock] = []
        for last, following in self._gaps:
            falls = self._limit(last)
            if falls is not None and falls < (following, 0):
                turns += [falls, (following, 0)]
        return turns if self.falls_silent_at is None else [*turns, self.falls_silent_at]

    def _limits(self) -> list[timedelta]:
        limits = self._registry.source(self.source).silent_after or []
        return [limits] if isinstance(limits, timedelta) else [limit.after for limit in limits]

    def _limit(self, at: datetime) -> Clock | None:
        """From when it is silent when last heard at an instant; None: never."""
        profile = self._registry.source(self.source)
        limits = profile.silent_after
        if limits is None or isinstance(limits, timedelta):
            return None if limits is None else (at + limits, 1)
        local = at.astimezone(profile.timezone or self._registry.timezone)
        for limit in limits:
            if inside(local, limit.hours, limit.days):
                return (at + limit.after, 1)
        return None
