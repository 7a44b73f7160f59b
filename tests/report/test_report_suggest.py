"""What is suggested follows from the figures, and says what the replay with it would give."""

import pytest
from report_making import REGISTRY, at, case, change, rules_of

from monitor.report.handoffs import HandoffFigures
from monitor.report.load import fired_alerts
from monitor.report.rules import rule_figures
from monitor.report.suggest import Findings, Invocation, suggestions

RULES = rules_of("""
  - {id: drug, summary: s, severity: warning, when: {type: sepsis}, expect: {type: drug_given}, within: 1h}
  - {id: notice, summary: s, severity: warning, when: {type: discharge}, expect: {type: notice_sent}, within: 1h}
  - {id: quiet, summary: s, severity: critical, owner: matron, mode: shadow, never: {type: transfer}}
  - {id: unheard, summary: s, severity: warning, when: {type: stroke}, expect: {type: admit}, within: 1h}
""")
SEEN = {"sepsis", "drug_given", "discharge", "transfer"}
RUN = Invocation("rules.yaml", "--until T events.jsonl", "events.jsonl")
MANY = 10


def found(cases=(), changes=(), handoffs=(), unmapped=(), rules=RULES, seen=SEEN):
    fired = fired_alerts(changes)
    shadow = {rule.id for rule in rules if rule.mode == "shadow"}
    made = {}
    for each in suggestions(
        Findings(
            rules=rules,
            figures=rule_figures(rules, cases),
            verdicts=cases,
            fired=[each for each in fired if each.rule not in shadow],
            shadow_fired=[each for each in fired if each.rule in shadow],
            handoffs=handoffs,
            seen=seen,
            unmapped=dict(unmapped),
            registry=REGISTRY,
            until=at(10_000),
            invocation=RUN,
        )
    ):
        made.setdefault(each.about, each)
    return made


def false_alarms(minutes, rule="drug"):
    """Cases that fired at their deadline and were found to be met so many minutes later."""
    cases = [case(rule, "met", decided=50, patient=f"f{number}") for number in range(len(minutes))]
    changes = []
    for each, lasted in zip(cases, minutes, strict=True):
        changes += [change(each, 60), change(each, 60 + lasted, "resolved", 0, "charted_late")]
    return cases, changes


def late_alarms(minutes, rule="drug"):
    cases = [
        case(rule, "late", decided=60 + delay, patient=f"l{number}") for number, delay in enumerate(minutes)
    ]
    changes = []
    for each, delay in zip(cases, minutes, strict=True):
        changes += [change(each, 60), change(each, 60 + delay, "resolved", 0, "late")]
    return cases, changes


def without_the_unheard():
    return [rule for rule in RULES if rule.id != "unheard"]


def test_nothing_is_suggested_where_nothing_stands_out():
    assert found(rules=without_the_unheard()) == {}
    assert found(*false_alarms([5] * 4), rules=without_the_unheard()) == {}  # four may be chance


def test_the_smallest_grace_that_spares_half_of_the_false_alarms_is_told_with_its_price():
    false, changes = false_alarms([3, 8, 9, 40, 50, 10])
    late, others = late_alarms([7, 30])
    suggested = found([*false, *late], [*changes, *others])["drug"]
    assert "6 for what had been done in time" in suggested.finding
    assert "With `grace: 10m` 4 of these" in suggested.finding
    assert (
        "1 other alarm would come 10 min later, and 1 that were over by then not at all" in suggested.finding
    )
    assert suggested.command == (
        "handoff report --rules rules.yaml --until T events.jsonl --set drug.grace=10m"
    )


def test_grace_that_is_already_there_is_added_to():
    cases, changes = false_alarms([3] * 6)
    for each in changes:
        each.at += at(4) - at(0)
    assert found(cases, changes)["drug"].command.endswith("--set drug.grace=9m")


def test_a_rule_that_is_mostly_broken_is_no_alarm():
    cases, changes = late_alarms([30] * MANY)
    met = [case("drug", "met", decided=50, patient=f"m{number}") for number in range(MANY)]
    suggested = found([*cases, *met], changes)["drug"]
    assert "10 of 10 alarms (100 %), and 50 % of its cases are not met" in suggested.finding
    assert (
        "or try `within: 1h30m`. 0 of all cases of this rule would not be met, instead of 10"
        in suggested.finding
    )
    assert suggested.command.endswith("--set drug.mode=shadow")


def test_a_loud_rule_that_is_mostly_met_is_tried_with_more_time():
    cases, changes = late_alarms([20] * 6 + [300] * 4)
    met = [case("drug", "met", decided=50, patient=f"m{number}") for number in range(90)]
    missed = case("drug", "missed", decided=65, reason="abandoned", patient="gone")
    suggested = found([*cases, *met, missed], [*changes, change(missed, 60)])["drug"]
    assert (
        "With `within: 1h30m` 4 of all cases of this rule would not be met, instead of 11"
        in suggested.finding
    )
    assert suggested.command.endswith("--set drug.within=1h30m")


def test_false_alarms_make_no_rule_loud_and_a_rule_is_told_of_once():
    assert len(found(*false_alarms([5] * MANY))) == 2  # its grace, and the type that never came
    rules = rules_of("""
  - {id: drug, summary: s, severity: warning, when: {type: sepsis}, expect: {type: drug_given}, within: 1h}
  - {id: bed, summary: s, severity: warning, when: {type: discharge}, expect: {type: transfer}, within: 4h}
""")
    false, changes = false_alarms([5] * MANY)
    late, others = late_alarms([30] * 8, rule="bed")
    suggested = found([*false, *late], [*changes, *others], rules=rules)
    assert "`bed` is the next loudest: 8 of 18 alarms (44 %)" in suggested["bed"].finding


def test_a_rule_that_waits_for_what_nobody_ever_charted_is_told_first():
    cases = [case("notice", "missed", decided=1500, reason="gave_up", patient=f"{n}") for n in range(MANY)]
    suggested = found(cases, [change(each, 60) for each in cases])
    assert next(iter(suggested)) == "notice"
    assert "No event of type `notice_sent` was ever seen" in suggested["notice"].finding
    assert "It gave 10 alarms" in suggested["notice"].finding
    assert suggested["notice"].command.endswith("--set notice.mode=shadow")


def test_of_what_is_not_due_yet_it_is_not_known_whether_anybody_charts_it():
    waiting = [case("notice", "open", patient=f"{n}") for n in range(MANY)]
    assert "notice" not in found(waiting, rules=without_the_unheard())
    overdue = case("notice", "open", overdue=True, patient="late")
    assert "notice" in found([*waiting, overdue], rules=without_the_unheard())


def test_a_rule_in_shadow_whose_alarms_were_true_can_be_turned_on():
    cases = [case("quiet", "violated", trigger=n, due=None, decided=n) for n in range(2 * MANY)]
    changes = [change(each, 60) for each in cases]
    suggested = found(cases, changes)["quiet"]
    assert "would have fired 20 times, 0 of them falsely: it can be turned on for matron" in suggested.finding
    assert suggested.command.endswith("--set quiet.mode=live")
    assert "quiet" not in found(cases, changes[1:])  # nineteen say too little
    withdrawn = [change(each, 70, "resolved", 0, "withdrawn") for each in cases[:3]]
    assert "quiet" not in found(cases, [*changes, *withdrawn])


def test_a_type_that_never_came_and_a_location_that_nobody_owns_are_told():
    suggested = found(unmapped={"X^1": 7, "Y": 2})
    assert (
        "No event of type `stroke` was ever seen, so `unheard` judged nothing" in suggested["unheard"].finding
    )
    assert suggested["unheard"].command.startswith("handoff decode events.jsonl | ")
    assert "`X^1` is named by 7 events and is in no microsystem of the registry (and 1 more like it)" in (
        suggested["X^1"].finding
    )


def test_the_least_reliable_handoff_is_tried_with_another_deadline():
    cases, _ = late_alarms([20] * 6 + [300] * 4)
    worst = HandoffFigures(
        "ed", "w1", "ED", "Ward 1", 12, 10, 10, 0, 10 / 12, 0.55, 0.95, "unstable", 1200.0, {"drug": 9}
    )
    suggested = found(cases, handoffs=[worst])["ED to Ward 1"]
    assert "10 of 12 were late or missing, 9 of them by `drug`" in suggested.finding
    assert (
        "With `within: 1h30m` 4 of all cases of this rule would not be met, instead of 10"
        in suggested.finding
    )


def test_a_rule_in_shadow_is_not_turned_on_beside_a_live_one_with_the_same_trigger():
    night = "when: {type: transfer, at: {hours: '%s'}}, forbid: {type: x}, within: 1h}"
    text = f"""
  - {{id: ours, summary: s, severity: warning, {night % "22:00-07:00"}
  - {{id: theirs, summary: s, severity: warning, mode: shadow, {night % "18:00-06:00"}
"""
    cases = [case("theirs", "violated", trigger=n, decided=n) for n in range(2 * MANY)]
    changes = [change(each, 60) for each in cases]
    assert "theirs" not in found(cases, changes, rules=rules_of(text))
    assert "theirs" in found(cases, changes, rules=rules_of(text.replace("type: transfer", "type: admit", 1)))


@pytest.mark.parametrize(
    ("standard", "whose"),
    [
        ("severity: critical", "This rule is critical"),
        ("severity: warning, source: NICE CG50", "The limit is the standard's"),
    ],
)
def test_a_limit_that_is_not_the_hospitals_is_never_made_longer_but_where_it_fails_is_told(standard, whose):
    rules = rules_of(f"""
  - {{id: drug, summary: s, {standard}, when: {{type: sepsis}}, expect: {{type: drug_given}}, within: 1h}}
""")
    cases, changes = late_alarms([30] * MANY)
    for number, each in enumerate(cases):
        each.from_ = "w1" if number < 7 else "icu"
    met = [case("drug", "met", trigger=90, decided=95, patient=f"m{n}", from_="w1") for n in range(5)]
    worst = HandoffFigures(
        "ed", "w1", "ED", "Ward 1", 12, 10, 10, 0, 10 / 12, 0.55, 0.95, "unstable", 1200.0, {"drug": 9}
    )
    where = (
        "Those not met begin most often in Ward 1 (7 of 12 cases); from 00:00 to 01:00 (10 of 10 cases). "
        f"{whose}: it is the care that must change."
    )
    loud = found([*cases, *met], changes, rules=rules)["drug"]
    assert loud.finding.endswith(where)
    assert loud.command is None
    handoff = found([*cases, *met], handoffs=[worst], rules=rules)["ED to Ward 1"]
    assert handoff.finding.endswith(f"9 of them by `drug`. Of all cases of this rule 10 are not met. {where}")
    assert handoff.command is None


def test_a_source_that_says_local_leaves_the_limit_to_the_hospital():
    text = """
  - {id: drug, summary: s, severity: warning, source: "Local number; none was found", when: {type: sepsis}, expect: {type: drug_given}, within: 1h}
"""
    assert "limit or the care" in found(*late_alarms([30] * MANY), rules=rules_of(text))["drug"].finding


@pytest.mark.parametrize("key", ["overlap: first", "overlap: latest", "give_up: 10m"])
def test_no_other_deadline_is_promised_where_the_verdicts_do_not_tell_what_it_would_give(key):
    text = f"""
  - {{id: drug, summary: s, severity: warning, when: {{type: sepsis}}, expect: {{type: drug_given}}, within: 1h, {key}}}
"""
    assert "within" not in found(*late_alarms([30] * MANY), rules=rules_of(text))["drug"].finding
