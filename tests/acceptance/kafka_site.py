"""A hospital on a real Kafka: a cluster of its own, `handoff ingest` before it, and workers that come and go."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException

import debian
import msgspec
from kafka_broker import KafkaAdminClient, KafkaConsumer, KafkaError, TopicPartition

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats import fhir
from monitor.formats.envelope import Told, Visited, decode
from monitor.ingest.brokers import Trouble
from monitor.notify.notice import Notice
from monitor.rulefile.load import load_rules
from monitor.runtime.rereading import whole
from monitor.runtime.topics import create
from monitor.runtime.working import Verdict
from monitor.settings import Cluster

PARTITIONS = 3
RULES = """\
rules:
  - id: answered
    summary: An answer within 2 seconds
    severity: critical
    when: {type: x}
    expect: {type: y}
    within: 2s
    give_up: 1h
  - id: seen
    summary: Seen within 3 seconds, or given up 3 seconds later
    severity: info
    when: {type: y}
    expect: {type: z}
    within: 3s
    give_up: 3s
    grace: 1s
    escalate:
      - {after: -1s}
      - {after: 2s, severity: critical}
  - id: nothing-after-discharge
    summary: Nothing after a discharge
    severity: warning
    when: {type: discharge}
    forbid: {type: x}
    within: 1h
"""

_numbers = itertools.count()


def wait_until(condition, seconds, what="it"):
    """What the condition then was."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, f"{what} does not come to pass"
        time.sleep(0.05)
    return found


def events(count, kinds=("x", "y", "x", "discharge", "x"), patients=40):
    """Events of several patients in turn, who all get one kind after the other; the last is of now, and may fall due soon.

    By all rules here the first of five kinds is answered in time, and the others are not.
    """
    last = _seconds((count - 1) // patients)
    ended = datetime.now(UTC)
    return [
        Event(
            id=f"e{next(_numbers)}",
            type=kinds[n // patients % len(kinds)],
            patient=f"p{n % patients}",
            occurred_at=ended - timedelta(seconds=last - _seconds(n // patients)),
            source="A",
        )
        for n in range(count)
    ]


def _seconds(number):
    """When the kind of this number happens."""
    return 10 * (number // 5) + (0, 1, 4, 5, 6)[number % 5]


def answered(ask, seconds=60):
    """What the broker answers, asked again: on a busy machine its own controller may take it for gone for a moment, and it then knows of no broker."""
    ends = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except (KafkaError, Trouble):
            if time.monotonic() > ends:
                raise
            time.sleep(0.5)


class Process:
    """A command of ours with a web page."""

    def __init__(self, folder, command, number, *, skew=0, settings="handoff.yaml", data=None):
        """`skew`: by how many seconds its clock is ahead of all others. `data`: where it keeps what is its own."""
        self.log = folder / f"{command}{number}.log"
        data = [] if command == "ingest" else ["--data", data or f"{self.log}.d"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "monitor", command, "--settings", settings, *data],
                cwd=folder,
                env=os.environ | (_clock(skew) if skew else {}),
                stderr=log,
            )
        self._port = None

    def text(self):
        """The end of its log."""
        return self.log.read_text()[-3000:]

    @property
    def port(self):
        """Where its pages are; None: it has not said yet."""
        assert self.process.poll() is None, self.text()
        if self._port is None:
            lines = [line for line in self.log.read_text().splitlines() if line[:1] + line[-1:] == "{}"]
            said = [each for each in map(json.loads, lines) if each["event"] == "web_started"]
            self._port = said[0]["port"] if said else None
        return self._port

    def ask(self, method, path, body=None, kind="application/x-ndjson"):
        """Status and body. Raises `OSError`, `HTTPException`."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body, {"content-type": kind})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def is_ready(self):
        if self.port is None:
            return False
        with suppress(OSError, HTTPException):
            return self.ask("GET", "/readyz")[0] == 200
        return False

    def metric(self, name):
        """The sum over its labels."""
        lines = self.ask("GET", "/metrics")[1].splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"handoff_{name}"))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def ask_to_end(self):
        self.process.send_signal(signal.SIGTERM)

    def ended(self):
        """Its exit code, when it has ended; None for one that has to be made."""
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.ask_to_end()
            self.ended()


def _clock(skew):
    """What makes the clock of a process differ from that of all others."""
    [library] = (debian.unpacked("libfaketime") / "usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    return {"LD_PRELOAD": str(library), "FAKETIME": f"{skew:+}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


class Site:
    """A cluster of its own on the broker of all, `handoff ingest` before it, and workers."""

    def __init__(self, broker, folder, *, rules=RULES, partitions=PARTITIONS):
        self.broker, self.folder = broker, folder
        self.cluster = Cluster(
            brokers=[broker.servers], prefix=f"h{time.time_ns()}", partitions=partitions, replication=1
        )
        create(self.cluster)
        self.rules = ""
        self.use(rules)
        (folder / "secret").write_text("0123456789abcdef")
        self.settings()
        self.forgotten = []
        """Events that workers have read, and that are no longer in their topic."""
        self.workers = []
        self.ingest = None
        self.moves = self.kills = 0
        self._started = 0
        self._stack = ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def use(self, rules):
        """Change the file of rules, as an editor does."""
        self.rules = rules
        (self.folder / "rules.new").write_text(rules)
        (self.folder / "rules.new").rename(self.folder / "rules.yaml")

    def settings(self, file="handoff.yaml", **cluster):
        """Write a file of settings, and return its name; `cluster`: how this one reaches the brokers."""
        described = {**self.cluster.model_dump(include={"brokers", "prefix", "partitions", "replication"})}
        content = {
            "rules": ["rules.yaml"],
            "http": {"port": 0},
            "mllp": {"port": 0},
            "cluster": described | {"secret_file": str(self.folder / "secret")} | cluster,
        }
        (self.folder / file).write_text(json.dumps(content))
        return file

    # Who comes and goes

    def begin(self, command, **options):
        self._started += 1
        process = Process(self.folder, command, self._started, **options)
        self._stack.callback(process.end)
        return process

    def start(self, *workers):
        """`handoff ingest`, and workers, each by what is peculiar to it; all are ready."""
        self.ingest = self.begin("ingest")
        self.workers = [self.begin("worker", **each) for each in workers]
        wait_until(self.ingest.is_ready, 60, "ingest")
        self.until_ready()

    def join(self, **options):
        self.workers.append(self.begin("worker", **options))
        self.moves += 1
        return self.workers[-1]

    def kill(self, worker):
        worker.kill()
        self.workers.remove(worker)
        self.kills += 1

    def leave(self, worker):
        worker.ask_to_end()
        assert worker.ended() == 0, worker.text()
        self.workers.remove(worker)
        self.moves += 1

    def until_ready(self):
        wait_until(lambda: all(each.is_ready() for each in self.workers), 90, "being ready")

    def end(self):
        """All workers end, at once."""
        for each in self.workers:
            each.ask_to_end()
        for each in self.workers:
            assert each.ended() == 0, each.text()
        self.workers = []

    # What a feed asks of whoever takes it

    def now(self):
        return datetime.now(UTC)

    def post(self, path, body, kind="application/x-ndjson"):
        return self.ingest.ask("POST", path, body, kind)

    def tell(self, events):
        """Send events by HTTP; returns when they are acknowledged."""
        status, answer = self.post("/events", b"\n".join(map(msgspec.json.encode, events)))
        assert status == 202, answer
        assert json.loads(answer)["rejected"] == 0, answer

    # What lies in the topics

    def send(self, partition, values):
        self.broker.send(self.cluster.topic("events"), values, partition=partition)

    def topic(self, name):
        """All records of a topic; those of a partition in order."""
        return answered(lambda: list(whole(self.cluster, self.cluster.topic(name))))

    def written(self, name, *partitions):
        """How many records were ever written to a topic, or to some of its partitions."""
        numbers = partitions or range(self.cluster.partitions)
        places = [TopicPartition(self.cluster.topic(name), number) for number in numbers]

        def ends():
            with closing(KafkaConsumer(bootstrap_servers=self.broker.servers)) as consumer:
                return sum(consumer.end_offsets(places).values())

        return answered(ends)

    def alter(self, name, **configs):
        """Give a topic other settings than the commands want."""
        from kafka.admin import ConfigResource

        with closing(KafkaAdminClient(bootstrap_servers=self.broker.servers)) as admin:
            changed = {key.replace("_", "."): str(value) for key, value in configs.items()}
            admin.alter_configs([ConfigResource("TOPIC", self.cluster.topic(name), configs=changed)])

    def events(self):
        """The events as they lie in Kafka, by their arrivals; what is new in each version of a FHIR visit among them."""
        found, visits = list(self.forgotten), {}
        for each in self.topic("events"):
            envelope, at = decode(each.value), datetime.fromtimestamp(each.timestamp / 1000, UTC)
            if isinstance(envelope, Told):
                envelope.event.arrived_at = envelope.event.arrived_at or at
                found.append(envelope.event)
            elif isinstance(envelope, Visited):
                told, visits[each.key] = fhir.changes(envelope.visit, visits.get(each.key))
                found += [msgspec.structs.replace(event, arrived_at=at) for event in told]
        return sorted(found, key=lambda event: (event.arrived_at, event.source, event.id))

    def notices(self):
        """All that was told of each alert, in the order of the topic: (when it was sent, in seconds since 1970; the notice)."""
        found = {}
        for each in self.topic("alerts"):
            notice = msgspec.json.decode(each.value, type=Notice)
            found.setdefault(notice.alert, []).append((each.timestamp / 1000, notice))
        return found

    def verdicts(self):
        """What those see of verdicts who know of each case the last record alone."""
        last = {each.key.decode(): each.value for each in self.topic("verdicts")}
        return {
            case: msgspec.json.decode(value, type=Verdict).verdict for case, value in last.items() if value
        }

    def rule_set(self):
        rules, problems = load_rules([("rules.yaml", self.rules.encode())], Registry())
        assert problems == []
        return rules
