"""The stream on Kafka, by Faust: which partitions are ours, their records, and what is sent. The only file that knows Faust.

Of Faust there is the group, its rebalances and commits, and the clients. Records are acknowledged
by whoever takes them, one by one, when all that comes of them is with the brokers; nothing is written from within a stream.

Two things that it does otherwise than Faust keep a worker from harm:

- *The fence.* What is to be written waits in the producer, and a process may sleep meanwhile, or be cut off. Each request that
  writes is let through to its connection only while a `Lease` holds, which the answers to heartbeats renew. What is left are the
  microseconds between that look and the system call, and what the operating system has taken already but not sent.
- *How far a partition is known* counts from when the brokers were asked, not from when their answer was read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import faust
from aiokafka.errors import (  # type: ignore[import-untyped]
    IllegalGenerationError,
    KafkaError,
    UnknownMemberIdError,
)
from aiokafka.protocol.fetch import FetchRequest  # type: ignore[import-untyped]
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest  # type: ignore[import-untyped]
from aiokafka.protocol.produce import ProduceRequest  # type: ignore[import-untyped]
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from monitor.ingest.brokers import security
from monitor.runtime.clock import steady, wall
from monitor.runtime.lease import Lease
from monitor.settings import Cluster

SESSION_SECONDS: Final = 10.0
"""A worker that is not heard for so long has lost its partitions."""
_HEARTBEAT_SECONDS: Final = 3.0
_LEASE_SECONDS: Final = SESSION_SECONDS - 3
"""What is sent in the last moment may take the rest to arrive."""
_ANSWER_SECONDS: Final = 7.0
"""After so long what was sent has failed."""
_QUIET_SECONDS: Final = 3 * _ANSWER_SECONDS
_FETCH_MILLISECONDS: Final = 150
"""How long the brokers hold back the answer that there is nothing new. So old, and older, is what is known of a partition in which nothing happens."""
_COMMIT_SECONDS: Final = 1.0
_LARGEST: Final = 16 * 2**20
_BATCH: Final = 2**19
"""Bytes of records that are sent together; a larger one is sent alone."""
_TAKE_OVER: Final = 8 * 2**20
"""Bytes of a fetch: at the start much may wait."""


class Record(NamedTuple):
    """A record of the events."""

    partition: int
    offset: int
    timestamp: float
    """When the broker had it, in seconds since 1970."""
    value: bytes | None
    done: Callable[[], object]
    """To be called when all that comes of it is with the brokers."""


class Outgoing(NamedTuple):
    """A record to be sent."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = []


class First(NamedTuple):
    """Where the reading of a partition begins."""

    offset: int
    expired: int
    """How many records before it had not been read, and are gone."""


Place = tuple[str, int]
"""A topic, and a partition of it."""


class Seen(NamedTuple):
    """How far a partition is known to reach."""

    end: int
    """The offset that comes next."""
    at: datetime
    """When the brokers were asked: all that they had by then lies before the end."""


class LeaseRanOut(KafkaError):  # type: ignore[misc]  # noqa: N818 - it is no fault of ours
    """It may be that our partitions are others' by now; nothing is written about them."""

    retriable = False


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
        """`take` gets each record, `assigned` our partitions, `revoked` is called before that, and when they are lost.

        From `revoked` on nothing must be sent until `assigned` has ended.

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
            producer_max_batch_size=_BATCH,
            producer_request_timeout=_ANSWER_SECONDS,
            stream_wait_empty=False,
        )
        self._lease = Lease(_LEASE_SECONDS)
        self._seen: dict[int, Seen] = {}
        self._under_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._failed = False
        app.transport = _Transport(app.conf.broker_consumer, app)
        app.transport.lease, app.transport.heard = self._lease, self._heard
        events = app.topic(self._events, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", partitions=cluster.partitions)  # fmt: skip
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
        """Commit what is done, and leave; what has not been sent is not sent any more."""
        self._lease.end_for_good()
        with suppress(TimeoutError):  # without brokers it would never end
            await asyncio.wait_for(self._app.stop(), SESSION_SECONDS)

    @property
    def has_ended(self) -> bool:
        """Whether it has given up, which it does at errors that it takes for grave."""
        return self._failed or self._app.crashed or self._app.should_stop

    # Records in

    async def _agent(self, stream: Any) -> None:
        events = stream.noack()
        waiting = events.channel.queue
        async for event in events.events():
            await self._hand_on(event)
            # A stream goes once round the loop for each, and counts it four times; what waits already is taken as it is.
            while not waiting.empty():
                await self._hand_on(waiting.get_nowait())

    async def _hand_on(self, event: Any) -> None:
        message = event.message
        if message.generation_id != self._app.consumer_generation_id:
            return  # fetched before partitions were given anew, and will be again
        await self._take(
            Record(message.partition, message.offset, message.timestamp, message.value, event.ack)
        )

    async def _on_revoked(self, *_: object, **__: object) -> None:
        """The group waits for us here, and gives nothing to others before we have answered: all that we sent shall be there by then."""
        self._revoked()
        try:
            await asyncio.wait_for(self._quiet.wait(), _QUIET_SECONDS)
            self._lease.end()
        except TimeoutError:
            self._lease.end_for_good()
            self._failed = True

    async def _on_complete(self, *_: object, **__: object) -> None:
        await self._assigned(self.owned())

    def owned(self) -> set[int]:
        """Our partitions of the events."""
        return {each.partition for each in self._app.consumer.assignment() if each.topic == self._events}

    async def first(self, partitions: set[int]) -> dict[int, First]:
        """The first record of each partition that has not been done with yet, and is still there."""
        consumer = self._app.consumer
        places = {TP(self._events, each) for each in partitions}
        first = {
            place.partition: offset for place, offset in (await consumer.earliest_offsets(*places)).items()
        }
        committed = await self._committed(places)
        return {each: _first(first.get(each) or 0, committed.get(each)) for each in partitions}

    async def _committed(self, places: set[TP]) -> dict[int, int]:
        thread = self._app.consumer._thread  # type: ignore[attr-defined]  # noqa: SLF001 - Faust has no word for it
        client = thread._ensure_consumer()  # noqa: SLF001 - as above
        return {each.partition: await thread.call_thread(client.committed, each) for each in places}

    def seen(self, partition: int) -> Seen | None:
        """How far the partition reaches, as the brokers last said; None: they have said nothing yet."""
        return self._seen.get(partition)

    def _heard(self, request: object, answer: Any, asked_at: datetime, asked: float) -> None:
        """An answer of the brokers, and when they were asked, by the time of day and the steady clock; called in Faust's own thread."""
        match request:
            case HeartbeatRequest() if answer.error_code == 0:
                self._lease.renew(asked)
            case HeartbeatRequest() if answer.error_code in (
                IllegalGenerationError.errno,
                UnknownMemberIdError.errno,
            ):
                self._lease.end()
            case SyncGroupRequest() if answer.error_code == 0:
                self._lease.begin(asked)
            case FetchRequest():
                for topic, partitions in answer.topics:
                    for number, error_code, end, *_ in partitions:
                        if topic == self._events and error_code == 0:
                            self._seen[number] = Seen(end, asked_at)

    # What is sent

    async def send(self, records: Iterable[Outgoing], is_wanted: Callable[[], bool]) -> dict[Place, int]:
        """Send records, those for each partition in order; from when they are not wanted any more, no others of them.

        Returns when the brokers have them, and the offset after the last of each partition; raises that they have not.
        """
        under_way: list[Awaitable[Any]] = []
        counts: list[int] = []
        for place, batch in self._batches(records):
            if not is_wanted():
                break
            counts.append(batch.record_count())
            under_way.append(await self._send(place, batch))
        # who gives up waiting takes nothing back: it is under way until the brokers answer
        sent = await asyncio.shield(asyncio.gather(*under_way))
        return {
            (each.topic, each.partition): each.offset + count
            for each, count in zip(sent, counts, strict=True)
        }

    def _batches(self, records: Iterable[Outgoing]) -> Iterator[tuple[Place, Any]]:
        """The records as they travel. One by one they would cost more than all that is done with an event."""
        of_place: defaultdict[Place, list[Outgoing]] = defaultdict(list)
        for each in records:
            of_place[each.topic, each.partition].append(each)
        for place, some in of_place.items():
            batch = self._new_batch()
            for _, _, key, value, headers in some:
                while batch.append(timestamp=None, key=key, value=value, headers=headers) is None:  # full
                    yield place, batch
                    batch = self._new_batch()
            batch.close()
            yield place, batch

    def _new_batch(self) -> Any:
        return self._app.producer._ensure_producer().create_batch()  # type: ignore[attr-defined]  # noqa: SLF001 - Faust sends records one by one

    async def _send(self, place: Place, batch: Any) -> Awaitable[Any]:
        """Hand a batch to the producer; what is returned ends when the brokers have it, or raises that they have not."""
        topic, partition = place
        self._under_way += 1
        self._quiet.clear()
        try:
            producer = self._app.producer._ensure_producer()  # type: ignore[attr-defined]  # noqa: SLF001 - as above
            sent: Any = await producer.send_batch(batch, topic, partition=partition)
        except BaseException:
            self._one_less()
            raise
        sent.add_done_callback(self._one_less)
        return sent  # type: ignore[no-any-return]

    def _one_less(self, _: object = None) -> None:
        self._under_way -= 1
        if self._under_way == 0:
            self._quiet.set()


def _first(earliest: int, committed: int | None) -> First:
    if committed is None:  # who has never read a partition misses nothing
        return First(earliest, 0)
    return First(max(earliest, committed), max(0, earliest - committed))


class _Producer(driver.Producer):
    """Faust's own, behind the fence."""

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        producer = super()._new_producer(transactional_id)
        client, lease = producer.client, self.transport.lease  # type: ignore[attr-defined]
        send = client.send

        async def send_while_ours(node: int, request: object, **where: Any) -> Any:
            if isinstance(request, ProduceRequest):
                await client.ready(
                    node, **where
                )  # connected before the look at the lease, so that nothing is waited for after it
                if not lease.holds(steady()):
                    raise LeaseRanOut
            return await send(node, request, **where)

        client.send = send_while_ours
        return producer


class _Thread(driver.AIOKafkaConsumerThread):
    """Faust's own, of which what the brokers answer can be heard."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_MILLISECONDS  # noqa: SLF001 - Faust has no setting for it
        client, heard = consumer._client, transport.heard  # noqa: SLF001 - as above
        send = client.send

        async def send_and_tell(node: int, request: object, **where: Any) -> Any:
            asked_at, asked = wall(), steady()
            answer = await send(node, request, **where)
            heard(request, answer, asked_at, asked)
            return answer

        client.send = send_and_tell
        return consumer


class _Consumer(driver.Consumer):
    """Faust's own, but for what it costs to wait for something that need not be waited for."""

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def wait_first(self, *coros: Any, timeout: Any = None) -> Any:  # noqa: ASYNC109 - as Faust has it
        """For each record Faust makes four tasks: to hand it on, and to see whether the flow is stopped meanwhile. Mostly nothing has to wait."""
        if len(coros) != 2 or not self._has_room():
            return await super().wait_first(*coros, timeout=timeout)
        work, stopped = coros
        stopped.close()
        return await work

    async def seek_to_committed(self) -> Any:
        """Faust goes back so when it has thrown away records that it read while partitions were given anew. It leaves those
        partitions where they are of which nothing was ever committed, and their records would be passed over.
        """
        committed = await super().seek_to_committed()
        never = [place for place, offset in committed.items() if not offset]
        if never:
            await self._thread.seek_to_beginning(*never)
        return committed

    def _has_room(self) -> bool:
        """Whether a record can be handed on at once."""
        app = self.app
        return (
            self.flow_active
            and app.flow_control.is_active()
            and not app.topics._tp_to_callback_lock.locked()  # type: ignore[attr-defined]  # noqa: SLF001 - as above
            and not any(channel.queue.full() for channel in app.topics)
        )


class _Transport(driver.Transport):
    Consumer = _Consumer
    Producer = _Producer
    lease: Lease
    heard: Callable[[object, Any, datetime, float], None]


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
