"""count: at most so many matching events within a time (contract, section 4)."""

import pytest
from timeline import ASK, at, cases, minutes, rule


def count(**keys):
    """At most one `ask` in 20 minutes."""
    return rule(**{"count": ASK, "at_most": 1, "within": "20m"} | keys)


def opened(rules, *events, **how):
    return [case.trigger for case in cases(rules, *events, **how)]


def asks(*instants, **fields):
    return [at(instant, "ask", **fields) for instant in instants]


def test_the_event_that_is_one_too_many_is_violated_at_it():
    (case,) = cases(count(), *asks(0, 10))
    assert (case.trigger, case.verdict, minutes(case.decided_at)) == ("ask@10", "violated", 10)


def test_no_more_than_allowed_is_no_case():
    assert opened(count(at_most=2), *asks(0, 10)) == []


def test_only_the_one_too_many_is_a_case_not_those_after_it():
    assert opened(count(), *asks(0, 1, 2)) == ["ask@1"]


def test_the_window_moves_with_each_event():
    assert opened(count(), *asks(0, 10, 20, 30)) == ["ask@10", "ask@20", "ask@30"]


def test_an_event_exactly_so_long_before_is_outside():
    assert opened(count(), *asks(0, 20)) == []
    assert opened(count(), *asks(0, 19)) == ["ask@19"]


def test_of_two_at_one_instant_the_later_in_order_is_one_too_many():
    assert opened(count(), at(0, "ask", id="b"), at(0, "ask", id="a")) == ["b"]


def test_at_most_none():
    assert opened(count(at_most=0), *asks(0, 10, 30)) == ["ask@0", "ask@30"]


def test_other_events_do_not_count():
    assert opened(count(), at(0, "answer"), *asks(5)) == []


def test_cancelled_events_do_not_count():
    assert opened(count(), *asks(0, 10), at(15, "cancel_ask", cancels="ask@0")) == []


def test_by_default_encounters_are_counted_apart():
    one, other = asks(0, encounter="a"), asks(5, encounter="b")
    assert opened(count(), *one, *other) == []
    assert opened(count(same=[]), *one, *other) == ["ask@5"]


def test_what_same_names_is_counted_apart():
    by_order = count(same=["order"])
    first, second = asks(0, 5, attributes={"order": 1}), asks(7, attributes={"order": 2})
    assert opened(by_order, *first, *second) == ["ask@5"]


def test_patients_are_counted_apart():
    assert opened(count(), *asks(0), *asks(5, patient="q")) == []


def test_active_restricts_the_event_that_opens_the_case_not_those_counted():
    afternoon = count(active={"hours": "12:15-18:00"})
    assert opened(afternoon, *asks(10, 20)) == ["ask@20"]
    assert opened(afternoon, *asks(0, 10)) == []


@pytest.mark.parametrize(("now", "found"), [(39, ["ask@10"]), (40, ["ask@5"])])
def test_an_event_charted_late_moves_the_case_to_where_it_belongs(now, found):
    late = at(5, "ask", arrived=40)
    assert opened(count(), *asks(0, 10), late, now=now) == found
