"""What a live service has recorded, as a replay takes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from heapq import merge

from monitor.core.chart import arrival
from monitor.core.event import HEARTBEAT, Event
from monitor.core.feed import SHORT

Runs = Mapping[str, Sequence[tuple[datetime, datetime]]]
"""For each source, from when to when it was heard without a gap that could be silence."""


def recorded(facts: Iterable[Event], heard: Runs) -> Iterator[Event]:
    """Facts in order of arrival, with heartbeats that tell when each source was heard; a replay of these gives the live alerts."""
    beats = (_beats(source, runs) for source, runs in heard.items())
    return merge(facts, *beats, key=arrival)


def heartbeat(source: str, at: datetime) -> Event:
    """Says that a source was heard."""
    return Event(id=at.isoformat(), type=HEARTBEAT, patient="-", occurred_at=at, source=source, arrived_at=at)


def _beats(source: str, runs: Sequence[tuple[datetime, datetime]]) -> Iterator[Event]:
    for since, until in runs:
        at = since
        while at < until:
            yield heartbeat(source, at)
            at += SHORT
        yield heartbeat(source, until)
