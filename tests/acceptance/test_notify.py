"""`handoff notify` on a real Kafka: whoever is to be told of an alert is told of each change, whatever breaks, and not of old ones."""

import itertools
import json
import subprocess
import sys
import threading
import time
import uuid
from collections import defaultdict
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from kafka_broker import KafkaProducer

from monitor.core.event import moment_text
from monitor.runtime import topics
from monitor.settings import Cluster

sys.path.insert(0, str(Path(__file__).parents[1] / "notify"))
sys.path.insert(0, str(Path(__file__).parents[1] / "live"))
from live_process import HANDOFF, LONGEST_SECONDS, Service, eventually
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
            each.get(timeout=120)


def told(web):
    """What the receiver got: alert and instant of the sequence, in order."""
    bodies = [json.loads(request.body)["alert"] for request in list(web.requests)]
    return [(each["alert"], each["sequence"][1]) for each in bodies]


def names(notices):
    return [(each.alert, moment_text(each.sequence[1])) for each in notices]


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
        eventually(
            lambda: notifier.metric("handoff_deliveries_total", result="delivered") == 71, "all, counted"
        )
        assert notifier.terminate() == 0


def test_one_that_is_killed_goes_on_where_it_was(cluster, web, tmp_path):
    before, goes_on = SimpleNamespace(requests=[]), threading.Event()

    def answer(request):
        if len(web.requests) <= 60:
            before.requests.append(request)
        else:
            goes_on.wait(LONGEST_SECONDS)
        return 200

    web.answer = answer
    changes = [change(number, step) for step in range(4) for number in range(50)]
    with Notifier(tmp_path / "one", cluster, web) as notifier:
        notifier.start()
        send(cluster, changes)
        eventually(lambda: len(web.requests) > 60, "being told of some")
        eventually(
            lambda: notifier.metric("handoff_deliveries_total", result="delivered") == len(before.requests),
            "their being marked",
        )
        notifier.kill()
        goes_on.set()
        notifier.start()
        eventually(lambda: set(told(web)) == set(names(changes)), "being told of all")
    assert in_order(told(web))
    assert 0 < len(before.requests) < len(changes)
    assert [each for each in told(before) if told(web).count(each) != 1] == []


def test_what_was_taken_is_told_while_the_broker_is_gone_and_the_rest_when_it_is_back(
    broker, cluster, web, tmp_path
):
    with Notifier(tmp_path / "one", cluster, web) as notifier:
        notifier.start()
        web.status = 503
        taken = takes(web)
        send(cluster, [change(number) for number in range(5)])
        eventually(lambda: len(web.requests) >= 5, "being asked to take them")
        broker.kill()
        web.status = 200
        eventually(lambda: len(set(told(taken))) == 5, "being told without a broker")
        eventually(lambda: notifier.get("/readyz")[0] == 503, "being missed")
        assert [each["what"] for each in notifier.ready()["problems"]] == ["kafka"]
        assert notifier.get("/healthz")[0] == 200
        broker.start()
        send(cluster, [resolved(number, 1) for number in range(5)])
        eventually(lambda: len(set(told(taken))) == 10, "being told of what came after")
        eventually(lambda: notifier.get("/readyz")[0] == 200, "being found again")
    assert in_order(told(taken))
    assert len(taken.requests) == 10


def takes(web):
    """What the receiver does not refuse from now on."""
    taken = SimpleNamespace(requests=[])

    def answer(request):
        if (status := web.status) == 200:
            taken.requests.append(request)
        return status

    web.answer = answer
    return taken


def test_two_share_the_alerts_and_one_takes_over_when_the_other_is_killed(broker, cluster, web, tmp_path):
    changes = [change(number) for number in range(40)]
    with Notifier(tmp_path / "one", cluster, web) as one, Notifier(tmp_path / "two", cluster, web) as two:
        one.start()
        send(cluster, changes)
        eventually(lambda: len(web.requests) == 40, "being told")
        two.start()
        eventually(lambda: 0 < len(one.alerts()) < 40 and 0 < len(two.alerts()) < 40, "being shared")
        eventually(lambda: len(one.alerts()) + len(two.alerts()) == 40, "being read by both")
        eventually(lambda: done(broker, cluster) == 40, "being committed")
        one.kill()
        ends = [resolved(number, 1) for number in range(40)]
        send(cluster, ends)
        eventually(lambda: set(names(ends)) <= set(told(web)), "being told of the ends")
        eventually(lambda: len(two.alerts()) == 40, "being taken over")
    assert sorted(told(web)) == sorted(names([*changes, *ends]))


def test_what_is_being_told_while_notifiers_come_and_go_is_told(cluster, web, tmp_path):
    web.answer = lambda _: time.sleep(0.05) or 200
    changes = [change(number, step) for step in range(3) for number in range(100)]
    with Notifier(tmp_path / "one", cluster, web) as one, Notifier(tmp_path / "two", cluster, web) as two:
        one.start()
        send(cluster, changes)
        eventually(lambda: len(web.requests) > 20, "being told of some")
        two.start()
        eventually(two.alerts, "being shared")
        assert one.terminate() == 0
        eventually(lambda: set(told(web)) == set(names(changes)), "being told of all")
    assert in_order(told(web))
    assert len(web.requests) < len(changes) + 150


def done(broker, cluster):
    """How many records the notifiers say that they have done with."""
    return broker.committed(f"{cluster.prefix}-notify", cluster.topic("alerts"), PARTITIONS)


def test_one_with_a_new_disk_knows_who_was_told_and_tells_them_the_end_alone(broker, cluster, web, tmp_path):
    changes = [change(number) for number in range(10)]
    with Notifier(tmp_path / "one", cluster, web) as one:
        one.start()
        send(cluster, changes)
        eventually(lambda: done(broker, cluster) == 10, "being told")
        assert one.terminate() == 0
    with Notifier(tmp_path / "new", cluster, web) as new:
        new.start()
        eventually(lambda: len(new.alerts(state="firing")) == 10, "all being known")
        send(cluster, [resolved(0, 1)])
        eventually(lambda: len(web.requests) > 10, "being told of the end")
        assert new.terminate() == 0
    assert sorted(told(web)) == sorted(names([*changes, resolved(0, 1)]))


def test_at_the_first_start_of_all_what_fires_is_told_and_nothing_that_is_over(cluster, web, tmp_path):
    send(cluster, [change(1), change(1, 1), change(2), resolved(2, 1)])
    with Notifier(tmp_path / "one", cluster, web) as notifier:
        notifier.start()
        eventually(lambda: web.requests, "being told")
        send(cluster, [resolved(1, 2)])
        eventually(lambda: names([resolved(1, 2)])[0] in told(web), "being told of the end")
    assert told(web) == names([change(1, 1), resolved(1, 2)])


def test_a_data_directory_of_the_live_service_is_left_alone(cluster, web, tmp_path):
    (tmp_path / "live").mkdir()
    with Service(tmp_path / "live", rules=RULES) as live:
        live.start()
        live.terminate()
    with Notifier(tmp_path / "live", cluster, web) as notifier:
        notifier.launch()
        assert notifier.ended() == 3
        assert "holds the data of `handoff run`" in notifier.text()


def test_without_its_topics_it_does_not_begin(broker, web, tmp_path):
    missing = Cluster(brokers=[broker.servers], prefix=next(prefixes), partitions=PARTITIONS, replication=1)
    with Notifier(tmp_path / "one", missing, web) as notifier:
        notifier.launch()
        assert notifier.ended() == 1
        assert f"topic {missing.prefix}.alerts is not there" in notifier.text()
