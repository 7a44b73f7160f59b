"""Instants as text, from tables: most of what a log of events consists of."""

from __future__ import annotations

from datetime import UTC, datetime

from monitor.simulation.clock import MINUTE
from monitor.simulation.journey import Seconds


class _Minutes(dict[int, str]):
    """The text of each minute since 1970, up to its seconds; made once."""

    def __missing__(self, minute: int) -> str:
        text = self[minute] = datetime.fromtimestamp(minute * MINUTE, UTC).strftime("%Y-%m-%dT%H:%M:")
        return text


_minutes = _Minutes()
_seconds = [f"{second:02}Z" for second in range(60)]


def moment(at: Seconds) -> str:
    """RFC 3339, in UTC, to the second."""
    return _minutes[at // MINUTE] + _seconds[at % MINUTE]
