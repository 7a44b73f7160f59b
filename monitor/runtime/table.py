"""The table of the workers as a worker has it: the cells of its partitions, read from the changelog when they become its own.

Faust has tables, too, but reads them record by record, 4,000 a second, and keeps what is no longer ours. The changelog is the
only copy that counts; what is here is as good as what was read of it, from the offset on that a `Table` names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, MutableMapping
from contextlib import closing
from dataclasses import dataclass, field

from kafka import TopicPartition  # type: ignore[import-untyped]

from monitor.ingest.brokers import Trouble
from monitor.runtime.rereading import consuming, reading
from monitor.settings import Cluster

_AT_ONCE = 16 * 2**20
"""Bytes of a fetch."""


@dataclass
class Table:
    """The cells of one partition by key, in memory or wherever a mapping may keep them."""

    cells: MutableMapping[bytes, bytes] = field(default_factory=dict)
    next: int = 0
    """The first offset of the changelog that has not been read into it."""


class Abandoned(Exception):  # noqa: N818 - it is no fault
    """Nobody wants it any more."""


def catch_up(cluster: Cluster, tables: dict[int, Table], is_wanted: Callable[[], bool]) -> None:
    """Read into the tables, by partition, what the changelog holds now, and they do not.

    Raises `Trouble`, or what the library says: then it can be called again, and goes on; and `Abandoned`.
    """
    topic = cluster.topic("journeys")
    with closing(consuming(cluster, max_partition_fetch_bytes=_AT_ONCE)) as consumer:
        _check(consumer.partitions_for_topic(topic), topic, tables.keys())
        places = {number: TopicPartition(topic, number) for number in tables}
        ends = consumer.end_offsets(list(places.values()))
        begins = consumer.beginning_offsets(list(places.values()))
        for number, place in places.items():
            table, end = tables[number], ends[place]
            if table.next > end:  # it is another topic by that name
                table.cells.clear()
                table.next = 0
            for each in reading(consumer, place, max(table.next, begins[place]), end):
                if each.key is not None and each.value is not None:
                    table.cells[each.key] = each.value
                elif each.key is not None:
                    table.cells.pop(each.key, None)
                table.next = each.offset + 1
                if not each.offset % 1_000 and not is_wanted():
                    raise Abandoned
            table.next = end


def _check(known: Collection[int] | None, topic: str, wanted: Collection[int]) -> None:
    if known is None or not set(wanted) <= set(known):
        raise Trouble(f"{topic} is missing, or has too few partitions; see handoff topics check")
