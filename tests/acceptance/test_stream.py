"""The stream on a real Kafka: what is written, and when it is not; how far a partition is known."""

import asyncio
import signal
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import kafka_broker  # noqa: F401 - the library of Kafka warns when it is imported, but not there
import pytest

from monitor.runtime import faust_app
from monitor.runtime.clock import steady
from monitor.runtime.faust_app import SESSION_SECONDS, Outgoing, Stream
from monitor.runtime.rereading import whole
from monitor.runtime.topics import create
from monitor.settings import Cluster

pytestmark = [
    pytest.mark.acceptance,
    # kafka-python leaves the sockets of failed connections to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <(socket|ssl):ResourceWarning"),
]
PARTITIONS = 2


class Owner:
    """Somebody who takes what is theirs, and does nothing with it."""

    def __init__(self, cluster, folder):
        folder.mkdir()
        self.owned = set()
        self.taken = []
        self.stream = Stream(cluster, folder, self._take, self._assigned, self._revoked)

    async def _take(self, record):
        self.taken.append(record.offset)  # never done with, so that nothing is committed

    async def _assigned(self, owned):
        self.owned = owned

    def _revoked(self):
        self.owned = set()

    async def send(self, key):
        """Returns when the brokers have it; raises that they have not."""
        await self.stream.send([Outgoing(self.topic, 0, key, b"value")], lambda: bool(self.owned))

    topic = None


@asynccontextmanager
async def owner(cluster, folder):
    one = Owner(cluster, folder)
    one.topic = cluster.topic("alerts")
    await one.stream.start()
    try:
        yield one
    finally:
        await one.stream.stop()


async def until(condition, seconds=60):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it does not come to pass"
        await asyncio.sleep(0.02)


@pytest.fixture
def cluster(broker):
    cluster = Cluster(
        brokers=[broker.servers], prefix=f"s{time.time_ns()}", partitions=PARTITIONS, replication=1
    )
    create(cluster)
    return cluster


def told(cluster):
    return [each.key for each in whole(cluster, cluster.topic("alerts"))]


def test_whoever_slept_past_its_session_writes_nothing_until_the_brokers_count_it_in_again(
    cluster, tmp_path, monkeypatch
):
    async def live():
        async with owner(cluster, tmp_path / "a") as one:
            await until(lambda: one.owned)
            await one.send(b"before")
            monkeypatch.setattr(faust_app, "steady", lambda: steady() + SESSION_SECONDS)
            with pytest.raises(faust_app.LeaseRanOut):
                await one.send(b"asleep")
            # the next heartbeat is sent, and answered, by the clock as it is now
            await until(lambda: one.stream._lease.holds(faust_app.steady()))
            await one.send(b"after")

    asyncio.run(live())
    assert told(cluster) == [b"before", b"after"]


def test_what_waits_when_it_stops_is_not_written_any_more(cluster, tmp_path):
    async def live():
        async with owner(cluster, tmp_path / "a") as one:
            await until(lambda: one.owned)
            await one.send(b"before")
            waiting = asyncio.create_task(one.send(b"waiting"))
            await asyncio.sleep(0)
        with pytest.raises(faust_app.LeaseRanOut):
            await waiting

    asyncio.run(live())
    assert told(cluster) == [b"before"]


def test_nobody_gets_partitions_before_what_was_sent_about_them_is_there(cluster, tmp_path, monkeypatch):
    """The first to have them all has sent something that is on its way when the second joins."""
    seconds = 1.5
    found = []

    async def live():
        async with owner(cluster, tmp_path / "a") as first:
            await until(lambda: len(first.owned) == PARTITIONS)
            producer = first.stream._app.producer._producer
            send = producer.client.send

            async def send_slowly(node, request, **where):
                await asyncio.sleep(seconds)
                return await send(node, request, **where)

            producer.client.send = send_slowly
            sending = asyncio.create_task(keep_sending(first))
            async with owner(cluster, tmp_path / "b") as second:
                await until(lambda: second.owned)
                found.extend(told(cluster))
                await asyncio.sleep(seconds)
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def keep_sending(first):
        for number in range(1_000_000):
            if not first.owned:
                return
            await first.send(b"%d" % number)

    asyncio.run(live())
    assert found
    assert told(cluster) == found


def test_what_faust_read_and_threw_away_is_read_again_though_nothing_was_ever_committed(
    cluster, broker, tmp_path
):
    """It reads on while partitions are given anew, throws away what comes then, and goes back to what was committed."""
    broker.send(cluster.topic("events"), [b"first", b"second"], partition=0)

    async def live():
        async with owner(cluster, tmp_path / "a") as one:
            await until(lambda: one.taken == [0, 1])
            await one.stream._app.consumer.perform_seek()
            await until(lambda: one.taken == [0, 1, 0, 1])

    asyncio.run(live())


def test_how_far_a_partition_is_known_counts_from_when_the_brokers_were_asked(cluster, broker, tmp_path):
    """They stand still: what they say afterwards was asked before, so that nothing is known of the time between."""

    async def live():
        async with owner(cluster, tmp_path / "a") as one:
            await until(lambda: one.stream.seen(0) and one.stream.seen(1))
            broker._process.send_signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(0.5)
                stopped_at = datetime.now(UTC)
                await asyncio.sleep(0.5)
            finally:
                broker._process.send_signal(signal.SIGCONT)
            before = one.stream.seen(0)
            await until(lambda: one.stream.seen(0) is not before)
            assert one.stream.seen(0).at < stopped_at
            await until(lambda: one.stream.seen(0).at > stopped_at)

    asyncio.run(live())
