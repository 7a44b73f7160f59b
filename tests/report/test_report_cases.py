"""Which cases are worth looking at, and how they are told."""

import pytest
from report_making import REGISTRY, at, case, change, rules_of, stay

from monitor.core.event import Event
from monitor.report.cases import Teller, varied, worst_cases
from monitor.report.load import fired_alerts
from monitor.report.names import happened, pseudonym

RULES = rules_of("""
  - {id: grave, summary: s, severity: critical, owner: doctor, when: {type: x}, expect: {type: y}, within: 1h}
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


def told(of, events, changes=(), stays=()):
    (story,) = Teller(RULES, changes, stays, REGISTRY, UNTIL).tell([of], events)
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
