"""The table of the workers, filled with journeys as workers would have left it: each with what its facts have come to."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.live.journeys import FACTS, courses, far_deadlines, patient, questions
from bench.measure import Taken, timed
from kafka import KafkaProducer
from monitor.core.event import Event
from monitor.formats.envelope import Told, partition_of, patient_key
from monitor.runtime.partition import Partition, Way
from monitor.runtime.rules import load
from monitor.settings import Cluster

_AT_ONCE = 500
"""Journeys, so that few are in memory."""
_event = msgspec.json.Decoder(Event).decode


class _Nobody:
    """Watches nothing."""

    def judged(self, change: object, told: object) -> None: ...
    def alerted(self, told: object) -> None: ...
    def failed(self, what: str, error: Exception) -> None:
        raise error


def table(settings: str, number: int, near: int, share: int, of: int) -> Taken:
    """The journeys of a share of the partitions: all eight facts, but of the first `near` journeys only seven."""
    told = json.loads(Path(settings).read_text())
    cluster = Cluster(**told["cluster"])
    loaded, _ = load(told["rules"], told["microsystems"])
    assert loaded is not None
    now = datetime.now(UTC)
    deadlines = far_deadlines(number, now)
    mine = range(share, cluster.partitions, of)
    partitions = {
        each: Partition(
            {}, Way(each, cluster.partitions, loaded, str.upper, most_in_memory=_AT_ONCE), _Nobody()
        )
        for each in mine
    }
    for partition in partitions.values():
        partition.begin()
    keys = {each: partition_of(patient_key(patient(each)), cluster.partitions) for each in deadlines}
    chosen = [each for each in deadlines.items() if keys[each[0]] in partitions]

    def fill() -> None:
        topic = cluster.topic("journeys")
        with closing(
            KafkaProducer(bootstrap_servers=cluster.brokers, acks="all", linger_ms=20, batch_size=500_000)
        ) as producer:
            for index, one in enumerate(chosen):
                partition = partitions[keys[one[0]]]
                lines = [*courses([one]), *(questions([one]) if one[0] >= near else ())]
                for line in lines:
                    partition.take(Told(_event(line)), now)
                if not (index + 1) % _AT_ONCE or index + 1 == len(chosen):
                    for each, some in partitions.items():
                        for key, value in some.drain().cells.items():
                            producer.send(topic, value, key=key, partition=each)
                        some.tidy()
            producer.flush()

    taken, _ = timed(fill)
    taken.events = len(chosen) * FACTS
    return taken
