"""Local time: days, hours and calendar deadlines. The only place, with `at`, that knows time zones."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from monitor.core.place import CalendarDays
from monitor.core.text import DAYS, CalendarDuration, HoursOfDay

_ONE_DAY = timedelta(days=1)


def inside(local: datetime, hours: HoursOfDay | None, days: Collection[str] | None) -> bool:
    """Whether a local time lies in the hours of one of the days (contract, section 3, `at`).

    The end is excluded; an interval that spans midnight belongs to the day on which it began.
    """
    if hours is None:
        return _on(local.date(), days)
    clock = local.time()
    if hours.end is None or hours.start < hours.end:
        return hours.start <= clock and (hours.end is None or clock < hours.end) and _on(local.date(), days)
    if clock >= hours.start:
        return _on(local.date(), days)
    return clock < hours.end and _on(local.date() - _ONE_DAY, days)


def calendar_deadline(
    start: datetime, limit: CalendarDuration, days: CalendarDays, zone: ZoneInfo
) -> datetime:
    """The midnight that ends the n-th business or calendar day after the local day of `start` (contract, section 4)."""
    zone = days.timezone or zone
    day = start.astimezone(zone).date()
    left = limit.days
    while left:
        day += _ONE_DAY
        if not limit.business or not _day_off(day, days):
            left -= 1
    return datetime.combine(day + _ONE_DAY, time(), zone).astimezone(UTC)


def _on(day: date, days: Collection[str] | None) -> bool:
    return days is None or DAYS[day.weekday()] in days


def _day_off(day: date, days: CalendarDays) -> bool:
    return DAYS[day.weekday()] in days.weekend or day in days.holidays
