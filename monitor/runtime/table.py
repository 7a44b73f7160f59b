"""The table of the workers as a worker has it: the cells of its partitions, read from the changelog when they become its own.

Faust has tables, too, but reads them record by record, 4,000 a second, and keeps what is no longer ours. The changelog is the
only copy that counts; what is here is as good as what was read of it, from the offset on that a `Table` names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, MutableMapping
from contextlib import closing
from itertools import islice

from kafka import TopicPartition  # type: ignore[import-untyped]

from monitor.ingest.brokers import Trouble
from monitor.runtime.rereading import consuming, reading
from monitor.settings import Cluster

_AT_ONCE = 16 * 2**20
"""Bytes of a fetch."""
_RECORDS_AT_ONCE = 1_000


class Table:
    """The cells of one partition by key, in memory; `rocks` has them on disk."""

    cells: MutableMapping[bytes, bytes]
    next: int
    """The first offset of the changelog that has not been read into it."""

    def __init__(self) -> None:
        self.cells = {}
        self.next = 0

    def keep(self, cells: Mapping[bytes, bytes | None], next_one: int) -> None:
        """Take over what the changelog has: cells (None: the key goes) up to before an offset."""
        for key, value in cells.items():
            if value is None:
                self.cells.pop(key, None)
            else:
                self.cells[key] = value
        self.next = next_one

    def written(self, cells: Mapping[bytes, bytes | None], next_one: int) -> None:
        """The changelog has what was written into the cells here, before an offset."""

    def clear(self) -> None:
        """Begin anew, from nothing."""
        self.cells.clear()
        self.next = 0

    def close(self) -> None:
        """Its partition is no longer ours."""


class Abandoned(Exception):  # noqa: N818 - it is no fault
    """Nobody wants it any more."""


def catch_up(cluster: Cluster, tables: Mapping[int, Table], is_wanted: Callable[[], bool]) -> None:
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
                table.clear()
            found = reading(consumer, place, max(table.next, begins[place]), end)
            while some := list(islice(found, _RECORDS_AT_ONCE)):
                table.keep(
                    {each.key: each.value for each in some if each.key is not None}, some[-1].offset + 1
                )
                if not is_wanted():
                    raise Abandoned
            table.keep({}, end)


def _check(known: Collection[int] | None, topic: str, wanted: Collection[int]) -> None:
    if known is None or not set(wanted) <= set(known):
        raise Trouble(f"{topic} is missing, or has too few partitions; see handoff topics check")
