"""Journeys of several patients that move together: what was told of them stays told."""

from datetime import timedelta

from partitions import Cluster
from strategies import START

from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.formats.envelope import Moved, Told, decode, key_of, partition_of
from monitor.rulefile.load import load_rules
from monitor.runtime.live import Loaded

RULES = b"""
rules:
  - {id: answered, summary: s, severity: critical, when: {type: x}, expect: {type: y}, within: 2s, give_up: 1h}
"""
OF = 3


def event(id_, type_, patient, seconds, **attributes):
    at = START + timedelta(seconds=seconds)
    return Event(id=id_, type=type_, patient=patient, occurred_at=at, arrived_at=at, attributes=attributes)


def patients():
    """Three, in order of their keys, of three partitions."""
    homes = {partition_of(f"p{number}".encode(), OF): f"p{number}" for number in range(30)}
    return sorted(homes.values())


def arriving(told, seconds):
    told.arrived_at = START + timedelta(seconds=seconds)
    return told


def answered():
    rules, problems = load_rules([("rules.yaml", RULES)], None)
    assert problems == []
    return Loaded(rules, Registry(), "digest")


def lived(events):
    cluster = Cluster(answered(), OF, START - timedelta(hours=1))
    for each in events:
        cluster.now = each.arrived_at
        cluster.settle()
        cluster.arrive(each)
        cluster.settle()
    return cluster


def test_an_alert_still_fires_when_its_patients_move_on_together():
    first, second, third = patients()
    for alerting in (second, third):
        cluster = lived(
            [
                event("1", "z", second, 0),
                event("2", "z", third, 0.1),
                event("3", "x", alerting, 1),
                event("4", "merge", third, 10, into=second),
                event("5", "merge", second, 20, into=first),
            ]
        )
        assert [(each.state, each.reason) for each in cluster.notices.values()] == [("firing", None)]
        said = [word for _, word in sorted(cluster.words.items(), key=lambda item: item[0][1])]
        assert said == [("firing", 0, None)]


def test_what_comes_later_takes_the_same_way_as_facts_that_moved_twice():
    first, second, third = patients()
    cluster = lived(
        [
            event("1", "merge", first, 0, into=second),
            event("2", "merge", third, 10, into=second),
            event("3", "x", third, 20),
        ]
    )
    assert [each.patient for each in cluster.verdicts.values()] == [second]


def test_what_is_sent_on_together_is_judged_together():
    first, _, _ = patients()
    cluster = lived([event("1", "z", first, 30)])
    asked, answered = event("2", "x", first, 10), event("3", "y", first, 11)
    asked.arrived_at = answered.arrived_at = START + timedelta(seconds=20)
    told = Told(asked, [answered])
    cluster.append(key_of(told), told)
    cluster.settle()
    assert [each.verdict for each in cluster.verdicts.values()] == ["met"]
    assert not cluster.words


def test_what_an_alert_comes_to_is_told_by_whoever_has_just_got_its_facts():
    first, second, _ = patients()
    cluster = Cluster(answered(), OF, START - timedelta(hours=1))
    home, other = (partition_of(each.encode(), OF) for each in (first, second))
    for asked, at, number in ((first, 8, home), (second, 8.2, other)):
        cluster.arrive(arriving(event(f"x-{asked}", "x", asked, 0), at))
        cluster.step(number)
    cluster.arrive(arriving(event("m", "merge", second, 0, into=first), 8.3))
    cluster.step(other)
    cluster.arrive(arriving(event("y", "y", first, 8.4), 8.6))
    cluster.step(home, 2)  # the facts that have moved, and the answer
    cluster.end(START + timedelta(seconds=20))
    assert [(each.state, each.reason) for each in cluster.notices.values()] == [("resolved", "late")] * 2


def test_an_alert_that_was_taken_back_fires_again_where_its_facts_have_gone_if_all_together_say_so():
    first, second, third = patients()
    cluster = lived([event("x", "x", second, 1), event("y", "y", third, 1.5)])
    cluster.arrive(event("m1", "merge", third, 2, into=second))  # nobody reads it for a while
    cluster.now = START + timedelta(seconds=5)
    cluster.tick()
    cluster.restart(partition_of(first.encode(), OF))  # it learns that another partition speaks of the alert
    cluster.settle()
    assert [(each.state, each.reason) for each in cluster.notices.values()] == [("resolved", "withdrawn")]
    cluster.arrive(event("m2", "merge", third, 20, into=first))  # so the answer was not about the second
    cluster.settle()
    assert [each.state for each in cluster.notices.values()] == ["firing"]
    assert cluster.left == cluster.notices


def test_what_has_come_of_an_alert_is_not_told_anew_while_only_some_of_its_facts_have_moved():
    first, second, third = patients()
    cluster = lived(
        [
            event("x", "x", third, 1),
            event("m1", "merge", third, 2, into=second),
            event("y", "y", second, 5),
        ]
    )
    home, old = (partition_of(each.encode(), OF) for each in (first, second))
    cluster.arrive(event("m2", "merge", second, 10, into=first))
    cluster.step(old)
    coming = [decode(value) for _, value in cluster.lasting[home].log[cluster.read[home] :]]
    assert [type(each) for each in coming] == [Moved, Moved]
    for each in coming:
        cluster.live[home].take(each, cluster.now)
        cluster.read[home] += 1
        cluster.finish(home)
        assert [(each.state, each.reason) for each in cluster.left.values()] == [("resolved", "late")]


def test_what_was_told_of_linked_patients_is_known_to_their_next_owner():
    first, second, _ = patients()
    cluster = lived(
        [
            event("m", "merge", second, 0, into=first),
            event("x", "x", first, 1),
            event("y", "y", first, 5),
        ]
    )
    home = partition_of(first.encode(), OF)
    cluster.restart(home)
    cluster.end(START + timedelta(seconds=6))
    late = event("y2", "y", second, 2)
    late.arrived_at = None
    cluster.tell(late)
    cluster.settle()
    assert [(each.state, each.reason) for each in cluster.notices.values()] == [("resolved", "charted_late")]


def test_what_was_told_ahead_of_the_table_is_taken_back_when_facts_that_come_late_leave_nothing_of_it():
    first, _, _ = patients()
    cluster = lived([event("x", "x", first, 1)])
    cluster.end(START + timedelta(hours=2))
    assert [each.reason for each in cluster.notices.values()] == ["missed"]
    told = Told(event("y", "y", first, 2))  # it came to another partition, an hour ago
    cluster.append(key_of(told), told)
    cluster.restart(partition_of(first.encode(), OF))
    cluster.settle()
    assert [each.verdict for each in cluster.verdicts.values()] == ["met"]
    assert [each.reason for each in cluster.notices.values()] == ["withdrawn"]


def test_what_becomes_of_an_alert_that_was_told_ahead_is_told_though_its_patient_has_no_facts_here():
    first, second, _ = patients()
    cluster = lived([event("m", "merge", first, 0, into=second), event("x", "x", first, 1)])
    cluster.now = START + timedelta(seconds=5)
    cluster.tick()
    assert [(each.state, each.patient) for each in cluster.notices.values()] == [("firing", second)]
    home = partition_of(first.encode(), OF)
    cluster.restart(home)
    cluster.live[home].warm(10)
    cluster.end(START + timedelta(hours=2))
    assert [each.reason for each in cluster.notices.values()] == ["missed"]
