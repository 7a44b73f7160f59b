"""The figures of rules, and why some have none."""

import pytest
from report_making import case, rules_of

from monitor.report.rules import (
    awaited_types,
    opening,
    opening_types,
    registry_places,
    rule_figures,
    without_case,
)
from monitor.report.show import _met, _percent, _share

RULES = rules_of("""
  - {id: board, summary: s, severity: warning, when: {type: decision}, expect: {type: [admit, transfer]}, within: 1h}
  - {id: night, summary: s, severity: warning, never: {type: transfer}}
  - {id: path, summary: s, severity: warning, steps: [{name: a, match: {type: register}}, {name: b, match: {type: triage}, within: 15m}, {name: c, match: {type: roomed}, within: 1h}]}
  - {id: signed, summary: s, severity: warning, when: {any: [{type: transfer}, {type: depart}]}, require: {type: handoff_*}}
  - {id: dwell, summary: s, severity: warning, stay: ed, at_most: 4h}
""")


def test_a_line_counts_every_verdict_and_takes_its_share_of_the_decided():
    verdicts = ["met"] * 3 + ["missed", "violated", "void", "unknown", "open"]
    cases = [case("board", verdict, patient=str(number)) for number, verdict in enumerate(verdicts)]
    cases += [
        case("board", "late", due=60, decided=60 + delay, patient=f"l{delay}") for delay in (10, 20, 40)
    ]
    cases.append(case("board", "open", overdue=True, patient="o"))
    board = rule_figures(RULES, cases)[0]
    assert (board.met, board.late, board.missed, board.violated, board.void, board.unknown) == (
        3,
        3,
        1,
        1,
        1,
        1,
    )
    assert (board.open, board.overdue, board.decided, board.cases) == (2, 1, 8, 12)
    assert board.met_share == 3 / 8
    assert (board.median_delay_seconds, board.p90_delay_seconds) == (1200.0, 2400.0)


def test_each_step_has_a_line_and_a_rule_that_only_knows_violations_has_no_share():
    found = rule_figures(RULES, [case("night", "violated"), case("path", "met", step="c")])
    assert [(each.title, each.decided, each.met_share) for each in found] == [
        ("board", 0, None),
        ("night", 1, None),
        ("path/b", 0, None),
        ("path/c", 1, 1.0),
        ("signed", 0, None),
        ("dwell", 0, None),
    ]


def test_a_rule_without_a_case_is_told_with_the_types_that_never_came():
    figures = rule_figures(RULES, [case("night", "violated")])
    found = dict(without_case(RULES, figures, {"depart", "register"}))
    assert found == {"board": ["decision"], "path": [], "signed": [], "dwell": []}


def test_the_types_that_open_a_case_and_that_it_waits_for_are_those_written():
    assert [opening_types(rule) for rule in RULES] == [
        ["decision"],
        ["transfer"],
        ["register"],
        ["transfer", "depart"],
        [],
    ]
    assert [awaited_types(rule) for rule in RULES] == [
        ["admit", "transfer"],
        [],
        ["triage", "roomed"],
        ["handoff_*"],
        [],
    ]


@pytest.mark.parametrize(
    ("met", "decided", "shown"),
    [(0, 9, "0"), (9, 9, "100"), (1, 3, "33.3"), (2147, 2148, "99.9"), (1, 5000, "0.1")],
)
def test_all_and_nothing_are_shown_only_where_they_are(met, decided, shown):
    assert _percent(met / decided) == shown


def test_where_more_cases_are_open_than_decided_it_is_too_early_for_a_percentage():
    half = [case("board", "met", patient="a"), case("board", "missed", patient="b")]
    waiting = [case("board", "open", patient=str(number)) for number in range(3)]
    assert _share(rule_figures(RULES, [*half, *waiting[:2]])[0]) == "50.0"
    assert _share(rule_figures(RULES, [*half, *waiting])[0]) == "early"


def test_a_rule_that_only_knows_violations_has_nothing_that_was_met():
    (night,) = [each for each in rule_figures(RULES, [case("night", "violated")]) if each.rule == "night"]
    assert (_met(night), _share(night), night.violated) == ("-", "-", 1)


def test_the_places_that_only_a_registry_tells_are_found_in_patterns_and_not_in_texts():
    rules = rules_of("""
  - {id: text, summary: "kind:icu", severity: warning, action: "tag:x", never: {type: transfer, from: ward}}
  - {id: deep, summary: s, severity: warning, when: {any: [{type: x}, {not: {to: [w, "tag:y"]}}]}, expect: {type: z}, within: 1h}
  - {id: dwell, summary: s, severity: warning, stay: "meso:surgery", at_most: 1h}
""")
    assert registry_places(rules) == {"deep": "tag:y", "dwell": "meso:surgery"}


def test_rules_with_the_same_trigger_at_other_hours_open_the_same_cases():
    rules = rules_of("""
  - {id: a, summary: s, severity: warning, never: {type: transfer, at: {hours: "22:00-07:00"}}}
  - {id: b, summary: s, severity: warning, never: {type: transfer, at: {hours: "18:00-06:00"}}}
  - {id: c, summary: s, severity: warning, never: {type: transfer, to: ward}}
  - {id: d, summary: s, severity: warning, stay: ed, at_most: 4h}
""")
    one, same, other, stay = map(opening, rules)
    assert one == same
    assert one not in (other, stay)
