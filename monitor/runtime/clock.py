"""The clock of the live service: it never goes back, and does not believe a leap at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

_LEAP: Final = timedelta(seconds=5)
"""The wall clock and the steady one drift apart by less between two looks."""
_BELIEVED_AFTER: Final = timedelta(seconds=60)
"""A leap forward that has stood for so long is believed."""
_MICROSECOND: Final = timedelta(microseconds=1)


def wall() -> datetime:
    """The time of day, as the machine has it."""
    return datetime.now(UTC)  # noqa: TID251 - the one place where the service reads the time


def steady() -> float:
    """Seconds that nobody sets; where the system can tell, they go on while it sleeps."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class LiveClock:
    """The time by which deadlines are judged and arrivals are stamped.

    It follows the wall clock. Set back, it waits until the wall clock has caught up: what it judged stays judged. Set
    forward, it goes on by the steady clock for a minute before it believes it, so that a short-lived mistake makes
    nothing overdue. Sleep is no leap: the steady clock knows of it.
    """

    def __init__(
        self, wall: Callable[[], datetime] = wall, steady: Callable[[], float] = steady, speed: float = 1
    ) -> None:
        """`speed`: how many times faster than life both run."""
        self._is_made_up = False
        self._wall = wall
        self._steady = steady
        self._speed = speed
        self._alone = threading.RLock()
        """Held while it is asked: by the lane, by the loop, by whoever answers questions."""
        self._last = wall()
        self._apart = self._last - _as_moment(steady())
        """How far the wall clock lies ahead of the steady one."""
        self._leapt_at: float | None = None
        self.steps = 0
        """How often the wall clock has been set."""
        self.behind = timedelta(0)
        """How far the wall clock lies behind what has been judged: it was set back."""

    @classmethod
    def faster(cls, speed: float, start: datetime, steady: Callable[[], float] = steady) -> LiveClock:
        """One that begins at `start` and runs so many times faster than life."""
        began = steady()

        def passed() -> float:
            return (steady() - began) * speed

        clock = cls(lambda: start + timedelta(seconds=passed()), passed, speed)
        clock._is_made_up = True
        return clock

    def not_before(self, moment: datetime) -> None:
        """What has been judged before the start is judged. A clock that is not the real one goes on from there."""
        with self._alone:
            ahead = moment - self._last
            if ahead <= timedelta(0):
                return
            self._last = moment
            if self._is_made_up:
                told = self._wall
                self._wall = lambda: told() + ahead
                self._apart += ahead

    def now(self) -> datetime:
        """The present; never earlier than it has been."""
        with self._alone:
            told = self._believed(self._wall())
            self.behind = max(self._last - told, timedelta(0))
            self._last = max(self._last, told)
            return self._last

    def next(self) -> datetime:
        """The present, as an instant of its own: later than any that it told before."""
        with self._alone:
            last = self._last
            if self.now() == last:
                self._last = last + _MICROSECOND
            return self._last

    def seconds_until(self, moment: datetime) -> float:
        """How many seconds of life there are until a moment; negative for one that is past."""
        return (moment - self.now()).total_seconds() / self._speed

    def _believed(self, told: datetime) -> datetime:
        """The wall clock's time, or for a while after it leapt forward what it would be had it not."""
        seconds = self._steady()
        apart = told - _as_moment(seconds)
        ahead = apart - self._apart
        if abs(ahead) < _LEAP:
            self._apart, self._leapt_at = apart, None
            return told
        if self._leapt_at is None:
            self._leapt_at = seconds
            self.steps += 1
        if ahead < timedelta(0) or seconds - self._leapt_at >= _BELIEVED_AFTER.total_seconds():
            self._apart, self._leapt_at = apart, None
            return told
        return told - ahead


def _as_moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
