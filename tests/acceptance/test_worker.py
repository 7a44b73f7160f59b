"""`handoff worker` on a real Kafka: whatever befalls workers, they tell what one pass over the same events tells."""

import itertools
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import kafka_broker  # noqa: F401 - the library of Kafka warns when it is imported, but not there
import msgspec
import pytest

from monitor.core.engine import Engine
from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats.envelope import Heard, Told, decode, encode, key_of, partition_of
from monitor.notify.notice import Notice
from monitor.rulefile.load import load_rules
from monitor.runtime.rereading import whole
from monitor.runtime.rocks import DiskTable
from monitor.runtime.table import Table, catch_up
from monitor.runtime.topics import create
from monitor.runtime.working import Verdict
from monitor.settings import Cluster

pytestmark = [
    pytest.mark.acceptance,
    # kafka-python leaves the sockets of failed connections to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <(socket|ssl):ResourceWarning"),
]
RULES = b"""
rules:
  - id: answered
    summary: An answer within 2 seconds
    severity: critical
    when: {type: x}
    expect: {type: y}
    within: 2s
    give_up: 1h
  - id: nothing-after-discharge
    summary: Nothing after a discharge
    severity: warning
    when: {type: discharge}
    forbid: {type: x}
    within: 1h
"""
PARTITIONS = 3
numbers = itertools.count()


class Hospital:
    """A cluster of its own for each test, on the broker of all."""

    def __init__(self, broker, folder):
        self.broker, self.folder = broker, folder
        prefix = f"h{time.time_ns()}"
        self.cluster = Cluster(brokers=[broker.servers], prefix=prefix, partitions=PARTITIONS, replication=1)
        create(self.cluster)
        (folder / "rules.yaml").write_bytes(RULES)
        (folder / "secret").write_text("0123456789abcdef")
        (folder / "handoff.yaml").write_text(
            f"rules: [{folder}/rules.yaml]\nhttp: {{port: 0}}\n"
            f"cluster: {{brokers: [{broker.servers}], prefix: {prefix}, partitions: {PARTITIONS}, replication: 1,"
            f" secret_file: {folder}/secret}}\n"
        )

    @contextmanager
    def worker(self, data=None):
        worker = Worker(self.folder, data)
        try:
            yield worker
        finally:
            worker.end()

    def tell(self, events):
        """Put events into Kafka, as `handoff ingest` does."""
        for number, some in itertools.groupby(
            sorted(events, key=lambda each: partition_of(key_of(Told(each)), PARTITIONS)),
            lambda each: partition_of(key_of(Told(each)), PARTITIONS),
        ):
            self.send(number, [encode(Told(each)) for each in some])

    def send(self, partition, values):
        self.broker.send(self.cluster.topic("events"), values, partition=partition)

    def topic(self, name):
        return list(whole(self.cluster, self.cluster.topic(name)))

    def events(self):
        """The events as they lie in Kafka, by their arrivals."""
        found = []
        for each in self.topic("events"):
            envelope = decode(each.value)
            if isinstance(envelope, Told):
                at = datetime.fromtimestamp(each.timestamp / 1000, UTC)
                envelope.event.arrived_at = envelope.event.arrived_at or at
                found.append(envelope.event)
        return sorted(found, key=lambda event: (event.arrived_at, event.source, event.id))

    def notices(self):
        """All that was told of each alert, in order of its sequence."""
        found = {}
        for each in self.topic("alerts"):
            notice = msgspec.json.decode(each.value, type=Notice)
            told = found.setdefault(notice.alert, {})
            word = (notice.state, notice.level, notice.reason)
            assert told.setdefault(notice.sequence, word) == word
        return {alert: [told[key] for key in sorted(told)] for alert, told in found.items()}

    def verdicts(self):
        found = {}
        for each in self.topic("verdicts"):
            found[each.key.decode()] = (
                msgspec.json.decode(each.value, type=Verdict).verdict if each.value else None
            )
        return {case: word(verdict) for case, verdict in found.items() if verdict is not None}

    def agrees(self):
        """Whether what was told is what one pass over the events tells."""
        engine = Engine(load_rules([("rules.yaml", RULES)], None)[0], Registry())
        for event in self.events():
            engine.observe(event)
        engine.advance(max(engine.now[0], datetime.now(UTC)))
        verdicts = {each.case: word(each) for each in engine.verdicts()}
        alerts = {each.alert: (each.state, each.level, each.reason) for each in engine.alerts()}
        return verdicts == self.verdicts() and alerts == {
            alert: told[-1] for alert, told in self.notices().items()
        }

    def until_agrees(self, seconds=30):
        wait_until(self.agrees, seconds)


def word(verdict):
    return (
        verdict.rule,
        verdict.patient,
        verdict.verdict,
        verdict.overdue,
        verdict.reason,
        verdict.decided_at,
    )


class Worker:
    def __init__(self, folder, data):
        self.log = folder / f"worker{next(numbers)}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "monitor",
                    "worker",
                    "--settings",
                    "handoff.yaml",
                    "--data",
                    data or f"{self.log}.d",
                ],
                cwd=folder,
                stderr=log,
            )
        self.port = wait_until(self._port, 30)

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def _port(self):
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return next((each["port"] for each in self.lines() if each["event"] == "web_started"), None)

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        return self.get("/readyz")[0] == 200

    def until_ready(self, seconds=40):
        wait_until(self.is_ready, seconds)
        return self

    def metric(self, name):
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


def wait_until(condition, seconds):
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "it does not come to pass"
        time.sleep(0.1)
    return found


def events(count, patients, kinds=("x", "y", "x", "discharge", "x"), first=0):
    """Events of now, of several patients in turn."""
    now = datetime.now(UTC)
    return [
        Event(
            id=f"e{first + n}",
            type=kinds[(n // patients) % len(kinds)],
            patient=f"p{n % patients}",
            occurred_at=now,
        )
        for n in range(count)
    ]


@pytest.fixture
def hospital(broker, tmp_path):
    return Hospital(broker, tmp_path)


def test_a_worker_tells_what_one_pass_tells_and_of_silence_when_nothing_comes(hospital):
    hospital.tell(events(500, 100))
    with hospital.worker() as worker:
        worker.until_ready()
        hospital.send(0, [b"{poison", encode(Heard("a"))])
        hospital.until_agrees()
        hospital.tell([Event(id="last", type="x", patient="lonely", occurred_at=datetime.now(UTC))])
        wait_until(lambda: any(told[-1][0] == "firing" for told in hospital.notices().values()), 20)
        hospital.until_agrees()
        rejects = hospital.topic("rejects")
        assert [each.value for each in rejects] == [b"{poison"]
        assert worker.metric("handoff_partitions ") == PARTITIONS
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(20) == 0


def test_a_worker_that_is_killed_leaves_nothing_undone(hospital):
    with hospital.worker() as worker:
        worker.until_ready()
        hospital.tell(events(300, 60))
        hospital.tell(events(300, 60, first=300))
        worker.kill()
        hospital.tell(events(100, 60, first=600))
    with hospital.worker() as worker:
        worker.until_ready()
        hospital.until_agrees()


def test_of_two_workers_one_takes_over_when_the_other_is_killed(hospital):
    with hospital.worker() as first, hospital.worker() as second:
        wait_until(lambda: 0 < first.metric("handoff_partitions ") < PARTITIONS and second.is_ready(), 60)
        for number in range(5):
            hospital.tell(events(200, 50, first=200 * number))
        first.kill()
        hospital.tell(events(200, 50, first=2000))
        wait_until(lambda: second.metric("handoff_partitions ") == PARTITIONS, 30)
        hospital.until_agrees()


def test_patients_are_merged_across_partitions(hospital):
    now = datetime.now(UTC)
    keys = sorted((f"m{n}" for n in range(20)), key=lambda key: partition_of(key.encode(), PARTITIONS))
    first, last = keys[0], keys[-1]
    merge = Event(
        id="m",
        type="merge",
        patient=last,
        occurred_at=now + timedelta(milliseconds=1),
        attributes={"into": first},
    )
    with hospital.worker() as worker:
        worker.until_ready()
        hospital.tell(
            [Event(id=f"x{n}", type="x", patient=key, occurred_at=now) for n, key in enumerate((first, last))]
        )
        hospital.tell([merge])
        hospital.tell(
            [
                Event(id=f"y{n}", type="y", patient=key, occurred_at=datetime.now(UTC))
                for n, key in enumerate((first, last))
            ]
        )
        hospital.until_agrees()
        assert {each[1] for each in hospital.verdicts().values()} == {first}


def test_a_worker_whose_journeys_are_on_disk_goes_on_from_there_after_it_was_killed(hospital):
    settings = hospital.folder / "handoff.yaml"
    settings.write_text(settings.read_text().replace("secret_file:", "store: rocksdb, secret_file:"))
    with hospital.worker("kept") as worker:
        worker.until_ready()
        hospital.tell(events(300, 60))
        hospital.until_agrees()
        hospital.tell(events(300, 60, first=300))
        worker.kill()
    on_disk = journeys_on_disk(hospital.folder / "kept")
    assert len(on_disk) >= 60
    assert set(on_disk.values()) <= {each.value for each in hospital.topic("journeys")}
    hospital.tell(events(100, 60, first=600))
    with hospital.worker("kept") as worker:
        worker.until_ready()
        hospital.until_agrees()
    # what another worker has done meanwhile is known, too
    with hospital.worker("other") as worker:
        worker.until_ready()
        hospital.tell(events(200, 60, first=700))
        hospital.until_agrees()
    with hospital.worker("kept") as worker:
        worker.until_ready()
        hospital.tell(events(100, 60, first=900))
        hospital.until_agrees()
    assert journeys_on_disk(hospital.folder / "kept") == journeys_in(hospital)


def journeys_on_disk(data):
    found = {}
    for number in range(PARTITIONS):
        table = DiskTable(data / "journeys" / str(number), lambda: datetime.now(UTC))
        found |= {(number, key): value for key, value in table.cells.items()}
        assert table.next > 0
        table.close()
    return found


def journeys_in(hospital):
    """What the changelog says last of each cell."""
    found = {}
    for number in range(PARTITIONS):
        table = Table()
        catch_up(hospital.cluster, {number: table}, lambda: True)
        found |= {(number, key): value for key, value in table.cells.items()}
    return found
