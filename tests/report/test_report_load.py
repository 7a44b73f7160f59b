"""Alarm load by shift and role."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from report_making import at, change, rules_of

from monitor.report.load import Shift, alarm_load, fired_alerts, receiver, shift_of, whole_shifts

LONDON = ZoneInfo("Europe/London")
UTC_ZONE = ZoneInfo("UTC")
RULES = rules_of("""
  - {id: a, summary: s, severity: warning, owner: nurse, when: {type: x}, expect: {type: y}, within: 1h, escalate: [{after: 2h, notify: manager}, {after: -15m, notify: clerk}, {after: 1h}]}
  - {id: b, summary: s, severity: warning, never: {type: x}}
  - {id: quiet, summary: s, severity: warning, mode: shadow, owner: nurse, never: {type: x}}
""")
HOUR = 60


@pytest.mark.parametrize(
    ("moment", "shift"),
    [
        ((2026, 1, 5, 6, 59), (date(2026, 1, 4), "night")),
        ((2026, 1, 5, 7, 0), (date(2026, 1, 5), "day")),
        ((2026, 1, 5, 18, 59), (date(2026, 1, 5), "day")),
        ((2026, 1, 5, 19, 0), (date(2026, 1, 5), "night")),
        ((2026, 7, 5, 6, 30), (date(2026, 7, 5), "day")),  # half past seven in summer
    ],
)
def test_a_shift_begins_at_seven_local_time_and_a_night_has_the_date_of_its_evening(moment, shift):
    assert shift_of(datetime(*moment, tzinfo=UTC), LONDON) == Shift(*shift)


@pytest.mark.parametrize(
    ("level", "role"), [(-1, "clerk"), (0, "nurse"), (1, "nurse"), (2, "manager"), (9, "nurse")]
)
def test_a_level_of_an_alert_is_told_to_who_is_named_there_or_to_the_owner(level, role):
    assert receiver(RULES[0], level) == role


def test_who_answers_for_a_rule_without_owner_is_nobody():
    assert receiver(RULES[1], 0) == "(nobody is named)"


def load(*changes, days=2):
    """From Monday 07:00 on, for whole days."""
    return alarm_load(RULES, changes, at(7 * HOUR), at((7 + 24 * days) * HOUR), UTC_ZONE)


def test_alarms_are_counted_by_role_and_shift_and_warnings_apart():
    found = load(
        change("a", 8 * HOUR, level=-1),
        change("a", 9 * HOUR),
        change("a", 11 * HOUR, level=2),
        change("a", 20 * HOUR, "resolved", 2, "late"),
        change("b", 33 * HOUR),
    )
    roles = {each.role: each for each in found.roles}
    assert set(roles) == {"nurse", "manager", "clerk", "(nobody is named)"}
    nurse = roles["nurse"]
    assert (nurse.alarms, nurse.warnings) == (1, 0)
    assert (nurse.day.shifts, nurse.day.median, nurse.day.worst, nurse.day.worst_on) == (
        2,
        0,
        1,
        date(2026, 1, 5),
    )
    assert (nurse.night.worst, nurse.night.worst_on) == (0, None)
    assert (roles["clerk"].alarms, roles["clerk"].warnings) == (0, 1)
    assert (found.total.alarms, found.fired) == (3, 2)
    assert found.per_shift == [2, 0, 1, 0]


def test_the_median_takes_quiet_shifts_into_account():
    busy = [change(f"a{number}", (24 * number + 8) * HOUR) for number in range(2)]
    for each in busy:
        each.rule = "a"
    assert load(*busy, days=5).total.day.median == 0
    assert load(*busy, days=3).total.day.median == 1


def test_shifts_of_which_the_history_holds_only_a_part_are_counted_and_compared_with_none():
    alarms = [
        change("b", hour * HOUR) for hour in (5, 8, 20, 33)
    ]  # a night's end, a day, a night, a day's begin
    found = alarm_load(RULES, alarms, at(0), at(35 * HOUR), UTC_ZONE)
    assert found.total.alarms == 4
    assert (found.total.day.shifts, found.total.night.shifts, found.per_shift) == (1, 1, [1, 1])
    assert found.first == Shift(date(2026, 1, 5), "day")


def test_of_a_history_without_a_whole_shift_the_parts_are_taken():
    found = alarm_load(RULES, [change("b", 8 * HOUR)], at(6 * HOUR), at(17 * HOUR), UTC_ZONE)
    assert (found.total.day.worst, found.per_shift) == (1, [0, 1])


def test_a_night_in_which_the_clocks_change_is_whole():
    first, last = datetime(2026, 3, 28, 19, tzinfo=UTC), datetime(2026, 3, 29, 6, tzinfo=UTC)
    assert whole_shifts(first, last, LONDON) == [Shift(date(2026, 3, 28), "night")]


def test_alarms_of_rules_in_shadow_are_told_apart():
    found = load(change("quiet", 9 * HOUR), change("b", 10 * HOUR))
    assert (found.fired, found.shadow_fired, found.total.alarms, found.shadow.alarms) == (1, 1, 1, 1)


def test_false_alarms_are_those_charted_late_or_withdrawn_at_the_end():
    found = load(
        change("a", 9 * HOUR),
        change("a", 10 * HOUR, "resolved", 0, "withdrawn"),
        change("a", 11 * HOUR),
        change("a", 12 * HOUR, "resolved", 0, "charted_late"),
        change("b", 13 * HOUR),
        change("b", 14 * HOUR, "resolved", 0, "withdrawn"),
    )
    assert (found.fired, found.charted_late, found.withdrawn) == (2, 1, 1)


def test_a_warning_that_came_to_nothing_is_no_alert_that_fired():
    assert fired_alerts([change("a", 1, level=-1), change("a", 2, "resolved", -1, "met")]) == []


def test_how_long_an_alert_fired_is_its_longest_time_without_a_break():
    (found,) = fired_alerts(
        [
            change("a", 10),
            change("a", 15, level=1),
            change("a", 30, "resolved", 1, "missed"),
            change("a", 90, "resolved", 1, "charted_late"),
        ]
    )
    assert (found.longest.seconds // 60, found.reason, found.times_resolved) == (20, "charted_late", 2)
    (still,) = fired_alerts([change("a", 10)])
    assert still.lasted(at(70)).seconds == 3600
