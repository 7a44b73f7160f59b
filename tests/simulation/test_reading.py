"""When something is due, and the line in which a case is told."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from test_known import fact, one

from monitor.simulation.clock import HOUR
from monitor.simulation.reading import business_days, calendar_days, elapsed
from monitor.simulation.truth import Case, line

LONDON = ZoneInfo("Europe/London")


def trigger(text):
    """A fact at a local time."""
    at = int(datetime.fromisoformat(text).replace(tzinfo=LONDON).timestamp())
    return one(fact("discharge", at), end=at).facts[0]


def shown(seconds):
    return datetime.fromtimestamp(seconds, LONDON).strftime("%a %d %b %H:%M:%S")


def test_elapsed_time_ends_in_time():
    due = elapsed(HOUR)(trigger("2026-01-05 10:00"))
    assert shown(due.at) == shown(due.last) == "Mon 05 Jan 11:00:00"


@pytest.mark.parametrize(("local", "days", "last"), [
    ("2026-01-05 10:00", 0, "Mon 05 Jan 23:59:59"),
    ("2026-01-05 10:00", 2, "Wed 07 Jan 23:59:59"),
    ("2026-01-05 23:59", 1, "Tue 06 Jan 23:59:59"),
    ("2026-03-27 12:00", 2, "Sun 29 Mar 23:59:59"),  # the day of the clock change
    ("2026-07-01 00:30", 1, "Thu 02 Jul 23:59:59"),  # still June in UTC
])  # fmt: skip
def test_calendar_days_end_at_local_midnight_itself_excluded(local, days, last):
    due = calendar_days(days)(trigger(local))
    assert shown(due.last) == last
    assert due.at == due.last + 1


@pytest.mark.parametrize(("local", "days", "last"), [
    ("2026-01-05 10:00", 2, "Wed 07 Jan 23:59:59"),
    ("2026-01-09 10:00", 2, "Tue 13 Jan 23:59:59"),
    ("2026-01-10 10:00", 1, "Mon 12 Jan 23:59:59"),
    ("2026-04-02 10:00", 1, "Tue 07 Apr 23:59:59"),
])  # fmt: skip
def test_business_days_leave_out_weekends_and_holidays(local, days, last):
    assert shown(business_days(days)(trigger(local)).last) == last


def test_a_case_is_told_with_the_keys_of_a_replay():
    at = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(seconds=5)
    case = Case(int(at.timestamp()), "ed-triage", "p", "PAS-1", "V1", "late", 99, False, 60)
    assert line(case) == (
        '{"rule":"ed-triage","step":null,"patient":"p","encounter":"V1","trigger":"PAS-1",'
        '"trigger_at":"2026-01-05T00:00:05.000000Z","verdict":"late","overdue":false,"delay_seconds":60}'
    )
