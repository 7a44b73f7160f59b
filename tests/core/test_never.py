"""never (absence): each matching event is a violation (contract, section 4)."""

from timeline import ASK, at, cases, minutes, rule, verdict, verdicts

NEVER = rule(never=ASK)


def test_each_matching_event_is_a_case_violated_at_it():
    found = cases(NEVER, at(0, "ask"), at(10, "ask"))
    assert [(case.trigger, case.verdict, minutes(case.decided_at)) for case in found] == [
        ("ask@0", "violated", 0),
        ("ask@10", "violated", 10),
    ]


def test_other_events_are_no_cases():
    assert verdicts(NEVER, at(0, "answer"), at(5, "asks")) == []


def test_a_case_has_no_deadline():
    (case,) = cases(NEVER, at(0, "ask"))
    assert (case.due_at, case.delay_seconds, case.overdue) == (None, None, False)


def test_a_repeated_event_is_one_case():
    assert verdict(NEVER, at(0, "ask"), at(0, "ask", arrived=5)) == "violated"


def test_a_cancelled_event_is_no_case():
    assert verdicts(NEVER, at(0, "ask"), at(5, "cancel_ask", cancels="ask@0")) == []


def test_an_event_corrected_into_another_is_no_case():
    assert verdicts(NEVER, at(0, "ask"), at(0, "answer", recorded=5, replaces="ask@0")) == []


def test_active_restricts_the_events():
    weekend = rule(never=ASK, active={"days": ["sat", "sun"]})
    assert verdicts(weekend, at(0, "ask")) == []
    assert verdicts(weekend, at(5 * 24 * 60, "ask")) == ["violated"]


def test_no_discharge_from_intensive_care_at_night():
    at_night = rule(
        never={"type": "transfer", "from": "kind:icu", "to": "kind:ward", "at": {"hours": "22:00-07:00"}}
    )
    arrived, evening, night = at(0, "admit", to="icu"), 9 * 60, 10 * 60
    assert verdicts(at_night, arrived, at(evening, "transfer", to="ward")) == []
    assert verdicts(at_night, arrived, at(night, "transfer", to="ward")) == ["violated"]
    assert verdicts(at_night, arrived, at(night, "transfer", to="hdu")) == []


def test_several_rules_judge_one_event_apart():
    rules = [rule(id="one", never=ASK), rule(id="two", never={"type": "*"})]
    assert [case.rule for case in cases(rules, at(0, "ask"))] == ["one", "two"]
