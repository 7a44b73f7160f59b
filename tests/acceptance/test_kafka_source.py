"""Topics of a real Kafka, read as the service reads them: nothing is lost, whatever breaks."""

import asyncio
import gc
import itertools
import re
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager, closing

import certifi
import pytest
from kafka_broker import PASSWORD, USER, KafkaAdminClient

from monitor.core.place import Registry
from monitor.ingest import brokers, group, kafka
from monitor.ingest.intake import NotTaken
from monitor.settings import Kafka

pytestmark = [
    pytest.mark.acceptance,
    # kafka-python leaves the sockets of failed connections to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <(socket|ssl):ResourceWarning"),
]
numbers = itertools.count()
ADMISSION = (
    b"MSH|^~\\&|ADT|H|||20240101100000+0000||ADT^A01|%d|P|2.5\r"
    b"EVN||20240101100000+0000\rPID|||p%d\rPV1||I|4W^1^2\r"
)


@pytest.fixture(autouse=True)
def _nothing_kept_of_what_kafka_python_leaves(caplog):
    yield
    # Log records hold errors, and these sockets, beyond the test that may ignore them.
    caplog.get_records("call").clear()
    gc.collect()


@pytest.fixture
def impatient(monkeypatch):
    """A reader that finds out soon that a broker is gone, and soon tries again."""
    monkeypatch.setattr(group, "_QUIET_MILLISECONDS", 1_000)
    for module in (brokers, group, kafka):
        monkeypatch.setattr(module, "ANSWER_MILLISECONDS", 2_000)
    monkeypatch.setattr(group, "_FIRST_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(kafka, "_TRY_AGAIN_SECONDS", 0.1)


class Desk:
    """An intake that keeps what it takes in memory."""

    def __init__(self):
        self.registry = Registry()
        self.taken = []
        self.calls = 0
        self.refusals = 0
        self.is_open = asyncio.Event()
        self.is_open.set()

    async def take(self, messages, position=None):
        self.calls += 1
        await self.is_open.wait()
        if self.refusals:
            self.refusals -= 1
            raise NotTaken("the disk is full")
        self.taken += messages

    async def position(self, name):
        return None

    @property
    def ids(self):
        return [event.id for message in self.taken for event in message.events]

    @property
    def rejects(self):
        return [(message.where, message.reject.reason) for message in self.taken if message.reject]


def event(number):
    text = '{"id": "%d", "type": "admit", "patient": "p%d", "occurred_at": "2024-01-01T10:00:00Z"}'
    return (text % (number, number)).encode()


def events(count, start=0):
    return [event(number) for number in range(start, start + count)]


def ids(count, start=0):
    return [str(number) for number in range(start, start + count)]


@pytest.fixture
def topic(broker):
    """Makes a topic that nobody else uses."""

    def made(partitions=1, **configs):
        return broker.topic(f"events-{next(numbers)}", partitions, **configs)

    return made


def source(broker, topic, **more):
    return Kafka.model_validate({"brokers": [broker.servers], "topic": topic, "group": f"of-{topic}", **more})


@asynccontextmanager
async def reading(source, desk, problems=None):
    told = [] if problems is None else problems
    task = asyncio.create_task(kafka.read(source, desk, told.append))
    try:
        yield task
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition, within=120):
    """In a thread, for to ask the broker takes long enough to hold up those who are waited for."""
    ends = time.monotonic() + within
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.02)


def committed(broker, source, partitions=1):
    return broker.committed(source.group, source.topic, partitions)


def test_kafka_is_not_imported_before_a_topic_is_read():
    code = "import sys, monitor.cli, monitor.ingest.kafka; sys.exit('kafka' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_everything_arrives_once_and_is_committed(broker, topic):
    where = source(broker, topic(3))
    broker.send(where.topic, events(5_000))

    async def scene():
        desk, problems = Desk(), []
        async with reading(where, desk, problems):
            await until(lambda: len(desk.taken) == 5_000)
            await until(lambda: committed(broker, where, 3) == 5_000)
        assert sorted(desk.ids, key=int) == ids(5_000)
        assert {message.origin for message in desk.taken} == {"kafka"}
        assert problems[-1] is None

    asyncio.run(scene())


def test_one_partition_arrives_in_order_and_goes_on_where_the_last_reader_ended(broker, topic):
    where = source(broker, topic())

    async def scene():
        first, second = Desk(), Desk()
        broker.send(where.topic, events(100))
        async with reading(where, first):
            await until(lambda: committed(broker, where) == 100)
        broker.send(where.topic, events(50, start=100))
        async with reading(where, second):
            await until(lambda: len(second.taken) == 50)
        assert first.ids == ids(100)
        assert second.ids == ids(50, start=100)

    asyncio.run(scene())


def test_hl7_messages_arrive_framed_or_not_and_several_in_one_record(broker, topic):
    where = source(broker, topic(), format="hl7")
    one, two, three, four = (ADMISSION % (number, number) for number in range(4))
    broker.send(where.topic, [one, b"\x0b" + two + b"\x1c\r", three + b"\r" + four, b"no message"])

    async def scene():
        desk = Desk()
        async with reading(where, desk):
            await until(lambda: len(desk.taken) == 5)
        patients = [event.patient for message in desk.taken for event in message.events]
        assert patients == ["p0", "p1", "p2", "p3"]
        assert desk.rejects == [(f"{where.topic}/0/3", "no-msh")]

    asyncio.run(scene())


def test_poison_becomes_rejects_that_say_where_and_holds_nothing_up(broker, topic):
    where = source(broker, topic())
    broker.send(where.topic, [None, b"", b"{", b"\xff\xfe", b'{"id": "x"}', event(1)], key=b"p")

    async def scene():
        desk = Desk()
        async with reading(where, desk):
            await until(lambda: committed(broker, where) == 6)
        reasons = ["no-content", "no-content", "not-json", "not-json", "not-an-event"]
        assert desk.rejects == [(f"{where.topic}/0/{offset}", each) for offset, each in enumerate(reasons)]
        assert [message.content for message in desk.taken[:3]] == [b"", b"", b"{"]
        assert desk.ids == ["1"]

    asyncio.run(scene())


@pytest.mark.usefixtures("impatient")
def test_what_an_intake_refuses_is_handed_over_again_and_nothing_is_skipped(broker, topic):
    where = source(broker, topic())
    broker.send(where.topic, events(1_500))

    async def scene():
        desk = Desk()
        desk.refusals = sys.maxsize
        async with reading(where, desk):
            await until(lambda: desk.calls == 3)
            assert committed(broker, where) == 0
            desk.refusals = 0
            await until(lambda: committed(broker, where) == 1_500)
        assert desk.ids == ids(1_500)

    asyncio.run(scene())


KILLED = """
import asyncio, os, signal, sys
from monitor.core.place import Registry
from monitor.ingest.kafka import read
from monitor.settings import Kafka

class Desk:
    registry = Registry()
    async def take(self, messages, position=None):
        with open(sys.argv[2], "a") as file:
            file.writelines(event.id + "\\n" for message in messages for event in message.events)
        if "1200" in open(sys.argv[2]).read().split():
            os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(read(Kafka.model_validate_json(sys.argv[1]), Desk(), print))
"""


def test_a_reader_killed_between_taking_and_committing_loses_nothing(broker, topic, tmp_path):
    where = source(broker, topic())
    broker.send(where.topic, events(3_000))
    taken = tmp_path / "taken"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, where.model_dump_json(exclude_none=True), taken], timeout=300
    )
    assert killed.returncode == -signal.SIGKILL
    before = taken.read_text().split()
    assert 0 <= committed(broker, where) < len(before) < 3_000

    async def scene():
        desk = Desk()
        async with reading(where, desk):
            await until(lambda: committed(broker, where) == 3_000)
        assert set(before) | set(desk.ids) == set(ids(3_000))
        assert set(before) & set(desk.ids)

    asyncio.run(scene())


@pytest.mark.usefixtures("impatient")
def test_a_broker_that_stops_is_reported_and_waited_for(broker, topic):
    where = source(broker, topic())
    broker.send(where.topic, events(10))

    async def scene():
        desk, problems = Desk(), []
        async with reading(where, desk, problems):
            await until(lambda: committed(broker, where) == 10)
            before = len(problems)
            broker.kill()
            await until(lambda: problems[before:])
            assert problems[before].startswith(f"Kafka topic {where.topic}: no answer from {broker.servers}")
            await asyncio.to_thread(broker.start)
            await asyncio.to_thread(broker.send, where.topic, events(10, start=10))
            await until(lambda: len(set(desk.ids)) == 20)
            await until(lambda: problems[-1] is None)
        assert list(dict.fromkeys(desk.ids)) == ids(20)

    asyncio.run(scene())


@pytest.mark.usefixtures("impatient")
def test_a_broker_that_is_not_there_at_first_is_waited_for_and_a_stop_is_quick(broker, topic):
    where = source(broker, topic())
    broker.send(where.topic, events(10))
    broker.stop()

    async def scene():
        desk, problems = Desk(), []
        async with reading(where, desk, problems):
            await until(lambda: problems)
        started = time.monotonic()
        async with reading(where, desk):
            await asyncio.sleep(0.2)
        assert time.monotonic() - started < 30
        async with reading(where, desk, problems):
            await asyncio.to_thread(broker.start)
            await until(lambda: desk.ids == ids(10))

    asyncio.run(scene())


def test_readers_of_one_group_share_the_partitions_and_take_over_from_one_that_leaves(broker, topic):
    where = source(broker, topic(4))

    async def scene():
        one, two = Desk(), Desk()
        async with reading(where, one):
            broker.send(where.topic, events(100))
            await until(lambda: len(one.taken) == 100)
            async with reading(where, two):
                sent = 100
                while not two.taken:
                    await asyncio.to_thread(broker.send, where.topic, events(100, start=sent))
                    sent += 100
                await asyncio.to_thread(broker.send, where.topic, events(1_000, start=sent))
                sent += 1_000
                await until(lambda: len(set(one.ids) | set(two.ids)) == sent)
                assert len(one.taken) > 100
            await asyncio.to_thread(broker.send, where.topic, events(100, start=sent))
            sent += 100
            await until(lambda: committed(broker, where, 4) == sent)
        assert set(one.ids) | set(two.ids) == set(ids(sent))

    asyncio.run(scene())


def test_partitions_that_are_added_are_read_though_polls_end_while_the_group_forms(
    broker, topic, monkeypatch
):
    monkeypatch.setattr(group, "_METADATA_MILLISECONDS", 50)
    where = source(broker, topic(1))
    consumer = group.GroupConsumer(where, where.topic, "added", where.group)
    try:
        consumer.connect(where.topic)
        for partitions in range(2, 8):
            with closing(KafkaAdminClient(bootstrap_servers=broker.servers)) as admin:
                admin.create_partitions({where.topic: partitions})
            ends = time.monotonic() + 120
            while len(consumer.client.assignment()) < partitions:
                consumer.poll(1, 10)
                assert time.monotonic() < ends
    finally:
        consumer.leave()


def test_a_group_that_changes_while_messages_wait_to_be_taken_loses_nothing(broker, topic, monkeypatch):
    monkeypatch.setattr(kafka, "_STAY_SECONDS", 0.1)
    where = source(broker, topic(4))
    broker.send(where.topic, events(4_000))

    async def scene():
        slow, other = Desk(), Desk()
        slow.is_open.clear()
        async with reading(where, slow):
            await until(lambda: slow.calls == 1)
            async with reading(where, other):
                await until(lambda: other.taken)
                await asyncio.sleep(1)
                assert slow.calls == 1
            await asyncio.sleep(1)
            slow.is_open.set()
            await until(lambda: committed(broker, where, 4) == 4_000)
        assert set(slow.ids) | set(other.ids) == set(ids(4_000))

    asyncio.run(scene())


def test_messages_that_the_brokers_deleted_before_they_were_read_are_told_of(broker, topic):
    where = source(broker, topic())
    broker.send(where.topic, events(10))

    async def scene():
        desk = Desk()
        async with reading(where, desk):
            await until(lambda: committed(broker, where) == 10)
        broker.send(where.topic, events(20, start=10))
        broker.delete(where.topic, before=25)
        async with reading(where, desk):
            await until(lambda: committed(broker, where) == 30)
        assert desk.rejects == [(f"{where.topic}/0/10-24", "lost")]
        assert desk.ids == ids(10) + ids(5, start=25)

    asyncio.run(scene())


@pytest.mark.usefixtures("impatient")
def test_a_topic_that_does_not_exist_yet_is_reported_and_waited_for(broker, topic):
    where = source(broker, f"later-{next(numbers)}")

    async def scene():
        desk, problems = Desk(), []
        async with reading(where, desk, problems):
            missing = f"Kafka topic {where.topic}: there is no such topic, or it may not be read"
            await until(lambda: missing in problems)
            broker.topic(where.topic)
            broker.send(where.topic, events(1))
            await until(lambda: desk.ids == ["0"])
            await until(lambda: problems[-1] is None)

    asyncio.run(scene())


@pytest.fixture
def password_file(tmp_path):
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    return str(file)


def secure(broker, topic, password, security, more):
    settings = {"brokers": [broker.secure[security]], "security": security}
    if "sasl" in security:
        settings |= {"user": USER, "password_file": password}
    if "tls" in security:
        settings |= {"ca": str(broker.ca)}
    if security == "tls":
        settings |= {"certificate": str(broker.client_certificate), "key": str(broker.client_key)}
    return source(broker, topic, **settings | more)


@pytest.mark.parametrize(
    ("security", "more"),
    [
        ("tls", {}),
        ("sasl", {"mechanism": "PLAIN"}),
        ("sasl-tls", {"mechanism": "PLAIN"}),
        ("sasl-tls", {"mechanism": "SCRAM-SHA-512"}),
    ],
)
def test_a_broker_is_read_over_tls_and_with_a_password(broker, topic, password_file, security, more):
    name = topic()
    broker.send(name, events(3))

    async def scene():
        desk = Desk()
        async with reading(secure(broker, name, password_file, security, more), desk):
            await until(lambda: desk.ids == ids(3))

    asyncio.run(scene())


# The broker's answer is lost when it hangs up right after it.
LOGIN = "Authentication failed|are `user` and `password_file` right"


@pytest.mark.parametrize(
    ("security", "more", "why"),
    [
        ("sasl", {"mechanism": "PLAIN", "user": "somebody else"}, LOGIN),
        ("sasl-tls", {"user": "somebody else"}, LOGIN),
        ("sasl-tls", {"password_file": "/dev/null"}, "/dev/null is empty"),
        ("sasl-tls", {"password_file": "/nowhere/password"}, "No such file or directory"),
        ("sasl-tls", {"ca": certifi.where()}, "CERTIFICATE_VERIFY_FAILED"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_why_a_broker_is_not_to_be_had_is_told(broker, topic, password_file, security, more, why):
    where = secure(broker, topic(), password_file, security, more)

    async def scene():
        problems = []
        async with reading(where, Desk(), problems):
            await until(lambda: re.search(why, f"{problems}"))
        assert PASSWORD not in f"{problems}"

    asyncio.run(scene())
