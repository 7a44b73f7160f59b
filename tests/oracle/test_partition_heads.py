"""A journey in the table says how it stood: a new owner lives only those again of which that is not how they stand now."""

from datetime import timedelta

import msgspec
import pytest
from partitions import Cluster, Unwatched
from strategies import START

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats.envelope import Told
from monitor.rulefile.load import load_rules
from monitor.runtime import cell
from monitor.runtime.live import Loaded
from monitor.runtime.partition import Partition, Way

JOURNEYS = 5


def loaded(digest="digest"):
    text = b"""
rules:
  - {id: answered, summary: s, severity: critical, when: {type: x}, expect: {type: y}, within: 1m, give_up: 1h}
"""
    rules, problems = load_rules([("rules.yaml", text)], None)
    assert problems == []
    return Loaded(rules, Registry(), digest)


def event(id_, type_, patient, seconds):
    at = START + timedelta(seconds=seconds)
    return Event(id=id_, type=type_, patient=patient, occurred_at=at, arrived_at=at)


def asked(until=10):
    """A cluster of one partition in which some ask, at the beginning, and nobody answers."""
    cluster = Cluster(loaded(), 1, START - timedelta(hours=1))
    for number in range(JOURNEYS):
        cluster.arrive(event(f"x{number}", "x", f"p{number}", 0))
    cluster.settle()
    cluster.end(START + timedelta(seconds=until))
    return cluster


def anew(cluster):
    """The partition of a new owner, as it begins."""
    cluster.restart(0)
    return cluster.live[0]


def firing(cluster):
    return [each.state for each in cluster.notices.values()].count("firing")


def test_journeys_in_which_nothing_was_due_since_are_not_lived_again():
    cluster = asked()
    partition = anew(cluster)
    assert partition.is_warm
    assert partition.engine.in_memory == 0
    assert partition.journeys == JOURNEYS


def test_their_open_cases_are_counted_from_the_beginning():
    assert list(anew(asked()).waiting.cases()) == [("answered", None)] * JOURNEYS


def test_they_wake_when_something_is_due():
    cluster = asked()
    partition = anew(cluster)
    assert partition.next_due() == START + timedelta(minutes=1)
    cluster.end(START + timedelta(minutes=2))
    assert firing(cluster) == JOURNEYS
    assert all(due_at is not None for _, due_at in partition.waiting.cases())


def test_what_time_brought_is_in_the_table_too_once_they_are_quiet_again():
    cluster = asked(until=120)
    assert firing(cluster) == JOURNEYS
    cluster.end(START + timedelta(minutes=10))
    cluster.end(START + timedelta(minutes=11))
    partition = anew(cluster)
    assert partition.is_warm
    assert partition.engine.in_memory == 0
    assert len([due_at for _, due_at in partition.waiting.cases() if due_at is not None]) == JOURNEYS


def test_one_of_which_something_else_was_told_is_looked_at():
    cluster = asked(until=120)
    cluster.end(START + timedelta(minutes=10))
    cluster.end(START + timedelta(minutes=11))
    lost = min(cluster.notices)
    del cluster.notices[lost]
    assert not anew(cluster).is_warm
    cluster.settle()
    assert firing(cluster) == JOURNEYS


def test_what_was_judged_by_other_rules_is_lived_again():
    cluster = asked()
    cluster.use(loaded("another digest"))
    assert not cluster.live[0].is_warm
    cluster.settle()
    cluster.end(START + timedelta(minutes=10))
    cluster.end(START + timedelta(minutes=11))
    assert anew(cluster).is_warm


def test_a_cell_without_a_head_is_lived_again():
    cluster = asked()
    table = cluster.lasting[0].table
    key = cell.journey_key("p0")
    table[key] = cell.beheaded(table[key])
    partition = anew(cluster)
    assert not partition.is_warm
    cluster.settle()
    assert partition.is_warm
    assert len(list(partition.waiting.cases())) == JOURNEYS


def test_journeys_that_a_merge_links_are_lived_again():
    cluster = asked()
    merge = event("m", "merge", "p1", 20)
    merge.attributes["into"] = "p0"
    cluster.arrive(merge)
    cluster.settle()
    partition = anew(cluster)
    assert partition.engine.in_memory == 2
    assert not partition.is_warm


def test_one_that_cannot_be_read_fails_when_it_is_due_and_is_left_out_after_a_look_at_all():
    table = asked().lasting[0].table
    key = cell.journey_key("p0")
    table[key] = table[key].removesuffix(cell.beheaded(table[key])) + b"[broken"
    way, watcher = Way(0, 1, loaded(), pseudonym=str.upper), Unwatched()
    partition = Partition(table, way, watcher)
    partition.begin()
    assert partition.is_warm
    earlier, innocent = event("a", "y", "p1", 20), event("b", "y", "p1", 70)
    partition.take(Told(earlier), earlier.arrived_at)
    with pytest.raises(msgspec.DecodeError):
        partition.take(Told(innocent), innocent.arrived_at)
    kept = cell.unpack(partition.rescue([innocent]).cells[cell.journey_key("p1")])
    assert [each.id for each in cell.facts_of(kept)] == ["x1", "a"]

    partition = Partition(table, way, watcher)
    partition.begin(looks_at_all=True)
    while not partition.is_warm:
        partition.warm(1)
    assert len(watcher.failures) == 1
    assert partition.take(Told(innocent), innocent.arrived_at) is None
    partition.advance(START + timedelta(minutes=2))
    outcome = partition.drain()
    assert sorted(each.patient for each in outcome.notices) == ["p2", "p3", "p4"]
    assert table[key].endswith(b"[broken")
