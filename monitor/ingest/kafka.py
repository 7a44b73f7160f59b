"""Messages from a Kafka topic: read as one member of a group, handed over, and only then committed.

An offset is committed when all before it is on disk, so a crash or a change in the group makes messages come twice, never not at
all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Literal, NamedTuple, Never

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats import canonical, hl7, mllp
from monitor.formats.reject import Reject
from monitor.ingest.brokers import ANSWER_MILLISECONDS, Trouble
from monitor.ingest.group import Blocking, GroupConsumer, Partition, Record, on_change, take_part
from monitor.ingest.intake import LARGEST_BATCH, Intake, Message, NotTaken
from monitor.settings import Kafka

_NO_CONTENT: Final = Reject("no-content", "the Kafka message has no value, so it says nothing")

_POLL_MILLISECONDS: Final = 500
_STAY_SECONDS: Final = 3.0
"""While messages wait to be taken over, the group learns so often that its member lives."""
_STAY_MILLISECONDS: Final = 100
_TRY_AGAIN_SECONDS: Final = 1.0


async def read(source: Kafka, intake: Intake, on_problem: Callable[[str | None], None]) -> Never:
    """Hand all messages of a topic over to the intake, until cancelled; then it ends within a few seconds.

    `on_problem` learns what is wrong, without patients, whenever that changes; None: all is well. Whatever happens, reading
    goes on or, after waits of 1 to 30 seconds, begins again where the committed offsets say.
    """
    tell = on_change(on_problem)

    async def once(blocking: Blocking, is_well: Callable[[], None]) -> None:
        member = _Member(source)
        try:
            await blocking(member.join)
            is_well()
            while True:
                batch: _Batch = await blocking(member.next, intake.registry)
                tell(_about(source, member.consumer.trouble))
                if batch.messages:
                    await _hand_over(batch.messages, intake, partial(blocking, member.stay))
                    await blocking(member.commit, batch.offsets)
        except Exception as error:  # noqa: BLE001 - whatever a broker does to the library, the service goes on
            tell(_about(source, member.consumer.reason(error)))
        finally:
            await blocking(member.consumer.leave)

    await take_part(once)


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
            await asyncio.sleep(_TRY_AGAIN_SECONDS)
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
        self.consumer = GroupConsumer(source, source.topic, f"handoff-monitor.{source.topic}", source.group)
        self._held: dict[Partition, list[Record]] = {}
        """What came and has not been given out yet."""
        self._uncommitted: dict[Partition, Any] = {}
        self._read_to: dict[Partition, int] = {}

    def join(self) -> None:
        """Raises what the library, the system or `Trouble` has to say when that is not possible."""
        self.consumer.connect(self._source.topic)
        if not self.consumer.has_topic:
            raise Trouble("there is no such topic, or it may not be read")

    def next(self, registry: Registry) -> _Batch:
        """What came, within half a second or some: at most `LARGEST_BATCH` messages, or none."""
        batch = _Batch([], {})
        with self.consumer.patient(_POLL_MILLISECONDS):
            if self._uncommitted:
                self.commit({})
            self._held = self._held or self._polled()
            batch = self._batch(self._held, registry)
            self._held = {}
        return batch

    def _polled(self) -> dict[Partition, list[Record]]:
        client = self.consumer.client
        client.resume(*client.paused())
        return self.consumer.poll(_POLL_MILLISECONDS, LARGEST_BATCH)

    def _batch(self, records: dict[Partition, list[Record]], registry: Registry) -> _Batch:
        from kafka import OffsetAndMetadata  # type: ignore[import-untyped]  # noqa: PLC0415

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
        committed = self.consumer.client.committed(partition, timeout_ms=ANSWER_MILLISECONDS)
        if committed is None or committed >= first:
            return []
        begins = self.consumer.client.beginning_offsets([partition], timeout_ms=ANSWER_MILLISECONDS)[
            partition
        ]
        expected = max(committed, self._read_to.get(partition, 0))
        if begins <= expected:
            return []  # gaps are normal: markers of transactions, and what compaction leaves out
        detail = f"{begins - expected} messages were deleted by the Kafka brokers before they were read here"
        where = f"{partition.topic}/{partition.partition}/{expected}-{begins - 1}"
        return [Message(origin="kafka", content=b"", where=where, reject=Reject("lost", detail))]

    def stay(self) -> None:
        """Take part in the group without asking for more."""
        with suppress(Exception):  # who cannot stay now will find out at the next poll
            self.consumer.client.pause(*self.consumer.client.assignment())
            for partition, records in self.consumer.poll(_STAY_MILLISECONDS, LARGEST_BATCH).items():
                # Partitions that came to us in this very poll were not paused yet.
                self._held.setdefault(partition, []).extend(records)

    def commit(self, offsets: dict[Partition, Any]) -> None:
        """What cannot be committed now is when more comes; what is not ours any more, those read again who have it now."""
        from kafka.errors import (  # type: ignore[import-untyped]  # noqa: PLC0415 - only who uses Kafka pays for it
            CommitFailedError,
            KafkaTimeoutError,
            RebalanceInProgressError,
        )

        self._uncommitted |= offsets
        ours = self.consumer.client.assignment()
        kept = {partition: offset for partition, offset in self._uncommitted.items() if partition in ours}
        with suppress(KafkaTimeoutError):
            with suppress(CommitFailedError, RebalanceInProgressError):
                self.consumer.client.commit(kept, timeout_ms=ANSWER_MILLISECONDS)
            self._uncommitted = {}


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
