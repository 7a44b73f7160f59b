"""How long a journey matters: after that it may leave memory (contract, section 5, Old news)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

from monitor.core.rule import CaseRule
from monitor.core.text import CalendarDuration, Model

MARGIN: Final = timedelta(hours=72)
_DAYS_EACH: Final = 4
"""Calendar days are reckoned as so many days each: weekends and holidays may lie between business days."""


def horizon(rules: Iterable[CaseRule], least: timedelta) -> timedelta:
    """Longer than any of the rules looks back, plus 72 hours; at least `least`.

    A rule looks back no further than all durations that it names take one after the other.
    """
    furthest = max((sum(_durations(rule), timedelta(0)) for rule in rules), default=timedelta(0))
    return max(furthest + MARGIN, least)


def _durations(value: Any) -> Iterator[timedelta]:
    if isinstance(value, timedelta):
        yield abs(value)
    elif isinstance(value, CalendarDuration):
        yield timedelta(days=_DAYS_EACH * (value.days + 1))
    elif isinstance(value, list):
        for each in value:
            yield from _durations(each)
    elif isinstance(value, Model):
        for name in type(value).model_fields:
            yield from _durations(getattr(value, name))
