"""Messages from a Kafka topic: read as one member of a group, handed over, and only then committed.

An offset is committed when all before it is on disk, so a crash or a change in the group makes messages come twice, never not at
all. kafka-python is imported only once a topic is to be read; its calls block, so they are made in a thread of their own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final, Literal, NamedTuple, Never

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats import canonical, hl7, mllp
from monitor.formats.reject import Reject
from monitor.ingest.brokers import ANSWER_MILLISECONDS, Complaints, Trouble, connected, why
from monitor.ingest.intake import LARGEST_BATCH, Intake, Message, NotTaken
from monitor.settings import Kafka

Partition = Any
"""A `kafka.TopicPartition`; the library has no types."""
Record = Any
"""A `ConsumerRecord` of the library."""

_NO_CONTENT: Final = Reject("no-content", "the Kafka message has no value, so it says nothing")

_POLL_MILLISECONDS: Final = 500
_GOODBYE_MILLISECONDS: Final = 1_500
_SESSION_MILLISECONDS: Final = 10_000
"""A reader that died is missed after so long; until then nobody else reads its partitions."""
_METADATA_MILLISECONDS: Final = 30_000
"""New partitions are found within so long."""
_FETCH_BYTES: Final = 8 * 2**20
_QUIET_POLLS: Final = 10
"""After so many polls that brought nothing it is asked whether the brokers are still there."""
_FAILURES: Final = 20
"""After so many that were hoped to pass, one after the other, the connection is made anew."""
_STAY_SECONDS: Final = 3.0
"""While messages wait to be taken over, the group learns so often that its member lives."""
_FIRST_WAIT_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 30.0


async def read(source: Kafka, intake: Intake, on_problem: Callable[[str | None], None]) -> Never:
    """Hand all messages of a topic over to the intake, until cancelled; then it ends within a few seconds.

    `on_problem` learns what is wrong, without patients, whenever that changes; None: all is well. Whatever happens, reading
    goes on or, after waits of 1 to 30 seconds, begins again where the committed offsets say.
    """
    loop = asyncio.get_running_loop()
    tell = _on_change(on_problem)
    wait = _FIRST_WAIT_SECONDS
    with ThreadPoolExecutor(max_workers=1) as thread:
        blocking = partial(loop.run_in_executor, thread)
        while True:
            member = _Member(source)
            try:
                await blocking(member.join)
                wait = _FIRST_WAIT_SECONDS
                while True:
                    batch: _Batch = await blocking(member.next, intake.registry)
                    tell(_about(source, member.trouble))
                    if batch.messages:
                        await _hand_over(batch.messages, intake, partial(blocking, member.stay))
                        await blocking(member.commit, batch.offsets)
            except Exception as error:  # noqa: BLE001 - whatever a broker does to the library, the service goes on
                tell(_about(source, member.reason(error)))
            finally:
                await blocking(member.leave)
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)


def _on_change(tell: Callable[[str | None], None]) -> Callable[[str | None], None]:
    told: list[str | None] = []

    def changed(text: str | None) -> None:
        if told != [text]:
            told[:] = [text]
            tell(text)

    return changed


def _about(source: Kafka, trouble: str | None) -> str | None:
    return trouble and f"Kafka topic {source.topic}: {trouble}"


async def _hand_over(
    messages: list[Message], intake: Intake, stay: Callable[[], asyncio.Future[Any]]
) -> None:
    """Until they are taken over, however long that is."""
    while True:
        taking = asyncio.ensure_future(intake.take(messages))
        try:
            while not (await asyncio.wait({taking}, timeout=_STAY_SECONDS))[0]:
                await stay()
            return taking.result()
        except NotTaken:
            await stay()
            await asyncio.sleep(_FIRST_WAIT_SECONDS)
        finally:
            taking.cancel()


class _Batch(NamedTuple):
    messages: list[Message]
    offsets: dict[Partition, Any]
    """What to commit once they are taken over."""


class _Member:
    """A reader of a topic in its group. All of it blocks; it is called by one thread at a time."""

    def __init__(self, source: Kafka) -> None:
        self._source = source
        self._client_id = f"handoff-monitor.{source.topic}"
        self._complaints = Complaints(self._client_id)
        self._consumer: Any = None
        self._held: dict[Partition, list[Record]] = {}
        """What came and has not been given out yet."""
        self._uncommitted: dict[Partition, Any] = {}
        self._read_to: dict[Partition, int] = {}
        self._quiet = 0
        self._failures = 0
        self.trouble: str | None = None
        """Why nothing comes, while it is hoped that this passes."""

    def join(self) -> None:
        """Raises what the library, the system or `Trouble` has to say when that is not possible."""
        self._complaints.listen()
        self._consumer = self._connected()
        if not self._consumer.partitions_for_topic(self._source.topic):
            raise Trouble("there is no such topic, or it may not be read")

    def _connected(self) -> Any:
        from kafka import KafkaConsumer  # type: ignore[import-untyped]  # noqa: PLC0415 - only who uses Kafka pays for it

        return connected(
            KafkaConsumer,
            self._source,
            self._source.topic,
            client_id=self._client_id,
            group_id=self._source.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            session_timeout_ms=_SESSION_MILLISECONDS,
            metadata_max_age_ms=_METADATA_MILLISECONDS,
            fetch_max_bytes=_FETCH_BYTES,
            metrics_enabled=False,
        )

    def next(self, registry: Registry) -> _Batch:
        """What came, within half a second or some: at most `LARGEST_BATCH` messages, or none.

        The library mends most of what breaks by itself, and who leaves a group in a hurry holds up the others; so an error
        that may pass is only raised after it came again and again.
        """
        from kafka.errors import KafkaError  # type: ignore[import-untyped]  # noqa: PLC0415

        try:
            if self._uncommitted:
                self.commit({})
            self._held = self._held or self._polled()
            batch = self._batch(self._held, registry)
        except KafkaError as error:
            self._failures += 1
            if not error.retriable or self._failures > _FAILURES:
                raise
            self.trouble = self.reason(error)
            time.sleep(_POLL_MILLISECONDS / 1000)
            return _Batch([], {})
        self._held = {}
        return batch

    def _polled(self) -> dict[Partition, list[Record]]:
        self._consumer.resume(*self._consumer.paused())
        records: dict[Partition, list[Record]] = self._consumer.poll(
            timeout_ms=_POLL_MILLISECONDS, max_records=LARGEST_BATCH
        )
        self._quiet += 1
        if not records and self._quiet < _QUIET_POLLS:
            return records
        if not records:
            self._ask()
        self._quiet = 0
        self._failures = 0
        self.trouble = None
        self._complaints.last = ""
        return records

    def _ask(self) -> None:
        """Whether the brokers are still there: without it their silence is like that of a feed in which nothing happens.

        Not by the connection to the group's coordinator: there an answer may wait until all members have joined.
        """
        from kafka import TopicPartition  # noqa: PLC0415

        self._consumer.end_offsets([TopicPartition(self._source.topic, 0)], timeout_ms=ANSWER_MILLISECONDS)

    def _batch(self, records: dict[Partition, list[Record]], registry: Registry) -> _Batch:
        from kafka import OffsetAndMetadata  # noqa: PLC0415

        messages = []
        offsets = {}
        for partition, found in records.items():
            messages += self._lost(partition, found[0].offset)
            for record in found:
                messages += _messages(record, self._source.format, registry)
            last = found[-1]
            offsets[partition] = OffsetAndMetadata(last.offset + 1, "", last.leader_epoch)
        self._read_to |= {partition: next_one.offset for partition, next_one in offsets.items()}
        return _Batch(messages, offsets)

    def _lost(self, partition: Partition, first: int) -> list[Message]:
        """A reject for messages that the brokers deleted before the group had read them: they kept them for too short a time."""
        if self._read_to.get(partition) == first:
            return []
        committed = self._consumer.committed(partition, timeout_ms=ANSWER_MILLISECONDS)
        if committed is None or committed >= first:
            return []
        begins = self._consumer.beginning_offsets([partition], timeout_ms=ANSWER_MILLISECONDS)[partition]
        expected = max(committed, self._read_to.get(partition, 0))
        if begins <= expected:
            return []  # gaps are normal: markers of transactions, and what compaction leaves out
        detail = f"{begins - expected} messages were deleted by the Kafka brokers before they were read here"
        where = f"{partition.topic}/{partition.partition}/{expected}-{begins - 1}"
        return [Message(origin="kafka", content=b"", where=where, reject=Reject("lost", detail))]

    def stay(self) -> None:
        """Take part in the group without asking for more."""
        with suppress(Exception):  # who cannot stay now will find out at the next poll
            self._consumer.pause(*self._consumer.assignment())
            for partition, records in self._consumer.poll(timeout_ms=100).items():
                # Partitions that came to us in this very poll were not paused yet.
                self._held.setdefault(partition, []).extend(records)

    def commit(self, offsets: dict[Partition, Any]) -> None:
        """What cannot be committed now is when more comes; what is not ours any more, those read again who have it now."""
        from kafka.errors import (  # noqa: PLC0415
            CommitFailedError,
            KafkaTimeoutError,
            RebalanceInProgressError,
        )

        self._uncommitted |= offsets
        ours = self._consumer.assignment()
        kept = {partition: offset for partition, offset in self._uncommitted.items() if partition in ours}
        with suppress(KafkaTimeoutError):
            with suppress(CommitFailedError, RebalanceInProgressError):
                self._consumer.commit(kept, timeout_ms=ANSWER_MILLISECONDS)
            self._uncommitted = {}

    def leave(self) -> None:
        self._complaints.end()
        if self._consumer is not None:
            with suppress(Exception):  # brokers that are gone need no goodbye
                self._consumer.close(autocommit=False, timeout_ms=_GOODBYE_MILLISECONDS)

    def reason(self, error: Exception) -> str:
        """What an error means, without anything of a message."""
        return why(error, self._source, self._complaints)


def _messages(record: Record, format_: Literal["json", "hl7"], registry: Registry) -> list[Message]:
    """The messages of one record: a canonical event, or HL7 v2 (framed or not; of several in one record each counts)."""
    where = f"{record.topic}/{record.partition}/{record.offset}"
    content: bytes = record.value or b""
    found: list[tuple[bytes, list[Event] | Reject]]
    if not content.strip():
        found = [(content, _NO_CONTENT)]
    elif format_ == "json":
        found = [(content, canonical.read(content))]
    else:
        found = [(each, hl7.decode(each, registry)) for each in mllp.messages(content)]
    return [
        Message(origin="kafka", content=raw, where=where, reject=read)
        if isinstance(read, Reject)
        else Message(origin="kafka", content=raw, where=where, events=read)
        for raw, read in found or [(content, _NO_CONTENT)]
    ]
