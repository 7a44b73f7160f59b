"""The outbox on disk: everything is given out until it was taken, in order for each alert, sink and receiver."""

import pytest
from storing import START, at, notice

from monitor.runtime.batch import Batch
from monitor.runtime.deliveries import Deliveries
from monitor.runtime.store import Store


class Clock:
    def __init__(self):
        self.seconds = 1_000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def outbox(store, clock):
    outbox = Deliveries(store.folder, clock)
    yield outbox
    outbox.close()


def told(alert, number=0, sink="mail", receiver="ward"):
    return (sink, receiver, notice(alert, number))


def due(outbox, sink="mail", limit=100):
    return [(each.notice.alert, each.receiver, each.notice.at) for each in outbox.due(sink, limit)]


def test_a_delivery_is_due_until_it_was_delivered(store, outbox):
    store.write(Batch(clock=START, deliveries=[told("a", 1)]))
    [delivery] = outbox.due("mail", 10)
    assert (delivery.sink, delivery.receiver, delivery.notice, delivery.attempts) == (
        "mail",
        "ward",
        notice("a", 1),
        0,
    )
    assert outbox.due("mail", 10) == [delivery]
    outbox.delivered([delivery.id])
    assert outbox.due("mail", 10) == []


def test_each_sink_gets_its_own(store, outbox):
    store.write(Batch(clock=START, deliveries=[told("a"), told("a", sink="page", receiver="doctor")]))
    assert due(outbox, "mail") == [("a", "ward", START)]
    assert due(outbox, "page") == [("a", "doctor", START)]
    assert due(outbox, "log") == []


def test_of_an_alert_and_receiver_only_the_oldest_is_due_and_then_the_next(store, outbox):
    store.write(Batch(clock=START, deliveries=[told("a", 1), told("a", 1, receiver="doctor"), told("b", 1)]))
    store.write(Batch(clock=START, deliveries=[told("a", 2), told("a", 3)]))
    for second in (1, 2, 3):
        found = outbox.due("mail", 100)
        assert [each.notice.at for each in found if (each.notice.alert, each.receiver) == ("a", "ward")] == [
            at(second)
        ]
        outbox.delivered([each.id for each in found])
    assert due(outbox) == []


def test_what_comes_after_everything_was_delivered_is_due(store, outbox):
    store.write(Batch(clock=START, deliveries=[told("a", 1)]))
    outbox.delivered([outbox.due("mail", 1)[0].id])
    store.write(Batch(clock=START, deliveries=[told("a", 2)]))
    assert due(outbox) == [("a", "ward", at(2))]


def test_what_was_not_taken_is_due_again_after_its_wait_and_holds_back_what_follows(store, outbox, clock):
    store.write(Batch(clock=START, deliveries=[told("a", 1), told("b", 1)]))
    store.write(Batch(clock=START, deliveries=[told("a", 2)]))
    first = outbox.due("mail", 1)[0]
    outbox.failed([first.id], "no answer", 30.0)
    assert due(outbox) == [("b", "ward", at(1))]
    clock.seconds += 30
    assert [(each.id, each.attempts) for each in outbox.due("mail", 100) if each.notice.alert == "a"] == [
        (first.id, 1)
    ]


def test_what_is_given_up_lets_what_follows_go(store, outbox):
    store.write(Batch(clock=START, deliveries=[told("a", 1), told("a", 2)]))
    outbox.failed([outbox.due("mail", 1)[0].id], "no such mailbox", None)
    assert due(outbox) == [("a", "ward", at(2))]
    assert store.receivers_of("a") == [("mail", "ward")]


def test_what_is_marked_twice_stays_as_it_was_marked_first(store, outbox):
    store.write(Batch(clock=START, deliveries=[told("a", 1), told("a", 2), told("a", 3)]))
    first = outbox.due("mail", 1)[0].id
    outbox.delivered([first])
    outbox.delivered([first])
    outbox.failed([first], "late answer", 30.0)
    assert due(outbox) == [("a", "ward", at(2))]


def test_a_second_mark_makes_nothing_due_that_waits_for_its_time(store, outbox):
    store.write(Batch(clock=START, deliveries=[told("a", 1), told("a", 2)]))
    outbox.delivered([1])
    outbox.failed([2], "no answer", 30.0)
    outbox.delivered([1])
    outbox.failed([1], "late answer", None)
    assert due(outbox) == []
    assert store._all("SELECT state FROM outbox ORDER BY number") == [("delivered",), ("waiting",)]


def test_what_failed_longest_ago_does_not_keep_new_alerts_waiting(store, outbox, clock):
    store.write(Batch(clock=START, deliveries=[told(f"a{number}") for number in range(5)]))
    outbox.failed([each.id for each in outbox.due("mail", 100)], "no answer", 1.0)
    clock.seconds += 60
    store.write(Batch(clock=START, deliveries=[told("new")]))
    assert due(outbox, limit=1) == [("new", "ward", START)]


def test_after_a_restart_everything_that_waits_is_tried_at_once_and_in_order(folder, clock):
    store = Store.open(folder)
    outbox = Deliveries(folder, clock)
    store.write(Batch(clock=START, deliveries=[told("a", 1), told("a", 2), told("b", 1)]))
    outbox.failed([each.id for each in outbox.due("mail", 100)], "no answer", 300.0)
    outbox.close()
    store.close()
    store, outbox = Store.open(folder), Deliveries(folder, Clock())
    assert due(outbox) == [("a", "ward", at(1)), ("b", "ward", at(1))]
    assert [each.attempts for each in outbox.due("mail", 100)] == [1, 1]
    outbox.close()
    store.close()


def test_a_delivery_keeps_its_number_for_itself_for_ever(store, outbox):
    store.write(
        Batch(clock=START, notices=[notice("a", patient="", state="resolved")], deliveries=[told("a")])
    )
    [first] = outbox.due("mail", 1)
    outbox.delivered([first.id])
    store.forget(at(100))
    store.write(Batch(clock=START, deliveries=[told("b")]))
    assert outbox.due("mail", 1)[0].id > first.id


def test_looking_for_what_is_due_does_not_look_at_what_waits_behind_it(store, outbox):
    asked = []
    outbox._connection.set_trace_callback(asked.append)
    outbox.due("mail", 10)
    outbox._connection.set_trace_callback(None)
    [plan] = outbox._connection.execute(f"EXPLAIN QUERY PLAN {asked[-1]}")
    assert plan[3].startswith("SEARCH outbox USING INDEX outbox_due")
