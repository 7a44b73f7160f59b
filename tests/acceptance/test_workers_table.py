"""The cells of a partition are read from their changelog on a real Kafka: the last of each key, from where it was left."""

import time
from contextlib import closing

import kafka_broker  # noqa: F401 - the library of Kafka warns when it is imported, but not there
import pytest
from kafka import KafkaProducer

from monitor.ingest.brokers import Trouble
from monitor.runtime.table import Abandoned, Table, catch_up
from monitor.runtime.topics import create
from monitor.settings import Cluster

pytestmark = [
    pytest.mark.acceptance,
    # kafka-python leaves the sockets of failed connections to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <(socket|ssl):ResourceWarning"),
]


@pytest.fixture
def cluster(broker):
    found = Cluster(brokers=[broker.servers], prefix=f"table{time.time_ns()}", partitions=2, replication=1)
    create(found)
    return found


def write(cluster, *cells):
    """Cells, each as partition, key and value."""
    with closing(KafkaProducer(bootstrap_servers=cluster.brokers, acks="all")) as producer:
        for partition, key, value in cells:
            producer.send(cluster.topic("journeys"), value, key=key, partition=partition)
        producer.flush()


def read(cluster, tables):
    catch_up(cluster, tables, lambda: True)
    return {number: table.cells for number, table in tables.items()}


def test_the_last_value_of_each_key_counts_and_those_without_one_are_gone(cluster):
    write(cluster, (0, b"a", b"1"), (0, b"b", b"1"), (0, b"a", b"2"), (0, b"b", None), (1, b"a", b"3"))
    assert read(cluster, {0: Table(), 1: Table()}) == {0: {b"a": b"2"}, 1: {b"a": b"3"}}


def test_what_was_read_is_not_read_again(cluster):
    tables = {0: Table()}
    write(cluster, (0, b"a", b"1"), (0, b"b", b"1"))
    read(cluster, tables)
    tables[0].cells.clear()
    write(cluster, (0, b"c", b"1"))
    assert read(cluster, tables) == {0: {b"c": b"1"}}


def test_a_table_of_another_topic_by_that_name_begins_anew(cluster):
    write(cluster, (0, b"a", b"1"))
    table = Table()
    table.keep({b"old": b"1"}, 100)
    assert read(cluster, {0: table}) == {0: {b"a": b"1"}}


def test_partitions_that_are_empty_are_read_at_once(cluster):
    assert read(cluster, {0: Table(), 1: Table()}) == {0: {}, 1: {}}


def test_a_changelog_that_is_missing_or_too_small_is_told(cluster):
    with pytest.raises(Trouble, match="handoff topics check"):
        read(cluster, {2: Table()})
    missing = cluster.model_copy(update={"prefix": "nobody"})
    with pytest.raises(Trouble, match="handoff topics check"):
        read(missing, {0: Table()})


def test_reading_ends_when_nobody_wants_it_any_more(cluster):
    write(cluster, (0, b"a", b"1"))
    with pytest.raises(Abandoned):
        catch_up(cluster, {0: Table()}, lambda: False)
