"""Local time in the simulated hospital, read from a table of midnights."""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, datetime, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from monitor.simulation.journey import Seconds

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400

ZONE: Final = "Europe/London"
_ZONE: Final = ZoneInfo(ZONE)
_HOLIDAYS: Final = """
    2025-04-18 2025-04-21 2025-05-05 2025-05-26 2025-08-25 2025-12-25 2025-12-26
    2026-01-01 2026-04-03 2026-04-06 2026-05-04 2026-05-25 2026-08-31 2026-12-25 2026-12-28
    2027-01-01 2027-03-26 2027-03-29 2027-05-03 2027-05-31 2027-08-30 2027-12-27 2027-12-28
"""
HOLIDAYS: Final = frozenset(map(date.fromisoformat, _HOLIDAYS.split()))
"""Bank holidays of England, 2025 to 2027 (gov.uk)."""

_SATURDAY: Final = 5
_OPENS: Final = 8 * HOUR + 30 * MINUTE
_CLOSES: Final = 18 * HOUR + 30 * MINUTE
_BEYOND: Final = 300
"""Days after the last one that can still be asked for: follow-up is planned that far ahead."""


def midnight(day: date) -> Seconds:
    """The instant at which a local day begins."""
    return int(datetime(day.year, day.month, day.day, tzinfo=_ZONE).timestamp())


@cache
def clock(first: date, days: int) -> Clock:
    """The clock of a log; its hospitals share it."""
    return Clock(first, days)


class Clock:
    """Days are numbered from the first one. On the two days a year that change the clock, hours after that are one off."""

    def __init__(self, first: date, days: int) -> None:
        dates = [first + timedelta(days=number) for number in range(days + _BEYOND)]
        self.midnights = list(map(midnight, dates))
        self._weekdays = [each.weekday() for each in dates]
        self._days_off = [each.weekday() >= _SATURDAY or each in HOLIDAYS for each in dates]
        self.start = self.midnights[0]
        self.end = self.midnights[days]
        self._nights = [hour < 7 or hour >= 22 for hour in range(24)] * len(dates)

    def day(self, at: Seconds) -> int:
        """The number of the local day."""
        return bisect_right(self.midnights, at) - 1

    def weekday(self, day: int) -> int:
        """0 is Monday."""
        return self._weekdays[day]

    def time_of_day(self, at: Seconds) -> Seconds:
        """Seconds since local midnight."""
        return at - self.midnights[self.day(at)]

    def is_night(self, at: Seconds) -> bool:
        """Whether it is between 22:00 and 07:00, in the time of the first day."""
        return self._nights[(at - self.start) // HOUR]

    def is_day_off(self, day: int) -> bool:
        """Whether it is a Saturday, a Sunday or a bank holiday."""
        return self._days_off[day]

    def at_office_hours(self, at: Seconds, later: Seconds) -> Seconds:
        """The instant itself; where no practice is open then, so much after the next opening, at 08:30 of a working day."""
        day = self.day(at)
        time_of_day = at - self.midnights[day]
        if not self._days_off[day] and _OPENS <= time_of_day < _CLOSES:
            return at
        if time_of_day >= _OPENS:
            day += 1
        while self._days_off[day]:
            day += 1
        return self.midnights[day] + _OPENS + later
