"""Local days: deadlines in business and calendar days (contract, section 4), and hours inside a span."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from timeline import DAY, HOSPITAL, alerts, at, cases, expect, just_after, minutes, verdict

from monitor.core.calendar import calendar_deadline, inside
from monitor.core.place import CalendarDays
from monitor.core.text import parse_hours, parse_limit

MIDNIGHT = 12 * 60
"""The end of the Monday whose noon is minute 0."""


def due(start, limit, zone="UTC", **days):
    """The deadline, in the zone, of a trigger at a local time."""
    begun = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone))
    found = calendar_deadline(begun, parse_limit(limit), CalendarDays.model_validate(days), ZoneInfo(zone))
    return found.astimezone(ZoneInfo(zone)).strftime("%a %d %b %H:%M %z")


@pytest.mark.parametrize(
    ("start", "limit", "found"),
    [
        ("2024-03-04 12:00", "0cd", "Tue 05 Mar 00:00 +0000"),
        ("2024-03-04 12:00", "1cd", "Wed 06 Mar 00:00 +0000"),
        ("2024-03-04 00:00", "1cd", "Wed 06 Mar 00:00 +0000"),
        ("2024-03-04 23:59", "1cd", "Wed 06 Mar 00:00 +0000"),
        ("2024-03-08 12:00", "2cd", "Mon 11 Mar 00:00 +0000"),
        ("2024-02-28 12:00", "1cd", "Fri 01 Mar 00:00 +0000"),
    ],
)
def test_calendar_days_end_with_the_nth_day_after_the_triggers(start, limit, found):
    assert due(start, limit) == found


@pytest.mark.parametrize(
    ("start", "limit", "found"),
    [
        ("2024-03-04 12:00", "1bd", "Wed 06 Mar 00:00 +0000"),
        ("2024-03-08 12:00", "1bd", "Tue 12 Mar 00:00 +0000"),
        ("2024-03-08 12:00", "2bd", "Wed 13 Mar 00:00 +0000"),
        ("2024-03-09 12:00", "1bd", "Tue 12 Mar 00:00 +0000"),
        ("2024-03-10 12:00", "2bd", "Wed 13 Mar 00:00 +0000"),
    ],
)
def test_business_days_leave_out_the_weekend_and_count_from_a_day_off(start, limit, found):
    assert due(start, limit) == found


def test_business_days_leave_out_holidays():
    assert due("2024-03-28 12:00", "1bd", holidays=["2024-03-29", "2024-04-01"]) == "Wed 03 Apr 00:00 +0000"


def test_a_calendar_has_its_own_weekend():
    assert due("2024-03-07 12:00", "1bd", weekend=["fri", "sat"]) == "Mon 11 Mar 00:00 +0000"
    assert due("2024-03-08 12:00", "1bd", weekend=[]) == "Sun 10 Mar 00:00 +0000"


def test_calendar_days_do_not_know_days_off():
    assert due("2024-03-08 12:00", "1cd", holidays=["2024-03-09"]) == "Sun 10 Mar 00:00 +0000"


@pytest.mark.parametrize(
    ("start", "zone", "found"),
    [
        ("2024-03-30 12:00", "Europe/London", "Mon 01 Apr 00:00 +0100"),
        ("2024-10-26 12:00", "Europe/London", "Mon 28 Oct 00:00 +0000"),
        ("2024-03-04 22:00", "America/New_York", "Wed 06 Mar 00:00 -0500"),
    ],
)
def test_a_day_ends_at_local_midnight_however_long_it_was(start, zone, found):
    assert due(start, "1cd", zone) == found


def test_a_day_ends_where_the_clock_jumps_over_midnight():
    assert due("2024-03-29 12:00", "1cd", "Asia/Beirut") == "Sun 31 Mar 01:00 +0300"


def test_the_zone_of_the_calendar_goes_first():
    assert due("2024-03-04 22:00", "0cd", "America/New_York", timezone="UTC") == "Tue 05 Mar 19:00 -0500"


# -- as deadlines of rules ---------------------------------------------------------------------------------


def test_the_midnight_that_ends_the_day_is_excluded():
    today = expect(within="0cd")
    assert verdict(today, at(0, "ask"), at(MIDNIGHT - 1, "answer")) == "met"
    assert verdict(today, at(0, "ask"), at(MIDNIGHT, "answer")) == "late by 0"


def test_it_is_overdue_from_midnight_on():
    today = expect(within="0cd")
    assert verdict(today, at(0, "ask"), now=MIDNIGHT - 1) == "open"
    assert verdict(today, at(0, "ask"), now=MIDNIGHT) == "overdue"
    assert alerts(today, at(0, "ask"), now=MIDNIGHT) == [f"{MIDNIGHT} firing 0"]


def test_it_is_given_up_so_long_after_midnight():
    today = expect(within="0cd", give_up="1h")
    assert verdict(today, at(0, "ask"), now=MIDNIGHT + 59) == "overdue"
    assert verdict(today, at(0, "ask"), now=just_after(MIDNIGHT + 60)) == "missed: gave_up"


def due_at(rules, event, **registry):
    (case,) = cases(rules, event, now=1, registry=HOSPITAL | registry)
    return minutes(case.due_at)


TWO = {"off": {"holidays": ["2024-03-05"]}, "on": {}}


def test_the_rules_calendar_goes_before_the_registrys():
    one_day, asked = expect(within="1bd"), at(0, "ask")
    assert due_at(one_day, asked) == MIDNIGHT + DAY
    assert due_at(one_day, asked, calendars=TWO, calendar="off") == MIDNIGHT + 2 * DAY
    assert due_at(expect(within="1bd", calendar="on"), asked, calendars=TWO, calendar="off") == MIDNIGHT + DAY


def test_the_day_is_that_of_the_place_else_of_the_registry():
    today = expect(within="0cd")
    there = [{"id": "there", "timezone": "Asia/Tokyo"}]
    assert due_at(today, at(0, "ask", to="there"), microsystems=there) == 3 * 60
    assert due_at(today, at(0, "ask"), timezone="America/New_York") == 17 * 60


def test_a_duration_in_days_is_elapsed_time_across_a_change_of_clocks():
    in_london = {"timezone": "Europe/London"}
    saturday = 26 * DAY
    assert due_at_of(saturday, "2d", in_london) == saturday + 2 * DAY
    assert due_at_of(saturday, "1cd", in_london) == saturday + MIDNIGHT + DAY - 60


def due_at_of(minute, within, registry):
    (case,) = cases(expect(within=within), at(minute, "ask"), now=minute + 1, registry=registry)
    return minutes(case.due_at)


# -- hours -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "hours", "days", "holds"),
    [
        ("2024-03-04 08:00", "08:00-20:00", None, True),
        ("2024-03-04 20:00", "08:00-20:00", None, False),
        ("2024-03-04 07:59:59", "08:00-20:00", None, False),
        ("2024-03-04 23:59:59", "20:00-24:00", {"mon"}, True),
        ("2024-03-05 00:00", "20:00-00:00", None, False),
        ("2024-03-05 00:00", "20:00-08:00", {"mon"}, True),
        ("2024-03-05 00:00", "20:00-08:00", {"tue"}, False),
        ("2024-03-05 20:00", "20:00-08:00", {"tue"}, True),
        ("2024-03-04 12:00", None, {"mon"}, True),
        ("2024-03-04 12:00", None, {"tue"}, False),
        ("2024-03-04 12:00", None, None, True),
    ],
)
def test_a_local_time_inside_hours_and_days(local, hours, days, holds):
    span = None if hours is None else parse_hours(hours)
    assert inside(datetime.fromisoformat(local), span, days) is holds
