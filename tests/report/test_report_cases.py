"""Which cases are worth looking at, and how they are told."""

from zoneinfo import ZoneInfo

import pytest
from report_making import REGISTRY, at, case, change, rules_of, stay

from monitor.core.event import Event
from monitor.report.cases import Teller, varied, worst_cases
from monitor.report.load import fired_alerts
from monitor.report.names import happened, pseudonym
from monitor.report.show import sentences

RULES = rules_of("""
  - {id: grave, summary: s, severity: critical, owner: doctor, action: give it now, when: {type: x}, expect: {type: y}, within: 1h}
  - {id: grave2, summary: s, severity: critical, when: {type: x}, expect: {type: y}, within: 1h}
  - {id: mild, summary: s, severity: warning, when: {type: x}, expect: {type: y}, within: 1h}
  - {id: shadow, summary: s, severity: critical, mode: shadow, when: {type: x}, expect: {type: y}, within: 1h}
""")
UNTIL = at(10_000)


def late(rule, minutes, patient="p", **fields):
    return case(rule, "late", due=60, decided=60 + minutes, patient=patient, **fields)


def ranked(*cases, changes=()):
    alerts = [change(each, 60) for each in cases] + list(changes)
    bad, false = worst_cases(RULES, cases, fired_alerts(alerts), UNTIL)
    return [each.patient for each in bad], [each.patient for each in false]


def test_the_gravest_come_first_and_among_them_the_longest():
    cases = [late("mild", 900, "a"), late("grave", 30, "b"), late("grave", 90, "c"), late("shadow", 990, "d")]
    assert ranked(*cases) == (["c", "b", "a", "d"], [])


def test_a_delay_is_long_for_the_time_that_was_allowed():
    short = case("grave", "late", due=15, decided=75, patient="four times")
    long = case("grave2", "late", due=720, decided=1440, patient="once")
    assert ranked(long, short) == (["four times", "once"], [])


def test_what_came_too_late_is_before_what_never_came():
    never = case("grave", "open", patient="never", overdue=True)
    assert ranked(never, late("grave", 1, "came")) == (["came", "never"], [])


def test_a_case_without_an_alarm_is_none_of_the_worst():
    quiet = late("grave", 900, "test patient")
    assert worst_cases(RULES, [quiet], [], UNTIL) == ([], [])


def test_a_case_is_a_false_alarm_when_its_alert_ended_as_charted_late():
    short, long = (case("mild", "met", patient=name, decided=50) for name in ("short", "long"))
    still_met = case("mild", "met", patient="met after a withdrawal", decided=50)
    ends = [
        change(short, 70, "resolved", 0, "charted_late"),
        change(long, 200, "resolved", 0, "charted_late"),
        change(still_met, 70, "resolved", 0, "withdrawn"),
    ]
    assert ranked(short, long, still_met, changes=ends) == ([], ["long", "short"])


def test_chosen_are_different_patients_and_rules_with_a_false_alarm_second():
    bad = [
        late("grave", 9, "a"),
        late("grave", 8, "b"),
        late("grave2", 7, "a"),
        late("grave2", 6, "c"),
        case("mild", "missed", patient="d"),
    ]
    false = [case("grave2", "met", patient="a"), case("grave2", "met", patient="e")]
    assert [(each.rule, each.patient) for each in varied(bad, false, 3)] == [
        ("grave", "a"),
        ("grave2", "e"),
        ("mild", "d"),
    ]
    assert [each.patient for each in varied(bad[:2], [], 3)] == ["a", "b"]
    assert varied([], [], 3) == []


def event(name, what, minutes, charted=None, arrived=None, **fields):
    return Event(
        id=name,
        type=what,
        patient=fields.pop("patient", "p"),
        occurred_at=at(minutes),
        recorded_at=at(minutes if charted is None else charted),
        arrived_at=None if arrived is None else at(arrived),
        **fields,
    )


def told(of, events, changes=(), stays=(), others=()):
    (story,) = Teller(RULES, [of, *others], changes, stays, REGISTRY, UNTIL).tell([of], events)
    return story


def test_a_story_has_what_happened_and_when_it_was_charted_and_sent():
    of = late("grave", 30, evidence=["h"])
    of.trigger = "t"
    story = told(of, [event("t", "sepsis_recognised", 0, 5, 6), event("h", "drug_given", 90, 150, 400)])
    assert (story.trigger.what, story.trigger.charting_delay_seconds) == ("sepsis recognised", 300.0)
    assert story.came is not None
    assert (story.came.what, story.came.charting_delay_seconds) == ("drug given", 3600.0)
    assert story.came.delivery_delay_seconds == 250 * 60
    assert (story.care_delay_seconds, story.cause, story.was_charted_late) == (1800.0, "feed", True)


def test_of_a_corrected_event_the_version_that_counts_is_told():
    of = late("grave", 30, evidence=["h"])
    of.trigger = "t"
    versions = [
        event("h", "drug_given", 300, 310),
        event("c1", "drug_given", 200, 500, replaces="h"),
        event("c2", "drug_given", 90, 600, replaces="c1"),
    ]
    story = told(of, [event("t", "sepsis_recognised", 0), *versions])
    assert story.came is not None
    assert (story.came.at, story.came.charted_at) == (at(90), at(600))


def test_another_patients_event_of_the_same_id_at_another_time_is_not_meant():
    of = late("grave", 30, evidence=["h"])
    of.trigger = "t"
    events = [
        event("t", "x", 0),
        event("h", "drug_given", 90, 95),
        event("h", "lunch", 91, patient="q", source="KITCHEN"),
    ]
    came = told(of, events).came
    assert came is not None
    assert came.what == "drug given"


def test_what_never_came_has_a_delay_up_to_where_it_was_given_up_or_to_the_end():
    missed = case("grave", "missed", decided=1500, reason="gave_up")
    missed.trigger = "t"
    story = told(missed, [event("t", "x", 0)])
    assert (story.came, story.ended_at, story.care_delay_seconds) == (None, at(1500), 1440 * 60)
    overdue = case("grave", "open", overdue=True)
    assert told(overdue, []).care_delay_seconds == (10_000 - 60) * 60


def test_a_false_alarm_is_settled_when_its_alert_ended():
    of = case("grave", "met", decided=50, evidence=["h"])
    of.trigger = "t"
    events = [event("t", "x", 0), event("h", "y", 50, 51, 52)]
    changes = [change(of, 60), change(of, 200, "resolved", 0, "charted_late")]
    story = told(
        of, events, changes, [stay("ed", 0, 80, "w1"), stay("w1", 80), stay("icu", 0, patient="other")]
    )
    assert (story.false_alarm, story.settled_at, story.cause) == (True, at(200), "record")
    assert [(each.state, each.role) for each in story.alarms] == [
        ("firing", "doctor"),
        ("resolved", "doctor"),
    ]
    assert [visit.place for visit in story.places] == ["Emergency department", "Ward 1"]


@pytest.mark.parametrize(
    ("what", "to", "words"),
    [
        ("transfer", "W1", "moved to Ward 1"),
        ("register", "ED", "registered in Emergency department"),
        ("transfer", "X^9", "moved to X 9"),
        ("transfer", None, "moved"),
        ("discharge", "ED", "discharged"),
        ("decision_to_admit", "ED", "decision to admit"),
    ],
)
def test_what_happened_is_said_in_words(what, to, words):
    assert happened(event("1", what, 0, to=to), REGISTRY) == words


def test_a_patient_has_one_short_name_that_does_not_show_the_key():
    names = {pseudonym(f"1234567{number}") for number in range(100)}
    assert len(names) == 100
    assert pseudonym("12345671") in names
    assert not any("1234567" in name for name in names)
    assert {len(name) for name in names} == {7}


def said(of, events=(), changes=(), stays=(), others=()):
    """What stands above the drawing of a case."""
    return [text for text, _ in sentences(told(of, events, changes, stays, others), ZoneInfo("UTC"))]


def went(disposition, minutes):
    return event("out", "discharge", minutes, encounter="v", attributes={"disposition": disposition})


DAY = 24 * 60
IN_ED = [stay("ed", 0, 100, "w1"), stay("w1", 100, DAY + 61)]


def test_above_a_case_stands_what_to_do_what_else_failed_and_how_the_visit_ended():
    others = [
        late("mild", 10),
        late("grave2", 10),
        late("grave2", 20),
        case("mild", "late", due=1, decided=2),
    ]
    elsewhere = [late("grave2", 10, encounter="w"), late("grave2", 10, patient="q"), case("mild", "met")]
    events = [event("h", "drug_given", 90), went("died", DAY + 61)]
    assert said(late("grave", 30, evidence=["h"]), events, stays=IN_ED, others=others + elsewhere) == [
        "What to do: give it now.",
        "Care: 30 min after the deadline.",
        "Charting: at once.",
        "Also not met in this visit: grave2, mild.",
        "Then: Tue 6 Jan 01:01 died in Ward 1.",
    ]


def test_what_is_missing_is_said_of_the_record_with_its_next_move():
    missed = case("mild", "missed", decided=1500, reason="gave_up")
    record, then = said(missed, [went("home", DAY + 61)], stays=IN_ED)
    assert record == (
        "Record: nothing had come 1 day after the deadline; the next move on record: Mon 5 Jan 01:40 moved from "
        "Emergency department to Ward 1."
    )
    assert then == "Then: Tue 6 Jan 01:01 discharged home from Ward 1."


def test_where_the_next_move_is_the_end_of_the_visit_it_is_said_once():
    missed = case("mild", "missed", trigger=200, due=260, decided=1700, reason="gave_up")
    (only,) = said(missed, [went("self", DAY + 61)], stays=IN_ED)
    assert only.endswith("the next move on record: Tue 6 Jan 01:01 left against advice from Ward 1.")


def test_a_visit_of_which_nothing_more_is_known_is_said_to_be_one():
    overdue = case("mild", "open", overdue=True)
    assert said(overdue, stays=[stay("ed", 0)]) == [
        "Record: nothing had come 6 days 21 h after the deadline; no later move of the patient is on record."
    ]


def test_after_the_end_of_a_visit_no_move_is_missed():
    letter = case("mild", "missed", trigger=DAY + 61, due=DAY + 121, decided=DAY + 1561, reason="gave_up")
    assert said(letter, [went("home", DAY + 61)], stays=IN_ED) == [
        "Record: nothing had come 1 day after the deadline."
    ]


def test_of_a_violation_what_happened_is_said():
    forbidden = case("mild", "violated", decided=90, evidence=["h"])
    assert said(forbidden, [event("h", "transfer", 90, to="ICU")])[0] == (
        "Care: Mon 5 Jan 01:30 moved to Intensive care."
    )
    unprepared = case("mild", "violated", trigger=90, due=None)
    unprepared.trigger = "t"
    assert said(unprepared, [event("t", "transfer", 90, to="W1")]) == [
        "Record: Mon 5 Jan 01:30 moved to Ward 1."
    ]


def test_a_false_alarm_says_what_it_asked_for():
    of = case("grave", "met", decided=50, evidence=["h"])
    changes = [change(of, 60), change(of, 200, "resolved", 0, "charted_late")]
    assert said(of, [event("h", "y", 50, 200)], changes)[:3] == [
        "The alarm said: s.",
        "What to do: give it now.",
        "Care: in time, 10 min before the deadline.",
    ]


def test_a_case_that_names_no_visit_is_told_with_that_in_which_the_patient_next_is():
    crew = case("mild", "missed", trigger=-8, due=60, decided=300, reason="gave_up", encounter=None)
    before = [stay("w2", -900, -800, encounter="before")]
    others = [late("grave", 10), late("grave2", 10, encounter="before")]
    record, *more = said(crew, [went("home", DAY + 61)], stays=[*before, *IN_ED], others=others)
    assert record.endswith("the next move on record: Mon 5 Jan 00:00 came to Emergency department.")
    assert more == [
        "Also not met in this visit: grave.",
        "Then: Tue 6 Jan 01:01 discharged home from Ward 1.",
    ]


def test_a_move_under_another_visit_number_is_told_as_such():
    waited = case("mild", "missed", trigger=30, due=90, decided=1500, reason="gave_up")
    never_closed, admitted = stay("ed", 0), stay("w1", 120, encounter="v2")
    (only,) = said(waited, stays=[never_closed, admitted])
    assert only.endswith("the next move on record: Mon 5 Jan 02:00 came to Ward 1 in another visit.")
