"""A hundred thousand journeys with open cases: how soon a worker has them, tells of what is due, and takes over from one that was killed."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from bench.kafka.site import PARTITIONS, Program, Site
from bench.live.journeys import FACTS, RULE, questions
from bench.live.table import Row, Section
from bench.live.taking import ms, quantiles, say
from bench.measure import Task, take
from monitor.notify.notice import Notice
from monitor.runtime.faust_app import SESSION_SECONDS

JOURNEYS = 100_000
RECOVERY = 30.0
TAKE_OVER = SESSION_SECONDS + 10
LATENCY = 2.0
A_SECOND = 50
SECONDS = 20
_AHEAD = 5.0
"""Seconds between the questions and the first of their deadlines."""
_notice = msgspec.json.Decoder(Notice).decode


def measured(folder: Path, servers: str, journeys: int) -> list[Section]:
    site = Site(folder, servers, "standing")
    _fill(site, journeys)
    first = site.worker()
    workers = [first]
    try:
        rows = [_recovery(first, "into an empty group")]
        latency = _latency(site)
        rows.append(Row("resident memory then", f"{first.resident / 1e6:,.0f} MB"))
        workers.append(second := site.worker())
        for each in workers:
            each.until(
                lambda each=each: each.is_ready() and each.metric("handoff_partitions ") == PARTITIONS / 2
            )
        say(f"the second worker had its half after {time.perf_counter() - second.began:.1f} s")
        rows.append(_take_over(first, second))
    finally:
        for each in workers:
            each.kill()
    title = (
        f"From the deadline to the topic of alerts, {journeys:,} open cases: median, 99th percentile, longest"
    )
    return [Section(f"{journeys:,} journeys of {FACTS} facts", rows), Section(title, [latency])]


def _fill(site: Site, journeys: int) -> None:
    """In two processes."""
    how = {
        "settings": str(site.folder / "handoff.yaml"),
        "number": journeys,
        "near": A_SECOND * SECONDS,
        "of": 2,
    }
    tasks = [
        Task(f"table {share}", "kafka.filling", "table", how | {"share": share}, 1) for share in range(2)
    ]
    with ThreadPoolExecutor(2) as both:
        if None in list(both.map(lambda task: take(task, say), tasks)):
            raise RuntimeError("the table could not be filled")


def _recovery(worker: Program, how: str) -> Row:
    took = worker.until_ready()
    say(f"ready after {took:.1f} s, of which recovery {worker.metric('handoff_recovery_seconds'):.1f} s")
    return Row(f"from the start of a worker to /readyz, {how}", ms(took), "", ms(RECOVERY), took < RECOVERY)


def _latency(site: Site) -> Row:
    """Cases fall due one after the other; how long after its deadline each is told."""
    due = A_SECOND * SECONDS
    seen = site.told(lambda value: f'"{RULE}"'.encode() in value)
    next(seen)
    start = datetime.now(UTC) + timedelta(seconds=_AHEAD)
    deadlines = [(each, start + timedelta(seconds=each / A_SECOND)) for each in range(due)]
    site.send(site.sendable(questions(deadlines)))
    fired: dict[str, float] = {}
    for at, value in seen:
        told = _notice(value)
        if told.state == "firing" and told.due_at is not None:
            fired.setdefault(told.alert, at - told.due_at.timestamp())
        if len(fired) == due:
            break
    if len(fired) < due:
        raise RuntimeError(f"{len(fired)} alerts of {due} were told")
    found = quantiles(list(fired.values()))
    say(f"latency {found}")
    waits = ", ".join(ms(found[each]) for each in ("p50", "p99", "longest"))
    return Row(f"{A_SECOND} a second", waits, "", ms(LATENCY), found["p99"] < LATENCY)


def _take_over(killed: Program, heir: Program) -> Row:
    killed.kill()
    began = time.perf_counter()
    heir.until(lambda: heir.metric("handoff_partitions ") == PARTITIONS and heir.is_ready())
    took = time.perf_counter() - began
    say(f"taken over after {took:.1f} s")
    what = f"another has all after `kill -9` of one that had half; a session is {SESSION_SECONDS:.0f} s"
    return Row(what, ms(took), "", ms(TAKE_OVER), took < TAKE_OVER)
