"""`handoff notify` on a real Kafka: whoever is to be told of an alert is told of each change, whatever breaks, and not of old ones."""

import itertools
import json
import subprocess
import sys
import time
import uuid
from collections import defaultdict
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from kafka_broker import KafkaProducer

from monitor.runtime import topics
from monitor.settings import Cluster

sys.path[:0] = [str(Path(__file__).parents[1] / each) for each in ("notify", "live")]
from live_process import HANDOFF, Service, eventually
from notices import DUE, FIRING, WebServer

pytestmark = pytest.mark.acceptance
PARTITIONS = 4
prefixes = (f"notify{number}" for number in itertools.count())
SETTINGS = """\
cluster: {brokers: ["%s"], prefix: %s, partitions: 4, replication: 1}
sinks:
  hook: {webhook: "%s/hook"}
receivers:
  default: {sinks: [hook]}
"""
RULES = """\
rules:
  - id: ed-boarding
    summary: admitted patient still in the emergency department
    severity: warning
    owner: bed manager
    when: {type: admit}
    expect: {type: depart}
    within: 4h
"""


@pytest.fixture
def cluster(broker):
    """A cluster with topics of its own."""
    found = Cluster(brokers=[broker.servers], prefix=next(prefixes), partitions=PARTITIONS, replication=1)
    topics.create(found)
    return found


@pytest.fixture
def web():
    with WebServer() as server:
        yield server


class Notifier(Service):
    """A `handoff notify` in a folder of its own; may be started again after its end."""

    def __init__(self, folder, cluster, web, settings=SETTINGS):
        folder.mkdir(exist_ok=True)
        url = web.url.replace("localhost", "127.0.0.1")
        super().__init__(folder, rules=RULES, settings=settings % (cluster.brokers[0], cluster.prefix, url))
        self._options = [
            *("--rules", "rules.yaml", "--microsystems", "microsystems.yaml", "--data", "data"),
            *("--http-port", "0", "--open-to-loopback"),
        ]

    def launch(self):
        self._seen = self.errors.stat().st_size if self.errors.exists() else 0
        self._began = None
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [HANDOFF, "notify", *self._options], cwd=self.folder, stdout=errors, stderr=errors
            )
        self.http_port = 0


def change(number, step=0, **more):
    """A change of an alert: its first is 0; each is a minute after the one before."""
    at = DUE + timedelta(minutes=step)
    alert = str(uuid.uuid5(uuid.NAMESPACE_URL, str(number)))
    return msgspec.structs.replace(FIRING, alert=alert, at=at, sequence=(1, at, 0), **more)


def resolved(number, step):
    return change(number, step, state="resolved", reason="late")


def send(cluster, notices):
    """Put notices into the topic as workers do; returns when the broker has them all."""
    with closing(KafkaProducer(bootstrap_servers=cluster.brokers, acks="all", linger_ms=5)) as producer:
        sent = [
            producer.send(cluster.topic("alerts"), msgspec.json.encode(each), key=each.alert.encode())
            for each in notices
        ]
        for each in sent:
            each.get(timeout=30)


def told(web):
    """What the receiver got: alert and instant of the sequence, in order."""
    bodies = [json.loads(request.body)["alert"] for request in list(web.requests)]
    return [(each["alert"], each["sequence"][1]) for each in bodies]


def names(notices):
    return [(each.alert, msgspec.to_builtins(each.sequence[1])) for each in notices]


def in_order(found):
    """Whether of each alert no state came for the first time after a later one."""
    first = defaultdict(list)
    for alert, at in dict.fromkeys(found):
        first[alert].append(at)
    return all(each == sorted(each) for each in first.values())


def test_each_change_is_told_once_and_in_order_and_the_alerts_are_shown(cluster, web, tmp_path):
    with Notifier(tmp_path / "one", cluster, web) as notifier:
        notifier.start()
        changes = [change(number, step) for step in range(3) for number in range(20)]
        changes += [resolved(number, 3) for number in range(10)]
        send(cluster, changes)
        eventually(lambda: len(web.requests) >= len(changes), "being told")
        send(cluster, [*changes, *changes[:20]])  # as after a rebalance of workers, and from one that slept
        send(cluster, [change(99)])
        eventually(lambda: names([change(99)])[0] in told(web), "being told of another")
        assert sorted(told(web)) == sorted(names([*changes, change(99)]))
        assert in_order(told(web))
        assert len(notifier.alerts(state="firing")) == 11
        assert len(notifier.alerts(state="resolved")) == 10
        assert notifier.get(f"/api/alerts/{change(3).alert}")[0] == 200
        assert notifier.get("/api/verdicts")[0] == 404
        assert notifier.post("/events", "{}")[0] == 404
        assert notifier.metric("handoff_alerts_total", state="firing") == 61
        assert notifier.metric("handoff_deliveries_total", result="delivered") == 71
        assert notifier.terminate() == 0
