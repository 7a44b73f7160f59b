"""How long a journey matters to some rules."""

from datetime import timedelta

from timeline import expect

from monitor.core.horizon import horizon

NOTHING = timedelta(0)


def test_without_rules_a_journey_matters_for_three_days():
    assert horizon([], NOTHING) == timedelta(hours=72)


def test_all_durations_of_the_rule_that_looks_back_furthest_count():
    slow = expect(within="30d", give_up="2d", show_for="1d")
    assert horizon([expect(within="1h"), slow], NOTHING) == timedelta(days=30 + 2 + 1 + 3)


def test_days_of_a_calendar_leave_room_for_days_off():
    rule = expect(within="2bd", give_up="0s", show_for="0s")
    assert horizon([rule], NOTHING) >= timedelta(days=3 + 9)


def test_it_is_never_shorter_than_asked_for():
    assert horizon([expect(within="1h")], timedelta(days=45)) == timedelta(days=45)
