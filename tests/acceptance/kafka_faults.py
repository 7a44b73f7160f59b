"""Workers on Kafka that are killed, paused, joined and left while a hospital sends: what must hold at the end."""

from __future__ import annotations

import random
import signal
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
from feeding import HttpFeed
from kafka_compared import at_the_end, until_agrees
from kafka_site import PARTITIONS, RULES, Site, wait_until

from monitor.core.event import Event

PAST_A_SESSION_SECONDS = 14
TOLD_WITHIN_SECONDS = 3
"""Of its instant, where nothing befalls workers and hardly anything comes."""
PASSES_WITHIN_SECONDS = 40
"""An alert that facts on their way between partitions cause: a session, a recovery and the way itself, on a busy machine."""
REVIEWED = """\
  - id: reviewed
    summary: Reviewed within 9 seconds of the discharge
    severity: info
    when: {type: discharge}
    expect: {type: review}
    within: 9s
"""


class Figures(NamedTuple):
    """What one run came to."""

    seed: int
    kind: str
    kills: int
    """Of workers and of the broker."""
    moves: int
    """Other workers that joined, left or stood still."""
    events: int
    """Acknowledged by `handoff ingest`."""
    sent_again: int
    records: int
    """Of the topic of events, with repeats and what workers send each other."""
    cases: int
    alerts: int
    """Told."""
    passing: int
    """Of these, told while facts were on their way between partitions, and taken back."""
    longest_passing: float
    """Seconds that such an alert fired."""
    untold: int
    """Alerts that came and went while nobody could tell them."""
    repeats: int
    """Notices that said again what had been said."""
    slowest: float
    """Seconds from the instant of a change until it was told."""
    seconds: float


class Kind(NamedTuple):
    """A kind of trouble, and what the hospital sends meanwhile."""

    trouble: object
    """Called with the site, a source of chance and how many seconds the hospital sends."""
    clocks: tuple[float, ...] = (0,)
    """Of the workers at the beginning: by how many seconds each is ahead."""
    merges: float = 0
    """Against 6 of the most frequent type."""
    latest: float = 4
    """Seconds by which events may come late."""
    twice: float = 0.1
    """The share of events that comes a second time."""
    again: bool = False
    """Whether a long stretch of the past comes once more at the end."""
    falls_silent: bool = False
    """Whether all partitions but one get nothing any more after a while."""
    is_calm: bool = False
    """Whether somebody judges all the time, so that every alert is told."""


def happenings(chance, seconds, count, kind):
    """What a hospital sends in so many seconds from now on: (when it does, a line). Late, early, twice and in disorder."""
    start = datetime.now(UTC) + timedelta(seconds=0.2)
    patients = [f"p{chance.randrange(10**6)}" for _ in range(max(20, count // 12))]
    sent = []
    for number in range(count):
        at = start + timedelta(seconds=seconds * number / count)
        event = _event(chance, kind, patients, number, at)
        line = msgspec.json.encode(event).decode()
        sent += [(at + timedelta(seconds=chance.uniform(0, 1.0)), line)]
        if chance.random() < kind.twice:
            sent += [(at + timedelta(seconds=chance.uniform(0, 5)), line)]
    if kind.again:
        past = [line for _, line in sent[: len(sent) // 2]]
        chance.shuffle(past)
        sent += [(start + timedelta(seconds=seconds + chance.uniform(0, 1)), line) for line in past]
    if kind.falls_silent:
        sent += _trickle(chance, start, 4 * seconds)
    return sorted(sent)


def _event(chance, kind, patients, number, at):
    patient = chance.choice(patients)
    type_ = chance.choices(["x", "y", "z", "discharge", "merge"], [6, 4, 2, 1, kind.merges])[0]
    late = chance.choice([0, 0, chance.uniform(0, kind.latest), chance.uniform(-1.5, 0)])
    event = Event(
        id=f"e{number}",
        type=type_,
        source=chance.choice("AB"),
        patient=patient,
        occurred_at=at - timedelta(seconds=late),
    )
    if type_ == "merge":
        near = patients.index(patient) // 3 * 3
        family = [each for each in patients[near : near + 3] if each != patient]
        event.attributes = {"into": chance.choice(family or patients[:1])}
    return event


def _trickle(chance, start, seconds):
    """One patient goes on: of all others nothing is heard."""
    patient = f"q{chance.randrange(10**6)}"
    for number in range(int(2 * seconds)):
        at = start + timedelta(seconds=number / 2)
        event = Event(id=f"t{number}", type="x", source="A", patient=patient, occurred_at=at)
        yield at, msgspec.json.encode(event).decode()


@contextmanager
def sending(site, due, seed):
    chance = random.Random(seed)
    feeds = [HttpFeed(site, due[n::3], random.Random(chance.random()), 40) for n in range(3)]
    for each in feeds:
        each.start()
    try:
        yield feeds
    finally:
        for each in feeds:
            each.stop()


def run(broker, folder, seed, name, seconds=6.0):
    """Live through one kind of trouble; asserts all that must hold."""
    began = time.monotonic()
    kind, chance = KINDS[name], random.Random(f"{name} {seed}")
    rules = RULES + (REVIEWED if kind.falls_silent else "")
    if kind.falls_silent:
        seconds /= 3
    with Site(broker, folder, rules=rules) as site:
        site.start(*({"skew": each} for each in kind.clocks))
        due = happenings(chance, seconds, round(190 * seconds), kind)
        with sending(site, due, seed) as feeds:
            poison = [b"{poison", b'{"type":"told","event":{"id":"1"}}', bytes(chance.randbytes(20))]
            site.send(chance.randrange(PARTITIONS), poison)
            kind.trouble(site, chance, seconds)
            for each in feeds:
                each.end()
        site.until_ready()
        now = until_agrees(site)
        site.end()
        found = at_the_end(site, now)
        lines = [line for each in feeds for line in each.acknowledged]
        nothing_lost_and_nothing_invented(site, lines, poison)
        figures = Figures(
            seed=seed,
            kind=name,
            kills=site.kills,
            moves=site.moves,
            events=len(lines),
            sent_again=sum(each.sent_again for each in feeds),
            records=len(site.topic("events")),
            cases=len(site.verdicts()),
            alerts=len(site.notices()),
            passing=len(found.passing),
            longest_passing=round(max(found.passing.values(), default=0), 1),
            untold=len(found.untold),
            repeats=found.repeats,
            slowest=round(found.slowest, 1),
            seconds=round(time.monotonic() - began, 1),
        )
    assert figures.passing == 0 or kind.merges, found.passing
    assert figures.longest_passing < PASSES_WITHIN_SECONDS, found.passing
    assert figures.untold == 0 or not kind.is_calm, found.untold
    assert figures.slowest < TOLD_WITHIN_SECONDS or not kind.falls_silent
    assert figures.alerts > 100
    return figures


def nothing_lost_and_nothing_invented(site, lines, poison):
    """All that was acknowledged lies in the topic, and nothing else; what was of no use is among the rejects."""
    acknowledged = {
        (event.source, event.id) for event in (msgspec.json.decode(line, type=Event) for line in lines)
    }
    assert acknowledged == {(event.source, event.id) for event in site.events()}
    assert {record.value for record in site.topic("rejects")} == set(poison)


# Troubles


def kills(site, chance, seconds):
    """A worker is killed at random moments, of joining too, and another started."""
    for _ in range(3):
        time.sleep(chance.uniform(0.3, seconds / 2))
        site.kill(site.workers[0])
        site.join()
        if chance.random() < 0.5:
            site.until_ready()


def crowd(site, chance, seconds):
    """Workers join, leave and are killed; one to three are there."""
    for _ in range(5):
        time.sleep(chance.uniform(0.2, seconds / 3))
        if len(site.workers) < 2 or (len(site.workers) < 3 and chance.random() < 0.4):
            site.join()
        else:
            worker = chance.choice([each for each in site.workers if each.port] or site.workers)
            (site.kill if chance.random() < 0.5 or not worker.port else site.leave)(worker)


def merges(site, chance, seconds):
    """One of two is killed while merges move journeys between them, and later the other."""
    for _ in range(2):
        time.sleep(chance.uniform(0.5, seconds / 3))
        site.kill(site.workers[0])
        site.join()
    site.until_ready()


def pause(site, chance, seconds):
    """One of two stands still until its session is over, or just about, and goes on; or both do."""
    time.sleep(chance.uniform(0.5, seconds / 2))
    still = chance.choice([site.workers[:1], site.workers[1:], site.workers[1:], site.workers])
    for worker in still:
        worker.process.send_signal(signal.SIGSTOP)
    time.sleep(chance.choice([PAST_A_SESSION_SECONDS, chance.uniform(9, 12)]))
    for worker in still:
        worker.process.send_signal(signal.SIGCONT)
        site.moves += 1


def broker(site, chance, seconds):
    """The broker is killed while all goes on, and comes back."""
    time.sleep(chance.uniform(0.5, seconds / 2))
    site.broker.kill()
    site.kills += 1
    time.sleep(chance.uniform(0.1, 3))
    site.broker.start()


def outage(site, chance, seconds):
    """All workers are down while messages come and deadlines pass."""
    time.sleep(chance.uniform(0.5, seconds / 2))
    site.kill(site.workers[0])
    time.sleep(seconds)
    site.join()


def nothing(_site, _chance, _seconds):
    """Nothing befalls workers: what comes, or does not come, is trouble enough."""


def skew(site, chance, seconds):
    """One whose clock is ahead is killed, and one whose clock is behind takes over."""
    time.sleep(chance.uniform(0.5, seconds))
    site.kill(site.workers[0])
    site.join(skew=chance.choice([-1, 0, 1]))


def compaction(site, chance, seconds):
    """The changelog is compacted while it is written; then all workers are killed, and others begin from what it left."""
    usual = {"segment_ms": 3_600_000, "min_cleanable_dirty_ratio": 0.1}
    site.alter("journeys", segment_ms=500, min_cleanable_dirty_ratio=0.01)
    time.sleep(seconds * chance.uniform(0.6, 0.9))
    wait_until(lambda: cleaned(site), 30, "a compacted changelog")
    for worker in list(site.workers):
        site.kill(worker)
    site.alter("journeys", **usual)
    site.join()
    site.join()


def cleaned(site):
    """Whether a good part of what was written to the changelog is no longer there."""
    found = site.topic("journeys")
    return len(found) < 0.8 * site.written("journeys") if found else False


KINDS = {
    "kills": Kind(kills, merges=0.1),
    "crowd": Kind(crowd, clocks=(0, 0), merges=0.1),
    "merges": Kind(merges, clocks=(0, 0), merges=0.6),
    "pause": Kind(pause, clocks=(0, 0)),
    "asleep": Kind(pause, clocks=(0, 0), merges=0.6),
    "broker": Kind(broker),
    "outage": Kind(outage),
    "idle": Kind(nothing, clocks=(0, 0), falls_silent=True, is_calm=True),
    "compaction": Kind(compaction, clocks=(0, 0)),
    "skew": Kind(skew, clocks=(1, -1)),
    "disorder": Kind(nothing, clocks=(0, 0), latest=30, twice=0.2, again=True, is_calm=True),
}
