"""The part of a notifier that talks to Kafka, with a consumer of a few lines: what is read, committed, told of trouble."""

import asyncio
import sys
import time
import warnings
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from test_relay import OTHER, World

from monitor.ingest import group
from monitor.runtime import notifying
from monitor.runtime.database import StoreError
from monitor.settings import Cluster

sys.path.insert(0, str(Path(__file__).parents[1] / "notify"))
from notices import FIRING, resolved, until

with warnings.catch_warnings():
    # It reads its protocol by functions of the standard library that Python 3.11 and 3.12 call deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import OffsetAndMetadata, TopicPartition
    from kafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError
    from kafka.structs import MemberState

CLUSTER = Cluster(brokers=["nowhere:9092"])
PARTITION = TopicPartition("handoff.alerts", 0)


class Consumer:
    """A group of one; the topic and what is committed outlive it."""

    _coordinator = SimpleNamespace(rejoining=False)

    def __init__(self, topic):
        self._topic = topic
        self._position = 0
        self.polls = 0
        self.state = MemberState.STABLE
        self.assigned = {PARTITION}
        topic.consumers.append(self)

    def partitions_for_topic(self, _):
        return {0}

    def subscribe(self, _, listener):
        self.listener = listener

    def poll(self, **_):
        if self._topic.errors:
            raise self._topic.errors.pop()
        time.sleep(0.001)
        self.polls += 1
        found = self._topic.records[self._position :]
        first, self._position = self._position, len(self._topic.records)
        records = [
            SimpleNamespace(offset=offset, key=b"", value=value) for offset, value in enumerate(found, first)
        ]
        return {PARTITION: records} if records and self.assigned else {}

    def group_metadata(self):
        return SimpleNamespace(state=self.state)

    def assignment(self):
        return self.assigned

    def position(self, _, **__):
        return self._position

    def committed(self, _, **__):
        return self._topic.committed

    def end_offsets(self, partitions, **_):
        return {each: len(self._topic.records) for each in partitions}

    def seek(self, _, offset):
        self._position = offset

    def seek_to_beginning(self, _):
        self._position = 0

    def commit(self, offsets, **_):
        self._topic.committed = offsets[PARTITION]

    commit_async = commit

    def close(self, **_):
        self._topic.closed += 1


class Topic:
    def __init__(self):
        self.records, self.errors, self.consumers = [], [], []
        self.committed = None
        self.closed = 0

    def send(self, *notices):
        self.records += [msgspec.json.encode(each) for each in notices]

    @property
    def by_sink(self):
        return self.committed and msgspec.json.decode(self.committed.metadata)


@pytest.fixture
def topic(monkeypatch):
    topic = Topic()
    monkeypatch.setattr(group, "connected", lambda *_, **__: Consumer(topic))
    monkeypatch.setattr(group, "_FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(notifying, "_POLL_MILLISECONDS", 1)
    return topic


@asynccontextmanager
async def relaying(world):
    """The relay at work; what it tells of Kafka, and of the disk."""
    kafka, disk = [], []
    task = asyncio.create_task(
        notifying.relay_alerts(CLUSTER, world.relay, ["pager"], kafka.append, disk.append)
    )
    try:
        yield kafka, disk
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_what_was_delivered_is_committed_and_what_was_not_is_delivered_by_the_next(topic, tmp_path):
    async def scene():
        with World(tmp_path / "one") as one:
            async with relaying(one) as (kafka, _):
                await until(lambda: topic.by_sink == {"pager": 0})
                topic.send(FIRING, resolved())
                await until(lambda: one.shown() == {(FIRING.alert, "resolved")})
                assert one.deliver() == [FIRING]
                await until(lambda: topic.by_sink == {"pager": 1})
            assert kafka == [None]
        with World(tmp_path / "two") as two:
            async with relaying(two):
                await until(two.shown)
                assert two.deliver() == [resolved()]
                await until(lambda: topic.committed.offset == 2)

    asyncio.run(scene())


def test_trouble_that_passes_is_told_and_outlived(topic, tmp_path):
    async def scene():
        with World(tmp_path / "data") as world:
            async with relaying(world) as (kafka, _):
                await until(lambda: kafka == [None])
                topic.errors.append(KafkaTimeoutError())
                await until(lambda: kafka[1:2] == ["no answer from nowhere:9092"])
                topic.send(FIRING)
                await until(lambda: kafka[2:] == [None])
                await until(lambda: world.deliver() == [FIRING])
        assert len(topic.consumers) == 1

    asyncio.run(scene())


def test_trouble_that_does_not_makes_the_connection_anew_and_what_was_known_stays(topic, tmp_path):
    async def scene():
        with World(tmp_path / "data") as world:
            async with relaying(world) as (kafka, _):
                topic.send(FIRING)
                await until(world.shown)
                await until(lambda: topic.by_sink)
                topic.errors.append(TopicAuthorizationFailedError("handoff.alerts"))
                await until(lambda: len(topic.consumers) == 2 and kafka[-1] is None)
                assert "handoff.alerts" in kafka[-2]
                topic.send(OTHER)
                await until(lambda: len(world.shown()) == 2)
                assert world.deliver() == [FIRING, OTHER]
                await until(lambda: topic.by_sink == {"pager": 2})
        assert topic.closed == 2

    asyncio.run(scene())


def test_who_cannot_write_leaves_the_group_and_comes_back_when_it_can(topic, tmp_path, monkeypatch):
    async def scene():
        with World(tmp_path / "data") as world:
            async with relaying(world) as (_, disk):
                await until(lambda: topic.by_sink)
                write = world.kept.write
                full = StoreError("full", "the disk is full")
                monkeypatch.setattr(world.kept, "write", lambda *_: (_ for _ in ()).throw(full))
                topic.send(FIRING)
                await until(lambda: full in disk)
                await until(lambda: topic.closed >= 1)
                assert topic.by_sink == {"pager": 0}
                monkeypatch.setattr(world.kept, "write", write)
                await until(lambda: world.deliver() == [FIRING])
                assert disk[-1] is None
                await until(lambda: topic.by_sink == {"pager": 1})

    asyncio.run(scene())


def test_a_partition_that_is_taken_away_is_let_go_at_once(topic, tmp_path):
    async def scene():
        with World(tmp_path / "data") as world:
            async with relaying(world):
                topic.send(FIRING)
                await until(lambda: world.outbox.due("pager", 10))
                [due] = world.outbox.due("pager", 10)
                [consumer] = topic.consumers
                consumer.state = MemberState.REBALANCING
                rounds = consumer.polls + 2
                await until(lambda: consumer.polls > rounds)
                consumer.listener.on_partitions_revoked({PARTITION})
                assert not world.relay.shares.await_all([due])
                consumer.assigned, consumer.state = set(), MemberState.STABLE
                await until(lambda: not world.shown())
                assert world.deliver() == []

    asyncio.run(scene())


@pytest.mark.parametrize("metadata", ["", "by hand", "[1]"])
def test_an_offset_without_our_metadata_holds_for_every_sink(topic, tmp_path, metadata):
    topic.send(FIRING, OTHER)
    topic.committed = OffsetAndMetadata(1, metadata, -1)

    async def scene():
        with World(tmp_path / "data") as world:
            async with relaying(world):
                await until(lambda: len(world.shown()) == 2)
                assert world.deliver() == [OTHER]

    asyncio.run(scene())


def test_metadata_that_brokers_would_not_take_is_left_out(topic, tmp_path, monkeypatch):
    monkeypatch.setattr(notifying, "_LONGEST_METADATA", 5)

    async def scene():
        with World(tmp_path / "data") as world:
            async with relaying(world):
                topic.send(FIRING)
                await until(lambda: world.deliver() == [FIRING])
                await until(lambda: topic.committed == OffsetAndMetadata(1, "", -1))

    asyncio.run(scene())
