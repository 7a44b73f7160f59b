"""The topic of alerts, read by a notifier as one of a group.

A partition is read from its beginning by whoever is given it. What is committed, with its metadata, says how far each sink has
delivered it (`share`). So nothing is lost with a notifier or its disk, nobody is left without the end of what they were told,
and what was delivered is not told again, but for what was under way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final, Never

import msgspec

from monitor.ingest.brokers import ANSWER_MILLISECONDS, Trouble
from monitor.ingest.group import Blocking, GroupConsumer, Partition, on_change, take_part
from monitor.runtime.database import StoreError
from monitor.runtime.relay import Record, Relay
from monitor.runtime.share import NEVER, Told
from monitor.settings import Cluster

_POLL_MILLISECONDS: Final = 250
_AT_ONCE: Final = 1_000
_LONGEST_METADATA: Final = 4_000
"""Bytes; brokers take 4,096 with an offset, unless they are told otherwise."""

_told: Final = msgspec.json.Decoder(dict[str, int]).decode


async def relay_alerts(
    cluster: Cluster,
    relay: Relay,
    sinks: Collection[str],
    on_problem: Callable[[str | None], None],
    on_store: Callable[[StoreError | None], None],
) -> Never:
    """Take part in the group until cancelled; then it ends within a few seconds.

    `on_problem` learns what is wrong with Kafka whenever that changes, None: all is well; `on_store` what is wrong with the
    disk. Whatever happens, it begins again after waits of 1 to 30 seconds; who cannot write leaves their partitions to others.
    """
    tell = on_change(on_problem)

    async def once(blocking: Blocking, is_well: Callable[[], None]) -> None:
        member = _Member(cluster, relay, sinks)
        try:
            await blocking(member.join)
            on_store(None)
            while True:
                await blocking(member.go_on)
                if member.consumer.trouble is not None or member.is_in_group:
                    tell(member.consumer.trouble)
                if member.is_in_group:
                    is_well()
        except StoreError as error:
            on_store(error)
        except Exception as error:  # noqa: BLE001 - whatever a broker does to the library, the service goes on
            tell(member.consumer.reason(error))
        finally:
            await blocking(member.leave)

    await take_part(once)


class _Member:
    """A member of the group. All of it blocks; it is called by one thread at a time."""

    def __init__(self, cluster: Cluster, relay: Relay, sinks: Collection[str]) -> None:
        self._topic = cluster.topic("alerts")
        self._relay = relay
        self._sinks = sinks
        prefix = cluster.prefix
        self.consumer = GroupConsumer(cluster, self._topic, f"handoff-notify.{prefix}", f"{prefix}-notify")
        self._read: set[Partition] = set()
        """Partitions that are ours, and that are read from where we want it."""
        self.is_in_group = False

    def join(self) -> None:
        """Raises `StoreError`, and what the library, the system or `Trouble` has to say when that is not possible."""
        from kafka.coordinator.assignors.cooperative_sticky import (  # type: ignore[import-untyped]  # noqa: PLC0415 - only who uses Kafka pays for it
            CooperativeStickyAssignor,
        )

        self._relay.begin()
        self.consumer.connect(partition_assignment_strategy=[CooperativeStickyAssignor])
        self.consumer.client.subscribe(
            [self._topic], listener=_listener(self._given_up, self._taken_away, self._given)
        )
        if not self.consumer.has_topic:
            raise Trouble(
                f"there is no topic {self._topic}, or it may not be read (`handoff topics` makes it)"
            )

    def go_on(self) -> None:
        """One round: what came is kept, what was delivered is committed.

        An error of Kafka that may pass is only raised after it came again and again; meanwhile what was taken is delivered.
        """
        with self.consumer.patient(_POLL_MILLISECONDS):
            self._take(self.consumer.poll(_POLL_MILLISECONDS, _AT_ONCE))
            self._follow()
            self._relay.look_around()
            self._commit()

    def _take(self, records: dict[Partition, list[Any]]) -> None:
        for partition, found in records.items():
            if partition in self._read:  # else it came in this very poll, and not from where it is to be read
                of_share = [Record(each.offset, each.key, each.value) for each in found]
                self._relay.take(partition.partition, of_share)
        for partition in list(self._read):
            if self._relay.is_current(partition.partition):
                continue
            position = self.consumer.client.position(partition, timeout_ms=ANSWER_MILLISECONDS)
            if position is not None:
                self._relay.reached(partition.partition, position)

    # Partitions come and go

    def _follow(self) -> None:
        """Begin to read partitions that are now ours, and let go of those that are not."""
        from kafka.structs import MemberState  # type: ignore[import-untyped]  # noqa: PLC0415

        if self.consumer.client.group_metadata().state != MemberState.STABLE:
            return
        assigned = set(self.consumer.client.assignment())
        ours = {partition.partition for partition in assigned}
        self._relay.close([number for number in self._relay.partitions() if number not in ours])
        for partition in assigned - self._read:
            self._open(partition)
        self.is_in_group = True

    def _open(self, partition: Partition) -> None:
        consumer = self.consumer.client
        committed = consumer.committed(partition, metadata=True, timeout_ms=ANSWER_MILLISECONDS)
        [end] = consumer.end_offsets([partition], timeout_ms=ANSWER_MILLISECONDS).values()
        offset = self._relay.open(partition.partition, end, _told_of(committed, self._sinks))
        if offset is None:
            consumer.seek_to_beginning(partition)
        else:
            consumer.seek(partition, offset)
        self._read.add(partition)

    # These are called by the library, in its own thread, in which nothing may block.

    def _given_up(self, partitions: Collection[Partition]) -> None:
        """They go to others, who are told how far we have come; else the last of it would be told twice."""
        offsets = _offsets(self._relay.to_commit(), self._read.intersection(partitions))
        self._taken_away(partitions)
        with suppress(Exception):
            self.consumer.client.commit_async(offsets)

    def _taken_away(self, partitions: Collection[Partition]) -> None:
        """They went to others, while we were not heard."""
        self._relay.shares.hold([partition.partition for partition in partitions])
        self._read.difference_update(partitions)

    def _given(self, partitions: Collection[Partition]) -> None:
        """They are ours; from where they are read is the library's choice until we say it."""
        self._read.difference_update(partitions)

    # What was delivered

    def _commit(self) -> None:
        """While the members of the group change it may be refused; then later, or by whoever has the partition by then."""
        from kafka.errors import CommitFailedError, RebalanceInProgressError  # type: ignore[import-untyped]  # noqa: PLC0415

        told = self._relay.to_commit()
        offsets = _offsets(told, list(self._read))
        if not offsets:
            return
        with suppress(CommitFailedError, RebalanceInProgressError):
            self.consumer.client.commit(offsets, timeout_ms=ANSWER_MILLISECONDS)
            self._relay.committed({each.partition: told[each.partition] for each in offsets})

    def leave(self) -> None:
        if self.consumer.client is not None:
            with suppress(Exception):  # brokers that are gone need no goodbye
                self._commit()
        self.consumer.leave()


def _offsets(told: Mapping[int, Told], partitions: Collection[Partition]) -> dict[Partition, Any]:
    """What to commit: the lowest offset that a sink has not delivered, and in the metadata that of each."""
    from kafka import OffsetAndMetadata  # type: ignore[import-untyped]  # noqa: PLC0415

    offsets = {}
    for partition in partitions:
        if partition.partition not in told:
            continue
        by_sink = told[partition.partition]
        lowest = max(0, min(by_sink.values(), default=0))
        metadata = msgspec.json.encode(by_sink, order="sorted").decode()
        if len(metadata.encode()) <= _LONGEST_METADATA:
            offsets[partition] = OffsetAndMetadata(lowest, metadata, -1)
        elif NEVER not in by_sink.values():
            offsets[partition] = OffsetAndMetadata(lowest, "", -1)
    return offsets


def _told_of(committed: Any, sinks: Collection[str]) -> Told | None:
    """What `_offsets` made; None where nothing was committed."""
    if committed is None or committed.offset < 0:
        return None
    try:
        return _told(committed.metadata)
    except msgspec.MsgspecError:  # too many sinks, or set by hand: it is so for all of them
        return dict.fromkeys(sinks, committed.offset)


def _listener(
    given_up: Callable[[Any], None], taken_away: Callable[[Any], None], given: Callable[[Any], None]
) -> Any:
    """What the library tells of partitions that come and go."""
    from kafka import ConsumerRebalanceListener  # noqa: PLC0415

    class Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
        def on_partitions_revoked(self, revoked: Any) -> None:
            given_up(revoked)

        def on_partitions_assigned(self, assigned: Any) -> None:
            given(assigned)

        def on_partitions_lost(self, lost: Any) -> None:
            taken_away(lost)

    return Listener()
