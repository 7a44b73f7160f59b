"""The stream on Kafka, by Faust: which partitions are ours, their records, their table, and what is sent. The only file that knows Faust.

Of Faust there is the group, its rebalances and commits, the table with its changelog, and the clients. Records are acknowledged
by whoever takes them, one by one, when all that comes of them is with the brokers; nothing is written from within a stream.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from monitor.ingest.brokers import security
from monitor.settings import Cluster

SESSION_SECONDS: Final = 10.0
"""A worker that is not heard for so long has lost its partitions."""
_HEARTBEAT_SECONDS: Final = 3.0
_COMMIT_SECONDS: Final = 1.0
_LARGEST: Final = 16 * 2**20
_TAKE_OVER: Final = 8 * 2**20
"""Bytes of a fetch: at the start whole tables are read."""


class Record(NamedTuple):
    """A record of the events."""

    partition: int
    offset: int
    timestamp: float
    """When the broker had it, in seconds since 1970."""
    value: bytes | None
    done: Callable[[], object]
    """To be called when all that comes of it is with the brokers."""


class Seen(NamedTuple):
    """How far a partition is known to reach."""

    end: int
    """The offset that comes next."""
    at: float
    """When the broker said so, in seconds since 1970."""


class Stream:
    """Our share of the partitions of a cluster."""

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        take: Callable[[Record], Awaitable[None]],
        assigned: Callable[[set[int]], Awaitable[None]],
        revoked: Callable[[], None],
    ) -> None:
        """`take` gets each record, `assigned` our partitions when their tables are there, `revoked` is called before that, and when they are lost.

        Reads the files with certificates and passwords: raises `OSError`, `Trouble`. Faust keeps notes in `folder`.
        """
        self._cluster = cluster
        self._events = cluster.topic("events")
        self._app = app = faust.App(
            cluster.prefix,
            broker=[f"kafka://{each}" for each in cluster.brokers],
            broker_credentials=_credentials(cluster),
            store="memory://",
            datadir=folder,
            web_enabled=False,
            autodiscover=False,
            reply_create_topic=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            topic_partitions=cluster.partitions,
            topic_replication_factor=cluster.replication,
            table_standby_replicas=0,
            processing_guarantee="at_least_once",
            key_serializer="raw",
            value_serializer="raw",
            broker_session_timeout=SESSION_SECONDS,
            broker_heartbeat_interval=_HEARTBEAT_SECONDS,
            broker_commit_interval=_COMMIT_SECONDS,
            broker_request_timeout=30.0,
            broker_check_crcs=False,
            consumer_max_fetch_size=_TAKE_OVER,
            producer_acks=-1,
            producer_max_request_size=_LARGEST,
            # what lies here while the process sleeps is not sent when it wakes: its partitions may be others' by then
            producer_request_timeout=SESSION_SECONDS - _HEARTBEAT_SECONDS,
            stream_wait_empty=False,
        )
        app.transport = _Transport(app.conf.broker_consumer, app)
        events = app.topic(self._events, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", partitions=cluster.partitions)  # fmt: skip
        self._table = app.Table("journeys", key_type=bytes, value_type=bytes, partitions=cluster.partitions)
        self._take, self._assigned, self._revoked = take, assigned, revoked
        app.agent(events, name="take")(self._agent)
        app.on_partitions_revoked.connect(self._on_revoked)
        app.on_rebalance_complete.connect(self._on_complete)

    async def start(self) -> None:
        """Join the others; returns when our share has been read."""
        logging.getLogger("mode").setLevel(logging.ERROR)
        self._app.finalize()
        await self._app.start()

    async def stop(self) -> None:
        """Commit what is done, and leave."""
        await self._app.stop()

    @property
    def has_ended(self) -> bool:
        """Whether it has given up, which it does at errors that it takes for grave."""
        return self._app.crashed or self._app.should_stop

    # Records in

    async def _agent(self, stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            await self._take(
                Record(message.partition, message.offset, message.timestamp, message.value, event.ack)
            )

    async def _on_revoked(self, *_: object, **__: object) -> None:
        self._revoked()

    async def _on_complete(self, *_: object, **__: object) -> None:
        await self._assigned(self.owned())

    def owned(self) -> set[int]:
        """Our partitions of the events."""
        return {each.partition for each in self._app.consumer.assignment() if each.topic == self._events}

    async def first_offsets(self, partitions: set[int]) -> dict[int, int]:
        """The first offset of each partition that has not been done with yet."""
        consumer = self._app.consumer
        places = {TP(self._events, each) for each in partitions}
        first = {
            place.partition: offset for place, offset in (await consumer.earliest_offsets(*places)).items()
        }
        committed = await self._committed(places)
        return {each: max(first.get(each) or 0, committed.get(each) or 0) for each in partitions}

    async def _committed(self, places: set[TP]) -> dict[int, int]:
        thread = self._app.consumer._thread  # type: ignore[attr-defined]  # noqa: SLF001 - Faust has no word for it
        client = thread._ensure_consumer()  # noqa: SLF001 - as above
        return {each.partition: await thread.call_thread(client.committed, each) for each in places}

    def seen(self, partition: int) -> Seen | None:
        """How far the partition reaches, as the broker last said; None: it has said nothing yet."""
        client = self._app.consumer._thread._consumer  # type: ignore[attr-defined]  # noqa: SLF001 - as above
        place = TP(self._events, partition)
        try:
            end, at = client.highwater(place), client.last_poll_timestamp(place)
        except (AssertionError, AttributeError, KeyError):  # it is no longer ours, or nothing has begun
            return None
        return None if end is None or at is None else Seen(end, at / 1000)

    # The table, and what is sent

    def table(self, partition: int) -> MutableMapping[bytes, bytes]:
        """The part of the table that belongs to a partition, as it is here in memory; `write` makes it last."""
        return _Part(self._table.data, partition)

    async def write(self, partition: int, key: bytes, value: bytes | None) -> Awaitable[object]:
        """Write a cell of the table; what is returned ends when the brokers have it."""
        topic = self._cluster.topic("journeys")
        return await self._app.producer.send(topic, _named(partition, key), value, partition, None, None)

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> Awaitable[object]:
        """Send a record; what is returned ends when the brokers have it."""
        return await self._app.producer.send(topic, key, value, partition, None, headers)


class _Consumer(driver.Consumer):
    """Faust's own, but for what it costs to wait for something that need not be waited for."""

    async def wait_first(self, *coros: Any, timeout: Any = None) -> Any:  # noqa: ASYNC109 - as Faust has it
        """For each record Faust makes two tasks: to hand it on, and to see whether the flow is stopped meanwhile. Mostly nothing has to wait."""
        if len(coros) != 2 or timeout is not None or not self.flow_active:
            return await super().wait_first(*coros, timeout=timeout)
        work, stop = coros
        try:
            waits_for = work.send(None)
        except StopIteration:
            stop.close()
            return None
        return await super().wait_first(_resumed(work, waits_for), stop)


class _Transport(driver.Transport):
    Consumer = _Consumer


async def _resumed(work: Any, waits_for: Any) -> None:
    """Go on with a coroutine that has begun, and waits for something."""
    await _Rest(work, waits_for)


class _Rest:
    def __init__(self, work: Any, waits_for: Any) -> None:
        self._work, self._waits_for = work, waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        while True:
            try:
                try:
                    yield waits_for
                except BaseException as error:  # noqa: BLE001 - it is handed on to where it belongs
                    waits_for = self._work.throw(error)
                else:
                    waits_for = self._work.send(None)
            except StopIteration:
                return


def _credentials(cluster: Cluster) -> Any:
    options = security(cluster)
    context = options.get("ssl_context")
    if cluster.security in ("sasl", "sasl-tls"):
        return faust.SASLCredentials(
            username=options.get("sasl_plain_username"),
            password=options.get("sasl_plain_password"),
            mechanism=options.get("sasl_mechanism"),
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context=context)


def _named(partition: int, key: bytes) -> bytes:
    """The key in the table: two partitions may hold entries for one patient, of which one says where the other is."""
    return partition.to_bytes(2) + key


class _Part(MutableMapping[bytes, bytes]):
    """What the store of the table holds for one partition."""

    def __init__(self, store: Any, partition: int) -> None:
        self._cells: dict[bytes, bytes] = store.data
        self._partition_of: dict[bytes, int] = store._key_partition  # noqa: SLF001 - by it Faust drops what is no longer ours
        self._partition = partition
        self._prefix = _named(partition, b"")

    def __getitem__(self, key: bytes) -> bytes:
        return self._cells[self._prefix + key]

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._cells[self._prefix + key] = value
        self._partition_of[self._prefix + key] = self._partition

    def __delitem__(self, key: bytes) -> None:
        del self._cells[self._prefix + key]
        self._partition_of.pop(self._prefix + key, None)

    def __iter__(self) -> Iterator[bytes]:
        return (key[2:] for key in list(self._cells) if key.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)
