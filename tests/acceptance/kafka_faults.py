"""Workers on Kafka that are killed, paused, joined and left while a hospital sends: what must hold at the end."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import NamedTuple

import msgspec
from feeding import HttpFeed
from test_worker import PARTITIONS, RULES, Hospital, wait_until, word

from monitor.core.engine import Engine
from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.notify.notice import Notice
from monitor.rulefile.load import load_rules

AGREES_WITHIN_SECONDS = 25
PAST_A_SESSION_SECONDS = 14
KINDS = ("kills", "crowd", "merges", "pause", "broker", "outage")


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
    """Of these, told while facts were on their way between partitions, and withdrawn."""
    seconds: float


class Process:
    """A command of ours with a web page."""

    def __init__(self, folder, command, number):
        self.log = folder / f"{command}{number}.log"
        data = [] if command == "ingest" else ["--data", f"{self.log}.d"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "monitor", command, "--settings", "handoff.yaml", *data],
                cwd=folder,
                stderr=log,
            )
        self._port = None

    @property
    def port(self):
        """Where its pages are; None: it has not said yet."""
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        if self._port is None:
            lines = [line for line in self.log.read_text().splitlines() if line[:1] + line[-1:] == "{}"]
            said = [each for each in map(msgspec.json.decode, lines) if each["event"] == "web_started"]
            self._port = said[0]["port"] if said else None
        return self._port

    def ask(self, method, path, body=None, kind="application/x-ndjson"):
        """Status and body. Raises `OSError`."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"content-type": kind})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def is_ready(self):
        if self.port is None:
            return False
        with suppress(OSError):
            return self.ask("GET", "/readyz")[0] == 200
        return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def leave(self):
        """Ask it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


class Site(Hospital):
    """A cluster of its own, `handoff ingest` before it, and workers."""

    def __init__(self, broker, folder):
        super().__init__(broker, folder)
        with (folder / "handoff.yaml").open("a") as settings:
            settings.write("mllp: {port: 0}\n")
        self.workers = []
        self.moves = self.kills = 0
        self._started = 0
        self._stack = ExitStack()

    def __enter__(self):
        self.ingest = self._begin("ingest")
        wait_until(self.ingest.is_ready, 60)
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _begin(self, command):
        self._started += 1
        process = Process(self.folder, command, self._started)
        self._stack.callback(process.end)
        return process

    def join(self):
        self.workers.append(self._begin("worker"))
        self.moves += 1

    def kill(self, worker):
        worker.kill()
        self.workers.remove(worker)
        self.kills += 1

    def leave(self, worker):
        assert worker.leave() == 0, worker.log.read_text()[-3000:]
        self.workers.remove(worker)
        self.moves += 1

    def until_ready(self):
        wait_until(lambda: all(each.is_ready() for each in self.workers), 90)

    # What a feed asks of whoever takes it

    def now(self):
        return datetime.now(UTC)

    def post(self, path, body):
        return self.ingest.ask("POST", path, body)

    # What is compared

    def compared(self, allows_passing):
        """Nothing, or in what the told differs from one pass over the events of the topic."""
        engine = Engine(load_rules([("rules.yaml", RULES)], None)[0], Registry())
        for event in self.events():
            engine.observe(event)
        engine.advance(max(engine.now[0], datetime.now(UTC) - timedelta(seconds=2)))
        told = self.last_notices()
        replayed = {each.alert: standing(each) for each in engine.alerts()}
        firing = {alert for alert, stand in replayed.items() if stand[0] == "firing"}
        passing = {alert for alert in told.keys() - replayed.keys() if told[alert][0] == "resolved"}
        verdicts, as_replayed = self.verdicts(), {each.case: word(each) for each in engine.verdicts()}
        return passing, {
            "verdicts": different(verdicts, as_replayed),
            "alerts": different(
                {alert: stand for alert, stand in told.items() if alert not in passing},
                {alert: stand for alert, stand in replayed.items() if alert in firing | told.keys()},
            ),
            "invented": {} if allows_passing else {alert: told[alert] for alert in passing},
        }

    def last_notices(self):
        """How each alert stands, to those who go by sequence; `notices` proves that no sequence says two things."""
        self.notices()
        found = {}
        for record in self.topic("alerts"):
            notice = msgspec.json.decode(record.value, type=Notice)
            known = found.get(notice.alert)
            if known is None or known.sequence < notice.sequence:
                found[notice.alert] = notice
        return {alert: standing(notice) for alert, notice in found.items()}


def standing(alert):
    """Of whom it is told is not in it: a merge alone is no news."""
    return alert.state, alert.level, alert.reason, alert.rule


def different(told, replayed):
    return {
        key: (told.get(key), replayed.get(key))
        for key in sorted(told.keys() | replayed.keys())
        if told.get(key) != replayed.get(key)
    }


def happenings(chance, seconds, count, *, merges):
    """What a hospital sends in so many seconds from now on: (when it does, a line). Late, early, twice and in disorder."""
    start = datetime.now(UTC) + timedelta(seconds=0.2)
    patients = [f"p{chance.randrange(10**6)}" for _ in range(max(20, count // 12))]
    sent = []
    for number in range(count):
        at = start + timedelta(seconds=seconds * number / count)
        patient = chance.choice(patients)
        kind = chance.choices(["x", "y", "discharge", "merge"], [6, 4, 1, merges])[0]
        late = chance.choice([0, 0, chance.uniform(0, 4), chance.uniform(-1.5, 0)])
        event = Event(
            id=f"e{number}",
            type=kind,
            source=chance.choice("AB"),
            patient=patient,
            occurred_at=at - timedelta(seconds=late),
        )
        if kind == "merge":
            near = patients.index(patient) // 3 * 3
            family = [each for each in patients[near : near + 3] if each != patient]
            event.attributes = {"into": chance.choice(family or patients[:1])}
        line = msgspec.json.encode(event).decode()
        sent += [(at + timedelta(seconds=chance.uniform(0, 1.0)), line)]
        if chance.random() < 0.1:
            sent += [(at + timedelta(seconds=chance.uniform(0, 5)), line)]
    return sorted(sent)


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


def run(broker, folder, seed, kind, seconds=8.0):
    """Live through one kind of trouble; asserts all that must hold."""
    began = time.monotonic()
    chance = random.Random(f"{kind} {seed}")
    merges = {"merges": 0.6, "kills": 0.1, "crowd": 0.1}.get(kind, 0)
    with Site(broker, folder) as site:
        for _ in range({"kills": 1, "crowd": 2, "merges": 2, "pause": 2}.get(kind, 1)):
            site.join()
        site.until_ready()
        site.moves = 0
        due = happenings(chance, seconds, 1_500, merges=merges)
        with sending(site, due, seed) as feeds:
            poison = [b"{poison", b'{"type":"told","event":{"id":"1"}}', bytes(chance.randbytes(20))]
            site.send(chance.randrange(PARTITIONS), poison)
            TROUBLES[kind](site, chance, seconds)
            for each in feeds:
                each.end()
        site.until_ready()
        passing = until_agrees(site, allows_passing=merges > 0)
        rejects = {record.value for record in site.topic("rejects")}
        assert rejects == set(poison)
        lines = [line for each in feeds for line in each.acknowledged]
        acknowledged = {
            (event.source, event.id) for event in (msgspec.json.decode(line, type=Event) for line in lines)
        }
        facts = {(event.source, event.id) for event in site.events()}
        assert acknowledged == facts
        for worker in list(site.workers):
            site.leave(worker)
        return Figures(
            seed=seed,
            kind=kind,
            kills=site.kills,
            moves=site.moves,
            events=len(lines),
            sent_again=sum(each.sent_again for each in feeds),
            records=len(site.topic("events")),
            cases=len(site.verdicts()),
            alerts=len(site.last_notices()),
            passing=len(passing),
            seconds=round(time.monotonic() - began, 1),
        )


def until_agrees(site, *, allows_passing):
    """Wait until all is told as one pass tells it; the alerts that came and went on the way."""
    ends = time.monotonic() + AGREES_WITHIN_SECONDS
    while True:
        passing, differences = site.compared(allows_passing)
        if not any(differences.values()):
            return passing
        shown = {name: list(found.items())[:5] for name, found in differences.items() if found}
        counts = Counter({name: len(found) for name, found in differences.items()})
        assert time.monotonic() < ends, f"{counts}: {shown}"
        time.sleep(0.3)


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


def merges_(site, chance, seconds):
    """One of two is killed while merges move journeys between them, and later the other."""
    for _ in range(2):
        time.sleep(chance.uniform(0.5, seconds / 3))
        site.kill(site.workers[0])
        site.join()
    site.until_ready()


def pause(site, chance, seconds):
    """One of two stands still until its session is over, and goes on."""
    time.sleep(chance.uniform(0.5, seconds / 2))
    worker = chance.choice(site.workers)
    worker.process.send_signal(signal.SIGSTOP)
    time.sleep(PAST_A_SESSION_SECONDS)
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


TROUBLES = dict(zip(KINDS, (kills, crowd, merges_, pause, broker, outage), strict=True))
