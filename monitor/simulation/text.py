"""Instants as text, from tables: most of what a log of events consists of."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from monitor.simulation.clock import DAY
from monitor.simulation.course import Seconds


def moment(at: Seconds) -> str:
    """RFC 3339, in UTC, to the second."""
    return _date(at // DAY) + _times()[at % DAY]


@cache
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY, UTC).strftime("%Y-%m-%d")


@cache
def _times() -> list[str]:
    hours, sixty = range(24), range(60)
    return [f"T{hour:02}:{minute:02}:{second:02}Z" for hour in hours for minute in sixty for second in sixty]
