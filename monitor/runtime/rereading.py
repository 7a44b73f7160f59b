"""Records of a topic that are read beside the stream: all that there are, or those that it left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final, NamedTuple

from kafka import KafkaConsumer, TopicPartition  # type: ignore[import-untyped]

from monitor.ingest.brokers import ANSWER_MILLISECONDS, Trouble, connected
from monitor.settings import Cluster

_CLIENT_ID: Final = "handoff-monitor.rereading"
_SILENT_POLLS: Final = 20
"""Of a second each: after so many that bring nothing the brokers are taken for gone."""


class Found(NamedTuple):
    """A record as it lies in its topic."""

    offset: int
    timestamp: int
    """Milliseconds since 1970."""
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


def whole(cluster: Cluster, topic: str) -> Iterator[Found]:
    """All records that a topic holds now, partition by partition. Raises `Trouble`, or what the library says."""
    with closing(consuming(cluster)) as consumer:
        places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        ends = consumer.end_offsets(places)
        for place, begin in consumer.beginning_offsets(places).items():
            yield from reading(consumer, place, begin, ends[place])


def between(cluster: Cluster, topic: str, partition: int, begin: int, end: int) -> list[Found]:
    """The records from one offset to before another, those that retention has left."""
    with closing(consuming(cluster)) as consumer:
        place = TopicPartition(topic, partition)
        begin = max(begin, consumer.beginning_offsets([place])[place])
        return list(reading(consumer, place, begin, end))


def consuming(cluster: Cluster, **options: Any) -> Any:
    """A consumer for such readings."""
    return connected(
        KafkaConsumer,
        cluster,
        client_id=_CLIENT_ID,
        enable_auto_commit=False,
        check_crcs=False,  # in Python it takes most of the time; TCP has a check of its own
        max_poll_records=5_000,
        request_timeout_ms=2 * ANSWER_MILLISECONDS,
        **options,
    )


def reading(consumer: Any, place: Any, begin: int, end: int) -> Iterator[Found]:
    """The records of a partition from one offset to before another. Raises `Trouble` when the brokers fall silent."""
    consumer.assign([place])
    consumer.seek(place, begin)
    silent = 0
    while consumer.position(place) < end:
        records = consumer.poll(1_000).get(place, ())
        silent = 0 if records else silent + 1
        if silent > _SILENT_POLLS:
            raise Trouble(
                f"{place.topic} cannot be read: no answer from {consumer.config['bootstrap_servers']}"
            )
        for each in records:
            if each.offset >= end:
                return
            yield Found(each.offset, each.timestamp, each.key, each.value, each.headers)
