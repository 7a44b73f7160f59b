"""How many events a second workers judge, one and two of them, of a topic that is filled while they stand still."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from bench.kafka.site import PARTITIONS, Program, Site
from bench.live.table import Row, Section
from bench.live.taking import say
from bench.live.traffic import told

EVENTS = 60_000
RATE = 4_000
RATIO = 1.5


def measured(folder: Path, servers: str, events: int) -> list[Section]:
    one = _taken(Site(folder, servers, "one"), 1, events)
    two = _taken(Site(folder, servers, "two"), 2, events)
    ratio = two[0] / one[0]
    rows = [
        Row("one worker", _text(*one), "", f"{RATE:,}/s", one[0] >= RATE),
        Row("two workers", _text(*two), f"{ratio:.2f} of one", f"{RATIO} of one", ratio >= RATIO),
    ]
    return [Section(f"Events judged; eleven rules, 0.4 cases an event, {PARTITIONS} partitions", rows)]


def _text(rate: float, cpu: float) -> str:
    return f"{rate:,.0f} events/s, {cpu * 1e6:,.0f} µs of the processor each"


def _taken(site: Site, count: int, events: int) -> tuple[float, float]:
    """Events a second, and processor seconds of workers for each."""
    records = site.sendable(told(events, "k", open_journeys=2_000).lines())
    workers = [site.worker() for _ in range(count)]
    try:
        for each in workers:
            each.until(
                lambda each=each: each.is_ready() and each.metric("handoff_partitions ") == PARTITIONS / count
            )
        with ExitStack() as standing:
            for each in workers:
                standing.enter_context(each.held())
            site.send(records)
        used, began = sum(each.cpu for each in workers), time.perf_counter()
        workers[0].until(lambda: _judged(workers) >= events, 0.2)
        took = time.perf_counter() - began
        cpu = (sum(each.cpu for each in workers) - used) / events
        say(f"{count} workers: {events / took:,.0f} events/s, {cpu * 1e6:,.0f} µs each")
        return events / took, cpu
    finally:
        for each in workers:
            each.kill()


def _judged(workers: list[Program]) -> float:
    return sum(each.metric("handoff_events_total") for each in workers)
