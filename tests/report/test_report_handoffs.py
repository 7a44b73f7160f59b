"""Which handoff a case is about, and how reliable each is."""

import pytest
from report_making import REGISTRY, at, case, rules_of, stay

from monitor.core.event import Event
from monitor.report.handoffs import (
    Handoff,
    endings_of,
    handoff_figures,
    handoff_of,
    is_about_the_move,
    visits_of,
)

RULES = rules_of("""
  - {id: signed, summary: s, severity: warning, when: {type: transfer, from: kind:icu}, require: {type: handoff_signed}}
  - {id: board, summary: s, severity: warning, when: {type: decision}, expect: {type: [admit, transfer]}, within: 1h}
  - {id: to-icu, summary: s, severity: warning, when: {type: asked}, expect: {type: transfer, to: kind:icu}, within: 1h}
  - {id: dwell, summary: s, severity: warning, stay: kind:ed, at_most: 1h}
  - {id: drug, summary: s, severity: warning, when: {type: sepsis}, expect: {type: drug_given}, within: 1h}
  - {id: letter, summary: s, severity: warning, when: {type: discharge}, expect: {type: letter_sent}, within: 1h}
  - {id: triage, summary: s, severity: warning, when: {type: register}, expect: {type: triage}, within: 1h}
""")
BY_ID = {rule.id: rule for rule in RULES}
STAYS = visits_of([stay("ed", 0, 100, "w1"), stay("w1", 100, 200, "icu"), stay("icu", 200, 300)])


@pytest.mark.parametrize(
    ("of", "ends"),
    [
        (case("signed", "met", trigger=200, due=None, from_="w1", to="icu"), ("w1", "icu", 200)),
        (case("letter", "missed", trigger=300, from_="icu"), ("icu", None, 300)),
        (case("triage", "late", trigger=0, decided=70, to="ed"), (None, "ed", 0)),
        (case("board", "late", trigger=30, due=90, decided=100, from_="ed", to="w1"), ("ed", "w1", 100)),
        (
            case("board", "missed", trigger=30, due=90, from_="ed"),
            ("ed", "w1", 100),
        ),  # it came too late to count
        (case("dwell", "late", trigger=0, decided=100, to="ed"), ("ed", "w1", 100)),
        (
            case("to-icu", "missed", trigger=30, due=90, from_="ed"),
            ("ed", "icu", 100),
        ),  # not where the patient went
        (case("drug", "missed", trigger=30, from_="ed"), None),
    ],
    ids=lambda each: each.rule if hasattr(each, "rule") else "",
)
def test_a_case_is_about_the_move_that_opened_it_or_that_it_waits_for(of, ends):
    found = handoff_of(of, BY_ID[of.rule], STAYS, REGISTRY)
    assert found == (None if ends is None else Handoff("p", "v", ends[0], ends[1], at(ends[2])))


def moved(number, verdict, **fields):
    """A patient who went from the ED to ward 1 at minute 100, and the case about it."""
    patient = f"q{number}"
    of = case(
        "board", verdict, trigger=30, due=90, decided=100, patient=patient, from_="ed", to="w1", **fields
    )
    return of, stay("ed", 0, 100, "w1", patient=patient), stay("w1", 100, from_="ed", patient=patient)


def figures(*moves):
    cases = [of for of, *_ in moves]
    return handoff_figures(RULES, cases, visits_of(stay for _, *stays in moves for stay in stays), REGISTRY)


def test_defects_are_counted_per_handoff_whatever_the_number_of_rules():
    of, *stays = moved(1, "late")
    also = case("dwell", "late", trigger=0, due=60, decided=100, patient="q1", to="ed")
    found, _ = handoff_figures(RULES, [of, also], visits_of(stays), REGISTRY)
    assert [(each.opportunities, each.defects, each.late, each.missing) for each in found] == [(1, 1, 1, 0)]
    assert found[0].median_delay_seconds == 2400.0  # the longer of 10 and 40 minutes
    assert found[0].rules == {"board": 1, "dwell": 1}


def test_late_and_missing_are_apart_and_names_are_those_of_the_registry():
    found, _ = figures(moved(1, "late"), moved(2, "missed"), moved(3, "met"), moved(4, "void"))
    (pair,) = found
    assert (pair.from_name, pair.to_name) == ("Emergency department", "Ward 1")
    assert (pair.opportunities, pair.defects, pair.late, pair.missing) == (3, 2, 1, 1)
    assert (pair.share, pair.magnitude) == (2 / 3, "unstable")


def test_one_of_one_does_not_lead_the_ranking():
    many = [moved(number, "late" if number < 12 else "met") for number in range(20)]
    of = case("signed", "violated", trigger=50, due=None, patient="z")
    lonely = (of, stay("icu", 0, 50, "w2", patient="z"), stay("w2", 50, patient="z"))
    found, _ = figures(*many, lonely)
    assert [(each.from_name, each.defects, each.opportunities) for each in found] == [
        ("Emergency department", 12, 20),
        ("Intensive care", 1, 1),
    ]


def test_an_overdue_handoff_that_led_nowhere_yet_is_counted_apart():
    of = case("board", "open", trigger=30, due=90, patient="q", from_="ed", overdue=True)
    assert figures((of, stay("ed", 0, patient="q"))) == ([], 1)


def test_a_case_that_is_still_open_is_no_opportunity():
    of = case("board", "open", trigger=30, due=90, patient="q", from_="ed")
    assert figures((of, stay("ed", 0, patient="q"))) == ([], 0)


def test_rules_on_the_move_are_told_from_those_on_what_must_go_with_it():
    more = rules_of("""
  - {id: by-place, summary: s, severity: warning, when: {type: x}, expect: {to: kind:icu}, within: 1h}
  - {id: both, summary: s, severity: warning, when: {type: x}, expect: [{type: transfer}, {type: letter_sent}], within: 1h}
  - {id: notice, summary: s, severity: warning, when: {type: admit}, expect: {type: notice_sent, to: kind:icu}, within: 1h}
  - {id: back, summary: s, severity: warning, when: {type: transfer}, forbid: {any: [{type: admit}, {type: arrive}]}, within: 1h}
  - {id: night, summary: s, severity: warning, never: {type: transfer, at: {hours: "22:00-07:00"}}}
  - {id: ordered, summary: s, severity: warning, when: {type: transfer}, require: {type: pending_transfer}}
  - {id: path, summary: s, severity: warning, steps: [{name: a, match: {type: x}}, {name: b, match: {type: depart}, within: 1h}]}
""")
    moves = [rule.id for rule in [*RULES, *more] if is_about_the_move(rule)]
    assert moves == ["board", "to-icu", "dwell", "by-place", "back", "night", "path"]


def discharge(number, minutes, charted=None, **attributes):
    return Event(
        id=f"d{number}",
        type="discharge",
        patient=f"q{number}",
        encounter=f"v{number}",
        occurred_at=at(minutes),
        recorded_at=at(charted or minutes),
        attributes=attributes,
    )


@pytest.mark.parametrize(
    ("events", "name"),
    [
        ([discharge(1, 100, disposition="died")], "died"),
        ([discharge(1, 100, disposition="home")], "home"),
        ([discharge(1, 100, disposition="transferred")], "other hospital"),
        ([discharge(1, 100, disposition="self")], "against advice"),
        ([discharge(1, 100, disposition="20")], "left the hospital"),
        ([discharge(1, 100)], "left the hospital"),
        ([discharge(1, 90, disposition="died"), discharge(2, 100, disposition="died")], "left the hospital"),
        ([discharge(1, 100, 300, disposition="died"), discharge(1, 100, disposition="home")], "died"),
    ],
)
def test_a_way_out_is_called_by_the_disposition_of_its_discharge_as_last_written(events, name):
    of = case("dwell", "late", due=60, decided=100, patient="q1", encounter="v1", to="ed")
    visits = visits_of([stay("ed", 0, 100, patient="q1", encounter="v1")])
    (pair,), _ = handoff_figures(RULES, [of], visits, REGISTRY, endings_of(events))
    assert (pair.to, pair.to_name) == (None, name)


def test_a_discharge_written_before_a_merge_is_found_by_its_visit():
    of = case("dwell", "late", due=60, decided=100, patient="survivor", encounter="v1", to="ed")
    visits = visits_of([stay("ed", 0, 100, patient="survivor", encounter="v1")])
    (pair,), _ = handoff_figures(
        RULES, [of], visits, REGISTRY, endings_of([discharge(1, 100, disposition="died")])
    )
    assert pair.to_name == "died"
