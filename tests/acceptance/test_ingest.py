"""`handoff ingest` and `handoff topics` on a real Kafka: what was acknowledged is there, whatever breaks, and in order."""

import asyncio
import gc
import io
import itertools
import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path

import pytest
from kafka_broker import PASSWORD, USER, KafkaAdminClient, KafkaConsumer, TopicPartition

from monitor import cli
from monitor.core.event import HEARTBEAT, Event
from monitor.core.place import Registry
from monitor.formats.envelope import Heard, Told, Visited, decode, partition_of
from monitor.formats.fhir_visit import Visit
from monitor.formats.reject import Reject
from monitor.ingest import brokers
from monitor.ingest.intake import Message, NotTaken, Position
from monitor.runtime import ingesting, kafka_intake, topics
from monitor.runtime.clock import LiveClock
from monitor.runtime.ingesting import Ingesting
from monitor.runtime.kafka_intake import KafkaIntake
from monitor.runtime.lane import Lane
from monitor.runtime.live import Loaded
from monitor.settings import Cluster, Http, Mllp, Settings

sys.path.insert(0, str(Path(__file__).parents[1] / "live"))
from live_process import LONGEST_SECONDS, eventually

pytestmark = [
    pytest.mark.acceptance,
    # kafka-python leaves the sockets of failed connections to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <(socket|ssl):ResourceWarning"),
]
HANDOFF = Path(sys.executable).with_name("handoff")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PARTITIONS = 4
prefixes = (f"ingest{number}" for number in itertools.count())


@pytest.fixture(autouse=True)
def _nothing_kept_of_what_kafka_python_leaves(caplog):
    yield
    # Log records hold errors, and these sockets, beyond the test that may ignore them.
    caplog.get_records("call").clear()
    gc.collect()


@pytest.fixture
def impatient(monkeypatch):
    """An ingest that soon gives up on a broker that is gone."""
    monkeypatch.setattr(kafka_intake, "DELIVERY_MILLISECONDS", 1_500)
    monkeypatch.setattr(kafka_intake, "ANSWER_MILLISECONDS", 1_000)
    monkeypatch.setattr(brokers, "ANSWER_MILLISECONDS", 1_000)
    monkeypatch.setattr(topics, "ANSWER_MILLISECONDS", 1_000)


def described(broker, **more):
    return Cluster(
        **{"brokers": [broker.servers], "prefix": next(prefixes), "partitions": PARTITIONS, "replication": 1}
        | more
    )


@pytest.fixture
def cluster(broker):
    """A cluster with topics of its own."""
    found = described(broker)
    topics.create(found)
    return found


def read(cluster, name):
    """All records of a topic, by partition and offset."""
    with closing(
        KafkaConsumer(
            bootstrap_servers=cluster.brokers, fetch_max_bytes=2**26, max_partition_fetch_bytes=2**25
        )
    ) as consumer:
        parts = [TopicPartition(cluster.topic(name), number) for number in range(cluster.partitions)]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        ends = consumer.end_offsets(parts)
        found = []
        until = time.monotonic() + 120
        while any(consumer.position(part) < ends[part] for part in parts):
            assert time.monotonic() < until, "the topic cannot be read"
            for records in consumer.poll(timeout_ms=200).values():
                found += records
    return sorted(found, key=lambda each: (each.partition, each.offset))


def told(cluster):
    """The events of the topic, by partition, in order."""
    found = defaultdict(list)
    for record in read(cluster, "events"):
        envelope = decode(record.value)
        if isinstance(envelope, Told):
            found[record.partition].append(envelope.event)
    return found


def event(number, patient="p1", **more):
    return Event(
        **{"id": str(number), "type": "admit", "patient": patient, "occurred_at": NOON, "source": "A"} | more
    )


def message(*events, **more):
    return Message(**{"origin": "mllp", "content": b"MSH|", "events": list(events)} | more)


class Watcher:
    def __init__(self):
        self.events, self.rejects, self.troubles = [], [], []

    def took(self, events, rejects, _at):
        self.events += events
        self.rejects += rejects

    def heard(self, sources, _at):
        pass

    def wrote(self, seconds):
        pass

    def failed(self, what, error):
        self.troubles.append(str(error))

    def mended(self, what):
        pass


@asynccontextmanager
async def lane_of(cluster, registry=None, watcher=None, steady=time.monotonic):
    work = KafkaIntake(cluster, registry or Registry(), LiveClock(), watcher or Watcher(), steady)
    lane = Lane(work)
    lane.start()
    try:
        yield lane
    finally:
        await lane.stop()
        work.close()


async def accepted(intake, *messages):
    """Send messages until they are taken, as a sender does."""
    while True:
        try:
            return await intake.take(messages)
        except NotTaken:
            await asyncio.sleep(0.1)


async def until(condition, within=120):
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.02)


# --- topics


def handoff(*args):
    out, err = io.StringIO(), io.StringIO()
    code = cli.main(args, io.BytesIO(), out, err)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def settings_file(broker, tmp_path):
    """Writes settings of a cluster; returns the file."""
    prefix = next(prefixes)

    def written(**more):
        file = tmp_path / "handoff.yaml"
        told = {"brokers": [broker.servers], "prefix": prefix, "partitions": 4, "replication": 1} | more
        file.write_text(json.dumps({"cluster": told}))
        return str(file)

    return written


def test_topics_are_made_once_and_are_as_the_settings_say(broker, settings_file):
    file = settings_file(retention="3d")
    assert handoff("topics", "check", "--settings", file)[0] == 1

    code, out, err = handoff("topics", "create", "--settings", file)
    assert (code, err) == (0, "")
    assert out.count(" made\n") == 5

    assert handoff("topics", "create", "--settings", file) == (0, "5 topics, all as they have to be\n", "")
    assert handoff("topics", "check", "--settings", file) == (0, "5 topics, all as they have to be\n", "")


def test_topics_that_are_not_as_they_have_to_be_are_told_with_what_is_and_what_should_be(settings_file):
    handoff("topics", "create", "--settings", settings_file())

    code, out, err = handoff(
        "topics", "check", "--settings", settings_file(partitions=8, retention="3d", replication=3)
    )

    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert len([line for line in lines if "has 4 partitions, and the settings say 8" in line]) == 5
    assert len([line for line in lines if "is kept by 1 broker, and the settings say 3" in line]) == 5
    assert len([line for line in lines if "has min.insync.replicas=1, and should have 2" in line]) == 5
    assert (
        len([line for line in lines if "has retention.ms=604800000, and should have 259200000" in line]) == 1
    )


def test_a_topic_that_somebody_else_made_is_not_used_as_it_is(broker, cluster):
    other = described(broker)
    broker.topic(other.topic("events"), PARTITIONS)
    topics.create(other)

    found = topics.differences(other)

    assert all(other.topic("events") in line for line in found)
    assert any("message.timestamp.type=CreateTime, and should have LogAppendTime" in line for line in found)
    assert topics.differences(cluster) == []


def test_topics_that_the_cluster_cannot_hold_are_refused_with_its_reason(broker):
    with pytest.raises(brokers.Trouble, match="only 1 broker"):
        topics.create(described(broker, replication=3))


def test_what_the_workers_read_at_their_start_is_compacted_soon(broker, cluster):
    with closing(KafkaAdminClient(bootstrap_servers=broker.servers)) as admin:
        there = topics._found(admin, [cluster.topic("journeys"), cluster.topic("events")])

    journeys = there[cluster.topic("journeys")]
    assert journeys.configs["cleanup.policy"] == "compact"
    assert int(journeys.configs["segment.ms"]) <= 3_600_000
    assert journeys.partitions == there[cluster.topic("events")].partitions == PARTITIONS


@pytest.mark.usefixtures("impatient")
def test_without_brokers_commands_say_so_and_end(tmp_path):
    file = tmp_path / "handoff.yaml"
    file.write_text('cluster: {brokers: ["127.0.0.1:1"]}')
    for command in (["topics", "check"], ["topics", "create"], ["ingest"]):
        code, out, err = handoff(*command, "--settings", str(file))
        assert (code, out) == (3, "")
        assert "no answer from 127.0.0.1:1 (" in err


def test_ingest_refuses_to_run_over_topics_that_are_not_as_they_have_to_be(settings_file):
    code, out, err = handoff("ingest", "--settings", settings_file())
    assert (code, out) == (1, "")
    assert "is not there: `handoff topics create` makes it" in err


def test_the_commands_ask_for_a_cluster(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in (["topics", "check"], ["ingest"]):
        assert handoff(*command)[0] == 2


# --- what travels


def test_events_lie_in_the_partition_of_their_patient_in_order_with_the_brokers_time(cluster):
    async def scene():
        async with lane_of(cluster) as lane:
            for number in range(300):
                await lane.take([message(event(number, f"p{number % 20}", arrived_at=NOON))])

    began = datetime.now(UTC)
    asyncio.run(scene())

    found = told(cluster)
    assert sum(map(len, found.values())) == 300
    for partition, events in found.items():
        assert {partition_of(each.patient.encode(), PARTITIONS) for each in events} == {partition}
        of_patients = defaultdict(list)
        for each in events:
            of_patients[each.patient].append(int(each.id))
        assert all(numbers == sorted(numbers) for numbers in of_patients.values())
        assert {each.arrived_at for each in events} == {None}
    stamps = [record.timestamp / 1000 for record in read(cluster, "events")]
    assert began.timestamp() - 1 < min(stamps)


def test_visits_and_rejects_travel_too_and_rejects_say_all_that_is_known(cluster):
    visit = Visit(source="fhir", key="E1", recorded_at=NOON)
    reject = Reject("no-patient", "PID-3 is empty – say who", "PID", "PID-3")
    bad = message(content=b"MSH|\xff", reject=reject, where="item 3", source="A")
    watcher = Watcher()

    async def scene():
        async with lane_of(cluster, watcher=watcher) as lane:
            await lane.take([message(visit=visit, origin="fhir"), bad])

    asyncio.run(scene())

    (record,) = read(cluster, "events")
    assert decode(record.value) == Visited(visit)
    (record,) = read(cluster, "rejects")
    assert record.value == b"MSH|\xff"
    assert dict(record.headers) == {
        "reason": b"no-patient",
        "detail": "PID-3 is empty – say who".encode(),
        "origin": b"mllp",
        "where": b"item 3",
        "source": b"A",
        "segment": b"PID",
        "field": b"PID-3",
    }
    assert [each.reason for each in watcher.rejects] == ["no-patient"]


def test_what_is_larger_than_a_record_may_be_is_a_dead_letter_and_holds_nothing_up(cluster, monkeypatch):
    monkeypatch.setattr(kafka_intake, "_LONGEST", 2_000)
    large = event(1, attributes={"note": "x" * 3_000})

    async def scene():
        async with lane_of(cluster) as lane:
            await lane.take([message(large, content=b"y" * 3_000), message(event(2))])

    asyncio.run(scene())

    assert [each.id for events in told(cluster).values() for each in events] == ["2"]
    (record,) = read(cluster, "rejects")
    headers = dict(record.headers)
    assert record.value == b"y" * 2_000
    assert (headers["reason"], headers["cut_from"]) == (b"too-large", b"3000")


def test_what_cannot_be_written_as_text_is_a_dead_letter_and_holds_nothing_up(cluster):
    async def scene():
        async with lane_of(cluster) as lane:
            await lane.take([message(event(1, to="\ud800"), content=b"MSH|1"), message(event(2))])

    asyncio.run(scene())

    assert [each.id for events in told(cluster).values() for each in events] == ["2"]
    (record,) = read(cluster, "rejects")
    assert (record.value, dict(record.headers)["reason"]) == (b"MSH|1", b"not-unicode")


def test_a_message_larger_than_kafka_takes_by_default_is_taken(cluster):
    async def scene():
        async with lane_of(cluster) as lane:
            await lane.take([message(event(1, attributes={"note": "x" * 2_000_000}))])

    asyncio.run(scene())
    assert sum(map(len, told(cluster).values())) == 1


def test_every_partition_hears_now_and_then_of_the_sources_that_were_heard_since(cluster):
    now = 0.0

    async def scene():
        nonlocal now
        async with lane_of(cluster, steady=lambda: now) as lane:
            await lane.take([message(event(1, source="A"), event(2, source="B"))])
            now += 10
            await until(lambda: lane._work.seconds_until_due() == kafka_intake.BEAT_SECONDS)
            now += 10
            await lane.take([message(event(3, source="B"))])
            await lane.take([message(event(4, type=HEARTBEAT, source="C"))])

    asyncio.run(scene())

    heard = defaultdict(list)
    for record in read(cluster, "events"):
        envelope = decode(record.value)
        if isinstance(envelope, Heard):
            heard[envelope.source].append(record.partition)
    every = list(range(PARTITIONS))
    assert heard["A"] == every, "it was silent since"
    assert heard["B"][:PARTITIONS] == sorted(heard["B"][:PARTITIONS])
    assert heard["C"] == every


def test_positions_are_known_while_it_runs(cluster):
    async def scene():
        async with lane_of(cluster) as lane:
            await lane.take([message(event(1))], Position("fhir:A:1", "7"))
            assert await lane.position("fhir:A:1") == "7"
            assert await lane.position("fhir:B:1") is None

    asyncio.run(scene())


def test_brokers_are_reached_by_tls_and_with_a_password(broker, tmp_path):
    if not hasattr(broker, "secure"):
        return  # a broker that the tests did not start has listeners of its own
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    secure = {
        "brokers": [broker.secure["sasl-tls"]],
        "security": "sasl-tls",
        "ca": str(broker.ca),
        "user": USER,
        "password_file": str(password),
    }
    cluster = described(broker, **secure)

    async def scene():
        async with lane_of(cluster) as lane:
            await lane.take([message(event(1))])

    assert len(topics.create(cluster)) == 5
    asyncio.run(scene())
    assert sum(map(len, told(cluster.model_copy(update={"brokers": [broker.servers]})).values())) == 1


# --- brokers that die


@pytest.mark.usefixtures("impatient")
def test_nothing_acknowledged_is_lost_and_order_is_kept_when_the_broker_is_killed(broker, cluster):
    acknowledged, refused = [], []
    sends = True

    async def sender(lane, name):
        number = 0
        while sends:
            number += 1
            while True:
                try:
                    await lane.take([message(event(f"{name}-{number}", f"p{name}"))])
                    break
                except NotTaken as error:
                    refused.append(str(error))
                    await asyncio.sleep(0.05)
            acknowledged.append((name, number))

    async def more():
        wanted = len(acknowledged) + 200
        await until(lambda: len(acknowledged) >= wanted)

    async def scene():
        nonlocal sends
        async with lane_of(cluster) as lane:
            senders = [asyncio.create_task(sender(lane, name)) for name in range(6)]
            await more()
            await asyncio.to_thread(broker.kill)
            await until(lambda: refused)
            await asyncio.to_thread(broker.start)
            await more()
            sends = False
            await asyncio.gather(*senders)

    asyncio.run(scene())

    stood = defaultdict(list)
    for events in told(cluster).values():
        for each in events:
            name, _, number = each.id.partition("-")
            stood[int(name)].append(int(number))
    assert set(acknowledged) <= {(name, number) for name, numbers in stood.items() for number in numbers}
    for numbers in stood.values():
        firsts = list(dict.fromkeys(numbers))
        assert firsts == sorted(firsts)


@pytest.mark.usefixtures("impatient")
def test_a_broker_that_is_gone_is_said_and_soon_forgotten_once_it_is_back(broker, cluster, monkeypatch):
    monkeypatch.setattr(ingesting, "_ASK_SECONDS", 0.1)
    settings = Settings(cluster=cluster, mllp=Mllp(port=0), http=Http(port=0))

    async def scene():
        service = Ingesting(settings, cluster, Loaded([], Registry(), ""), LiveClock())
        await service.start()
        try:
            await accepted(service.intake, message(event(1)))
            await asyncio.to_thread(broker.stop)
            await until(lambda: dict(service.problems()).get("brokers"))
            with pytest.raises(NotTaken, match="no answer from"):
                await service.intake.take([message(event(2))])
            assert "no answer from" in dict(service.problems())["kafka"]
            assert service.is_alive()
            await asyncio.to_thread(broker.start)
            await until(lambda: "brokers" not in dict(service.problems()))
            await accepted(service.intake, message(event(2)))
            await until(lambda: service.problems() == [])
        finally:
            await service.stop()

    asyncio.run(scene())
    assert sorted({each.id for events in told(cluster).values() for each in events}) == ["1", "2"]


def test_topics_that_are_changed_while_it_runs_are_a_warning(broker, cluster):
    settings = Settings(cluster=cluster, mllp=Mllp(port=0))

    async def scene():
        service = Ingesting(settings, cluster, Loaded([], Registry(), ""), LiveClock())
        await service.ask_brokers()
        assert service.warnings() == []
        with closing(KafkaAdminClient(bootstrap_servers=broker.servers)) as admin:
            admin.create_partitions({cluster.topic("events"): PARTITIONS + 1})
        while not service.warnings():  # brokers learn of it one after the other
            await service.ask_brokers()
        ((what, why),) = service.warnings()
        assert what == "topics"
        assert f"has {PARTITIONS + 1} partitions, and the settings say {PARTITIONS}" in why

    asyncio.run(scene())


# --- the whole process


ADMISSION = (
    "MSH|^~\\&|ADT|H|||20240101100000+0000||ADT^A01|m1|P|2.5\r"
    "EVN||20240101100000+0000\rPID|||p1\rPV1||I|4W^1^2\r"
)
ENCOUNTER = {
    "resourceType": "Encounter",
    "id": "E1",
    "meta": {"lastUpdated": "2026-01-01T10:00:00Z"},
    "status": "in-progress",
    "class": {"code": "IMP"},
    "subject": {"reference": "Patient/p1"},
    "period": {"start": "2026-01-01T09:00:00Z"},
}


def test_the_process_takes_mllp_events_and_fhir_over_and_ends_when_asked(broker, settings_file, tmp_path):
    file = Path(settings_file())
    handoff("topics", "create", "--settings", str(file))
    told_ = json.loads(file.read_text())
    file.write_text(json.dumps(told_ | {"mllp": {"port": 0}, "http": {"port": 0}}))
    errors = tmp_path / "stderr"
    with errors.open("wb") as out:
        process = subprocess.Popen([HANDOFF, "ingest", "--settings", file], cwd=tmp_path, stderr=out)
    try:
        ports = _ports(errors, process)
        (tmp_path / "m.hl7").write_text(ADMISSION)
        sent = subprocess.run(
            [HANDOFF, "send", "--to", f"mllp://127.0.0.1:{ports['service_started']}", tmp_path / "m.hl7"],
            capture_output=True,
            text=True,
        )
        assert sent.returncode == 0, sent.stderr
        ask = _asks(ports["web_started"])
        line = b'{"id":"1","type":"admit","patient":"p2","occurred_at":"2026-01-01T09:00:00Z"}\n'
        assert ask("POST", "/events", line + b"{\n", "application/x-ndjson")[0] == 202
        assert ask("POST", "/fhir", json.dumps(ENCOUNTER).encode(), "application/fhir+json")[0] == 202
        assert ask("POST", "/hl7", ADMISSION.encode(), "x-application/hl7-v2+er7")[0] == 200
        eventually(lambda: ask("GET", "/readyz")[0] == 200, "being ready")
        assert json.loads(ask("GET", "/readyz")[1])["ready"] is True
        assert ask("GET", "/healthz")[0] == 200
        assert ask("GET", "/api/alerts")[0] == 404
        shown = ask("GET", "/metrics")[1]
        assert b'handoff_events_total{source="ADT/H",type="admit"} 2.0' in shown
        assert b'handoff_feed_last_event_timestamp_seconds{source="fhir"}' in shown
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONGEST_SECONDS) == 0, errors.read_text()
    cluster = Cluster(**told_["cluster"])
    kinds = [type(decode(record.value)) for record in read(cluster, "events")]
    assert sorted(each.__name__ for each in kinds if each is not Heard) == ["Told", "Told", "Told", "Visited"]
    assert [record.value for record in read(cluster, "rejects")] == [b"{"]


def _ports(errors, process):
    ends = time.monotonic() + LONGEST_SECONDS
    while True:
        lines = [json.loads(line) for line in errors.read_text().rpartition("\n")[0].splitlines()]
        ports = {line["event"]: line["port"] for line in lines if "port" in line}
        if len(ports) == 2:
            return ports
        assert process.poll() is None, errors.read_text()
        assert time.monotonic() < ends, errors.read_text()
        time.sleep(0.05)


def _asks(port):
    def ask(method, path, body=None, kind=None):
        with closing(HTTPConnection("127.0.0.1", port, timeout=LONGEST_SECONDS)) as connection:
            connection.request(method, path, body, {"content-type": kind} if kind else {})
            answer = connection.getresponse()
            return answer.status, answer.read()

    return ask
