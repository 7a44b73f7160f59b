"""A cluster to measure on: a broker of our own, topics by a prefix for each measure, and programs started as their users start them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.live.journeys import eleven_rules
from bench.live.traffic import REGISTRY
from monitor.core.event import Event
from monitor.formats.envelope import Told, encode, key_of, partition_of
from monitor.runtime.topics import create
from monitor.settings import Cluster

# the broker is the one of the tests, which fetch it, and keep it for the next time
sys.path.append(str(Path(__file__).parents[2] / "tests" / "acceptance"))
import kafka_broker

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

PARTITIONS = 6
PATIENCE = 300.0
_event = msgspec.json.Decoder(Event).decode


class Site:
    """Topics of their own, and settings for whoever works on them."""

    def __init__(self, folder: Path, servers: str, prefix: str) -> None:
        self.folder = folder / prefix
        self.folder.mkdir(parents=True)
        self.servers = servers
        self.cluster = Cluster(brokers=[servers], prefix=prefix, partitions=PARTITIONS, replication=1)
        create(self.cluster)
        (self.folder / "secret").write_text("0123456789abcdef")
        (self.folder / "rules.yaml").write_text(eleven_rules())
        (self.folder / "microsystems.yaml").write_text(REGISTRY)
        described = {"brokers": [servers], "prefix": prefix, "partitions": PARTITIONS, "replication": 1}
        settings = {
            "rules": [str(self.folder / "rules.yaml")],
            "microsystems": str(self.folder / "microsystems.yaml"),
            "mllp": {"port": 0},
            "http": {"port": 0},
            "cluster": described | {"secret_file": str(self.folder / "secret")},
        }
        (self.folder / "handoff.yaml").write_text(json.dumps(settings))
        self._started = 0

    def worker(self) -> Program:
        """A worker, just started."""
        self._started += 1
        return Program(self.folder, "worker", ["--data", str(self.folder / f"worker-{self._started}")])

    def ingest(self) -> Program:
        return Program(self.folder, "ingest", [])

    def sendable(self, lines: Iterable[str | bytes]) -> list[tuple[int, bytes]]:
        """Canonical events as records, each with its partition."""
        told = [Told(_event(line)) for line in lines]
        return [(partition_of(key_of(each), PARTITIONS), encode(each)) for each in told]

    def send(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Put records on the topic of events; returns when the broker has them."""
        topic = self.cluster.topic("events")
        with closing(self.producer()) as producer:
            for partition, value in records:
                producer.send(topic, value, partition=partition)
            producer.flush()

    def producer(self) -> Any:
        return KafkaProducer(bootstrap_servers=self.servers, acks="all", linger_ms=10, batch_size=100_000)

    def told(self, wanted: Callable[[bytes], bool]) -> Iterator[tuple[float, bytes]]:
        """What is told on the topic of alerts from now on, when it was seen, in Unix time; ends after some silence."""
        with closing(KafkaConsumer(bootstrap_servers=self.servers, check_crcs=False)) as consumer:
            places = [TopicPartition(self.cluster.topic("alerts"), each) for each in range(PARTITIONS)]
            consumer.assign(places)
            consumer.seek_to_end(*places)
            for place in places:
                consumer.position(place)
            yield time.time(), b""
            while found := consumer.poll(10_000):
                now = time.time()
                yield from (
                    (now, each.value) for some in found.values() for each in some if wanted(each.value)
                )


class Program:
    """`handoff worker` or `handoff ingest` as a process of its own."""

    def __init__(self, folder: Path, command: str, options: list[str]) -> None:
        self.began = time.perf_counter()
        self._log = folder / f"{command}-{time.time_ns()}.log"
        whole = [
            sys.executable,
            "-m",
            "monitor",
            command,
            "--settings",
            str(folder / "handoff.yaml"),
            *options,
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(whole, stderr=log)
        self.port = self.port_of("web_started")

    def port_of(self, event: str) -> int:
        return int(self.until(lambda: self._said(event))["port"])

    def until_ready(self) -> float:
        """Seconds from the start until it was ready."""
        self.until(self.is_ready)
        return time.perf_counter() - self.began

    def is_ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def metric(self, name: str) -> float:
        """The sum of the samples whose names and labels begin so."""
        lines = self.get("/metrics")[1].decode().splitlines()
        return sum(float(each.rpartition(" ")[2]) for each in lines if each.startswith(name))

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    @property
    def cpu(self) -> float:
        """Processor time used until now, in seconds."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident(self) -> int:
        """Resident memory now, in bytes."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Meanwhile it stands still, which must not last as long as a session."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it in order."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE)

    def until(self, found: Callable[[], Any], seconds: float = 0.05) -> Any:
        """Ask until there is an answer, and give it back."""
        ends = time.perf_counter() + PATIENCE
        while not (answer := found()):
            if self._process.poll() is not None or time.perf_counter() > ends:
                raise RuntimeError(f"it does not go on: {self._log.read_text()[-1000:]}")
            time.sleep(seconds)
        return answer

    def _said(self, event: str) -> dict[str, Any] | None:
        lines = self._log.read_text().splitlines()
        return next((json.loads(line) for line in lines if f'"{event}"' in line), None)


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """Where a broker of our own is to be found, as long as it runs."""
    with kafka_broker.running(folder / "broker") as running:
        yield running.servers
