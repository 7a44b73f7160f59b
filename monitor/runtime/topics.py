"""The topics of a cluster as they have to be, and whether they are.

Which patient lies in which partition never changes: the number of partitions is fixed once the topics are there, and whoever
uses them looks first whether it is what the settings say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, NamedTuple

from kafka import KafkaAdminClient  # type: ignore[import-untyped]
from kafka.admin import ConfigResource  # type: ignore[import-untyped]
from kafka.errors import TopicAlreadyExistsError, for_code  # type: ignore[import-untyped]

from monitor.ingest.brokers import ANSWER_MILLISECONDS, Complaints, Trouble, connected, why
from monitor.report.names import counted
from monitor.settings import Cluster, Topic

LARGEST: Final = 16 * 2**20
"""Bytes of the largest record: a message by MLLP may be as large, and so may all facts of one journey."""

_CLIENT_ID: Final = "handoff-monitor.topics"
_NO_SUCH_TOPIC: Final = 3
_COMPACTED: Final = {
    # A segment in use is never compacted, and by default it is for a week, or up to a gigabyte.
    "segment.ms": timedelta(hours=1),
    "segment.bytes": 64 * 2**20,
    "min.cleanable.dirty.ratio": 0.1,
}
"""With these the log that a worker reads at its start is hardly longer than what is in it."""


class Wanted(NamedTuple):
    """A topic as it has to be."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]


class Found(NamedTuple):
    """A topic as it is."""

    partitions: int
    replication: int
    """Of the partition that has the fewest."""
    configs: Mapping[str, str]


def wanted(cluster: Cluster) -> list[Wanted]:
    """All topics of a cluster."""
    return [_topic(cluster, name, configs) for name, configs in _configs(cluster).items()]


def _configs(cluster: Cluster) -> dict[Topic, dict[str, object]]:
    # the broker's time is that of arrival, which no clock of a sender can change
    by_arrival = {"message.timestamp.type": "LogAppendTime"}
    large = {"max.message.bytes": LARGEST}
    kept = {"cleanup.policy": "compact,delete", "retention.ms": cluster.keep} | _COMPACTED
    return {
        "events": by_arrival | large | {"cleanup.policy": "delete", "retention.ms": cluster.retention},
        "journeys": large | {"cleanup.policy": "compact"} | _COMPACTED,
        # who takes a partition over learns from it who was told of what, also of alerts that have ended meanwhile
        "alerts": kept | {"min.compaction.lag.ms": cluster.retention},
        "verdicts": kept,
        "rejects": by_arrival | large | {"cleanup.policy": "delete", "retention.ms": cluster.keep},
    }


def _topic(cluster: Cluster, name: Topic, configs: Mapping[str, object]) -> Wanted:
    safe = {"min.insync.replicas": cluster.replication // 2 + 1, "unclean.leader.election.enable": False}
    texts = {key: _text(value) for key, value in (safe | dict(configs)).items()}
    return Wanted(cluster.topic(name), cluster.partitions, cluster.replication, texts)


def _text(value: object) -> str:
    """A value as Kafka writes it."""
    if isinstance(value, timedelta):
        return str(value // timedelta(milliseconds=1))
    return str(value).lower() if isinstance(value, bool) else str(value)


def differences(cluster: Cluster) -> list[str]:
    """A line for each thing that is not as it has to be: what is, what should be, and how to mend it.

    Raises `Trouble` when the brokers cannot be asked.
    """
    with _asking(cluster) as admin:
        there = _found(admin, [each.name for each in wanted(cluster)])
    lines: list[str] = []
    for topic in wanted(cluster):
        if topic.name in there:
            lines += compare(topic, there[topic.name])
        else:
            lines.append(f"topic {topic.name} is not there: `handoff topics create` makes it")
    return lines


def create(cluster: Cluster) -> list[str]:
    """Make the topics that are not there; the names of those that were made. What is there stays as it is.

    Raises `Trouble` when that is not possible.
    """
    with _asking(cluster) as admin:
        there = _found(admin, [each.name for each in wanted(cluster)])
        missing = {each.name: each for each in wanted(cluster) if each.name not in there}
        if not missing:
            return []
        answer = admin.create_topics(
            {name: _order(each) for name, each in missing.items()}, raise_errors=False
        )
        refused = [
            each for each in answer["topics"] if for_code(each["error_code"]) is not TopicAlreadyExistsError
        ]
        for each in refused:
            if each["error_code"]:
                raise Trouble(f"topic {each['name']} cannot be made: {each['error_message']}")
        admin.wait_for_topics(list(missing))
        return list(missing)


def _order(topic: Wanted) -> dict[str, Any]:
    return {
        "num_partitions": topic.partitions,
        "replication_factor": topic.replication,
        "configs": dict(topic.configs),
    }


@contextmanager
def _asking(cluster: Cluster) -> Iterator[Any]:
    """An admin client. Raises `Trouble` for whatever befalls it."""
    said = Complaints(_CLIENT_ID)
    said.listen()
    admin = None
    try:
        admin = connected(
            KafkaAdminClient, cluster, client_id=_CLIENT_ID, request_timeout_ms=2 * ANSWER_MILLISECONDS
        )
        yield admin
    except Trouble:
        raise
    except Exception as error:
        raise Trouble(why(error, cluster, said)) from error
    finally:
        if admin is not None:
            admin.close()
        said.end()


def _found(admin: Any, names: Sequence[str]) -> dict[str, Found]:
    """Those of the topics that are there."""
    there = {}
    for topic in admin.describe_topics(list(names)):
        if topic["error_code"] == _NO_SUCH_TOPIC:
            continue
        if topic["error_code"]:
            raise for_code(topic["error_code"])(f"topic {topic['name']}")
        there[topic["name"]] = topic["partitions"]
    if not there:
        return {}
    resources = [ConfigResource("TOPIC", name) for name in there]
    configs = admin.describe_configs(resources, config_filter="all")["topic"]
    return {
        name: Found(
            len(partitions),
            min(len(each["replica_nodes"]) for each in partitions),
            {key: str(each["value"]) for key, each in configs[name].items()},
        )
        for name, partitions in there.items()
    }


def compare(topic: Wanted, found: Found) -> Iterator[str]:
    """A line for each thing in which a topic differs from what it should be."""
    if found.partitions != topic.partitions:
        yield (
            f"topic {topic.name} has {counted(found.partitions, 'partition')}, and the settings say {topic.partitions}: "
            f"set `cluster.partitions` to {found.partitions}, or begin with another `cluster.prefix`; they cannot be changed"
        )
    if found.replication < topic.replication:
        yield (
            f"topic {topic.name} is kept by {counted(found.replication, 'broker')}, and the settings say {topic.replication}: "
            "reassign its partitions, or change `cluster.replication`"
        )
    for key, value in topic.configs.items():
        is_ = found.configs.get(key, "")
        if not _agree(key, is_, value):
            listed = f"[{value}]" if "," in value else value
            yield (
                f"topic {topic.name} has {key}={is_}, and should have {value}: kafka-configs --alter "
                f"--entity-type topics --entity-name {topic.name} --add-config {key}={listed}"
            )


def _agree(key: str, is_: str, wanted: str) -> bool:
    if key == "cleanup.policy":
        return set(is_.split(",")) == set(wanted.split(","))
    try:
        return float(is_) == float(wanted)
    except ValueError:
        return is_ == wanted
