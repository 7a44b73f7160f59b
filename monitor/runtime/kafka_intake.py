"""What `handoff ingest` takes over goes into Kafka: on return the brokers have it, as many of them as the topic asks for.

The lane (`runtime/lane.py`) gathers what comes meanwhile, so that one exchange with the brokers serves all who wait. Its
thread is the only one that touches the producer. Nothing is kept here: what the brokers did not acknowledge was not taken,
and its sender sends it again. Of that some may be there already; a repeat changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import chain, islice
from time import perf_counter
from typing import Any, Final, NamedTuple, Protocol

from kafka import KafkaProducer  # type: ignore[import-untyped]

from monitor.core.event import HEARTBEAT, Event
from monitor.core.place import Registry
from monitor.formats.envelope import Heard, Told, Visited, encode, key_of, partition_of
from monitor.formats.reject import Reject
from monitor.ingest.brokers import ANSWER_MILLISECONDS, Complaints, connected, why
from monitor.ingest.intake import Message, Position
from monitor.runtime.batch import Kept
from monitor.runtime.clock import LiveClock, steady
from monitor.runtime.database import StoreError
from monitor.runtime.topics import LARGEST
from monitor.settings import Cluster

BEAT_SECONDS: Final = 5.0
"""How often all partitions are told which sources were heard."""
DELIVERY_MILLISECONDS: Final = 15_000
"""What the brokers do not acknowledge within so long was not taken: longer than another broker needs to step in for one that died."""
_CLIENT_ID: Final = "handoff-monitor.ingest"
_AT_ONCE: Final = 5_000
"""Records that are under way at a time, which bounds what the producer holds in memory."""
_LONGEST: Final = LARGEST - 2**16
"""Bytes of the longest value; the rest is for its key and headers."""
_BATCH_BYTES: Final = 128 * 2**10
_MOST_SOURCES: Final = 500
"""Sources of one beat that the registry does not name."""
_PARTING_SECONDS: Final = 2.0
_GIVEN_UP_SECONDS: Final = DELIVERY_MILLISECONDS / 1000 + 5
"""The library itself gives up before that."""


class Record(NamedTuple):
    """What is sent; None as partition: any."""

    topic: str
    value: bytes
    key: bytes | None = None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Watcher(Protocol):
    """What is counted and logged of all this; nothing in it may name a patient."""

    def took(self, events: Sequence[Event], rejects: Sequence[Kept], at: datetime) -> None: ...
    def heard(self, sources: Iterable[str], at: datetime) -> None: ...
    def wrote(self, seconds: float) -> None: ...
    def failed(self, what: str, error: Exception) -> None: ...
    def mended(self, what: str) -> None: ...


class KafkaIntake:
    """The work of the lane of `handoff ingest`: `write` returns once the brokers have all of it."""

    def __init__(
        self,
        cluster: Cluster,
        registry: Registry,
        clock: LiveClock,
        watcher: Watcher,
        steady: Callable[[], float] = steady,
    ) -> None:
        self.registry = registry
        self._cluster = cluster
        self._clock = clock
        self._watcher = watcher
        self._steady = steady
        self._producer: Any = None
        self._said = Complaints(_CLIENT_ID)
        self._positions: dict[str, str] = {}
        self._heard: dict[str, None] = {}
        """Sources heard since the last beat."""
        self._beat_at = steady()

    # As the lane asks

    def begin(self) -> Iterator[None]:
        """Nothing is to be read first; what connects is the first write."""
        return iter(())

    def write(self, messages: Sequence[Message], positions: Sequence[Position]) -> None:
        """Send messages, and the beat if it is time; returns when the brokers have them.

        Raises `StoreError`: some of it may be there, but it counts as not taken.
        """
        began = perf_counter()
        beat = list(self._heard) if self.has_news() else []
        records = _Records(self._cluster, self._clock.now())
        try:
            self._send(chain(records.of_beat(beat), records.of(messages)))
        except Exception as error:
            problem = StoreError("gone", why(error, self._cluster, self._said))
            self._part(0)
            raise problem from error
        for source in beat:
            del self._heard[source]
        if beat:
            self._beat_at = self._steady()
        self._positions |= dict(positions)
        self._note(messages, records.rejects)
        self._watcher.wrote(perf_counter() - began)
        self._watcher.mended("kafka")

    def judge(self) -> None:
        """Others judge."""

    def has_news(self) -> bool:
        """Whether it is time to say which sources were heard."""
        return bool(self._heard) and self.seconds_until_due() <= 0

    def seconds_until_due(self) -> float:
        return self._beat_at + BEAT_SECONDS - self._steady() if self._heard else BEAT_SECONDS

    def position(self, name: str) -> str | None:
        """Where a reader had come; only since the start, for nothing is kept."""
        return self._positions.get(name)

    def failed(self, error: Exception) -> None:
        self._watcher.failed("kafka", error)

    def close(self) -> None:
        """Let go of the connections."""
        self._part(_PARTING_SECONDS)

    # Sending

    def _send(self, records: Iterator[Record]) -> None:
        """Send all, and wait until they are acknowledged. Raises what the library has to say."""
        if self._producer is None:
            self._said.listen()
            self._producer = _producer(self._cluster)
        while some := list(islice(records, _AT_ONCE)):
            sent = [
                self._producer.send(each.topic, each.value, each.key, list(each.headers), each.partition)
                for each in some
            ]
            for each in sent:
                each.get(timeout=_GIVEN_UP_SECONDS)

    def _part(self, seconds: float) -> None:
        """Give the producer up; the next write makes another, which begins with nothing."""
        producer, self._producer = self._producer, None
        self._said.end()
        if producer is None:
            return
        with suppress(Exception):  # what it still had was not taken
            producer.close(timeout=seconds)
        sender = producer._sender  # noqa: SLF001 - `close` leaves it running when it cannot send the rest
        if sender.is_alive():
            sender.force_close()
            sender.join(_PARTING_SECONDS)
        with suppress(Exception):
            producer.close(timeout=0)

    # Who was heard

    def _note(self, messages: Sequence[Message], rejects: Sequence[Kept]) -> None:
        """What was taken, for those who count, and whose sign of life it was."""
        events = [event for message in messages for event in message.events]
        visited = {message.visit.source for message in messages if message.visit is not None}
        for source in visited.union(event.source for event in events):
            if source in self.registry.sources or len(self._heard) < _MOST_SOURCES:
                self._heard[source] = None
        now = self._clock.now()
        self._watcher.took(events, rejects, now)
        self._watcher.heard(visited, now)


class _Records:
    """Messages as records; `rejects` are those that could not be used, once they have been made."""

    def __init__(self, cluster: Cluster, now: datetime) -> None:
        self._events = cluster.topic("events")
        self._rejects = cluster.topic("rejects")
        self._partitions = cluster.partitions
        self._now = now
        self.rejects: list[Kept] = []

    def of(self, messages: Iterable[Message]) -> Iterator[Record]:
        """The records of messages, in order."""
        for message in messages:
            for event in message.events:
                if event.type == HEARTBEAT:
                    yield from self.of_beat([event.source])
                else:
                    event.arrived_at = None  # the broker says when
                    yield self._record(Told(event), message)
            if message.visit is not None:
                yield self._record(Visited(message.visit), message)
            if message.reject is not None:
                yield self._reject(message, message.reject)

    def of_beat(self, sources: Iterable[str]) -> Iterator[Record]:
        """Tell every partition that these sources were heard."""
        for source in sources:
            value = encode(Heard(source))
            for partition in range(self._partitions):
                yield Record(self._events, value, partition=partition)

    def _record(self, envelope: Told | Visited, message: Message) -> Record:
        try:
            value, key = encode(envelope), key_of(envelope)
        except ValueError:
            return self._reject(message, _NOT_TEXT)
        if len(value) + len(key) > _LONGEST:
            return self._reject(message, _TOO_LARGE, value)
        return Record(self._events, value, key, partition_of(key, self._partitions))

    def _reject(self, message: Message, reject: Reject, instead: bytes = b"") -> Record:
        """A dead letter; of one that is larger than a record may be only the beginning is kept."""
        content = message.content or instead
        kept = Kept(
            origin=message.origin,
            where=message.where,
            source=message.source,
            reason=reject.reason,
            detail=reject.detail,
            segment=reject.segment,
            field=reject.field,
            content=content[:_LONGEST],
            arrived_at=self._now,
        )
        self.rejects.append(kept)
        headers = {name: getattr(kept, name) for name in REJECT_HEADERS}
        if len(content) > _LONGEST:
            headers["cut_from"] = str(len(content))
        said = tuple((name, str(text).encode(errors="replace")) for name, text in headers.items() if text)
        return Record(self._rejects, kept.content, headers=said)


REJECT_HEADERS: Final = ("reason", "detail", "origin", "where", "source", "segment", "field")
"""What the headers of a reject say, as far as it is known; `cut_from` beside them: how many bytes it had, if not all are there."""
_NOT_TEXT: Final = Reject("not-unicode", "it holds half of a character, which cannot be written as UTF-8")
_TOO_LARGE: Final = Reject("too-large", f"it is larger than a record may be ({_LONGEST:,} bytes)")


def _producer(cluster: Cluster) -> Any:
    """A producer that writes each record once and in order, and gives up after a while. Raises what the library has to say."""
    return connected(
        KafkaProducer,
        cluster,
        client_id=_CLIENT_ID,
        acks="all",
        enable_idempotence=True,
        allow_auto_create_topics=False,
        delivery_timeout_ms=DELIVERY_MILLISECONDS,
        request_timeout_ms=ANSWER_MILLISECONDS,
        max_block_ms=ANSWER_MILLISECONDS,
        max_request_size=LARGEST,
        batch_size=_BATCH_BYTES,
        metrics_enabled=False,
    )
