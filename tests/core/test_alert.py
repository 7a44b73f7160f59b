"""The life of an alert (contract, section 6): one a case, from its firing to its resolution."""

import json
from uuid import NAMESPACE_URL, uuid5

import pytest
from timeline import (
    ANSWER,
    ASK,
    DAY,
    DROP,
    HOSPITAL,
    alert_of,
    alerts,
    at,
    expect,
    just_after,
    minutes,
    rule,
    run,
    verdict,
    verdicts,
)

NEVER = rule(never=ASK)
EARLY = expect(escalate=[{"after": "-10m"}])


def named(*name):
    """The id that the contract gives a case of this name."""
    text = json.dumps(name, separators=(",", ":"))
    return str(uuid5(uuid5(NAMESPACE_URL, "handoff-monitor"), text))


# -- firing ------------------------------------------------------------------------------------------------


def test_silence_fires_after_the_deadline_and_says_since_when():
    assert alerts(expect(), at(0, "ask"), now=30) == []
    assert alerts(expect(), at(0, "ask"), now=just_after(30)) == ["30 firing 0"]


def test_what_comes_in_time_fires_nothing():
    assert alerts(expect(), at(0, "ask"), at(30, "answer")) == []


def test_a_violation_fires_at_once():
    assert alerts(NEVER, at(0, "ask"), now=0) == ["0 firing 0"]


def test_what_is_known_late_fires_when_it_is_known():
    assert alerts(expect(), at(0, "ask", arrived=50), now=60) == ["50 firing 0"]
    assert alerts(NEVER, at(0, "ask", arrived=50), now=60) == ["50 firing 0"]


def test_what_was_never_known_as_overdue_fires_nothing():
    late_news = [at(0, "ask", arrived=60), at(40, "drop", arrived=60)]
    assert verdict(expect(unless=DROP), *late_news) == "missed: abandoned"
    assert alerts(expect(unless=DROP), *late_news) == []


def test_late_news_that_arrives_at_one_instant_is_taken_in_as_one():
    assert alerts(expect(), at(0, "ask", arrived=50), at(40, "answer", arrived=50)) == []


def test_each_case_has_its_own_alert():
    changes = run(expect(), at(0, "ask"), at(5, "ask"), now=60).alerts
    assert [alert_of(change) for change in changes] == ["30 firing 0", "35 firing 0"]
    assert len({change.alert for change in changes}) == 2


def test_an_alert_says_what_it_is_about():
    (change,) = run(NEVER, at(0, "ask", encounter="e"), now=5).alerts
    assert (change.rule, change.severity, change.summary) == ("r", "warning", "not in time")
    assert (change.patient, change.encounter, change.due_at) == ("p", "e", None)
    (change,) = run(expect(severity="critical"), at(0, "ask"), now=60).alerts
    assert (change.severity, minutes(change.due_at)) == ("critical", 30)


# -- the id ------------------------------------------------------------------------------------------------


def test_the_id_is_made_of_the_rule_and_the_fact_that_opened_the_case():
    (change,) = run(NEVER, at(0, "ask", source="lab"), now=5).alerts
    assert change.alert == named("r", None, "lab", "ask@0")


def test_the_id_of_a_step_holds_its_name():
    steps = rule(steps=[{"name": "one", "match": ASK}, {"name": "two", "match": ANSWER, "within": "30m"}])
    (change,) = run(steps, at(0, "ask"), now=60).alerts
    assert change.alert == named("r", "two", "", "ask@0")


def test_the_id_of_exclusive_holds_the_pair():
    twice = rule(exclusive=["icu", "ward"], longer_than="30m")
    stays = [at(0, "admit", to="icu", encounter="a"), at(5, "admit", to="ward", encounter="b", source="x")]
    (change,) = run(twice, *stays, now=60).alerts
    assert change.alert == named("r", None, "x", "admit@5", [["", "admit@0"], ["x", "admit@5"]])


def test_a_corrected_trigger_keeps_the_id_of_its_root():
    corrected = at(5, "ask", id="new", recorded=20, arrived=20, replaces="ask@0")
    (change,) = run(expect(), at(0, "ask"), corrected, now=60).alerts
    assert (alert_of(change), change.alert) == ("35 firing 0", named("r", None, "", "ask@0"))


def test_a_case_and_its_alert_have_one_id():
    found = run(NEVER, at(0, "ask"), now=5)
    assert found.cases[0].case == found.alerts[0].alert


# -- grace -------------------------------------------------------------------------------------------------


def test_grace_delays_the_alert_never_the_verdict():
    patient = expect(grace="10m")
    assert verdict(patient, at(0, "ask"), now=35) == "overdue"
    assert alerts(patient, at(0, "ask"), now=40) == []
    assert alerts(patient, at(0, "ask"), now=just_after(40)) == ["40 firing 0"]


def test_what_comes_within_grace_fires_nothing():
    assert alerts(expect(grace="10m"), at(0, "ask"), at(40, "answer")) == []


def test_grace_counts_from_when_the_case_is_known():
    assert alerts(expect(grace="10m"), at(0, "ask", arrived=50), now=70) == ["60 firing 0"]
    assert alerts(rule(never=ASK, grace="10m"), at(0, "ask", arrived=50), now=70) == ["60 firing 0"]


def test_a_break_starts_grace_again():
    corrected = at(15, "ask", id="new", recorded=40, arrived=40, replaces="ask@0")
    assert alerts(expect(grace="20m"), at(0, "ask"), corrected, now=70) == ["65 firing 0"]


def test_a_source_may_have_a_grace_and_the_rules_own_goes_first():
    slow = HOSPITAL | {"sources": {"lab": {"grace": "10m"}}}
    ask = at(0, "ask", source="lab")
    assert alerts(expect(), ask, now=60, registry=slow) == ["40 firing 0"]
    assert alerts(expect(grace="0s"), ask, now=60, registry=slow) == ["30 firing 0"]
    assert alerts(expect(), at(0, "ask"), now=60, registry=slow) == ["30 firing 0"]


# -- the ladder --------------------------------------------------------------------------------------------


def test_it_escalates_so_long_after_the_deadline():
    ladder = expect(escalate=[{"after": "10m"}, {"after": "20m"}])
    assert alerts(ladder, at(0, "ask"), now=60) == ["30 firing 0", "40 firing 1", "50 firing 2"]


def test_levels_count_in_order_of_after_however_they_are_written():
    ladder = expect(
        escalate=[{"after": "20m", "severity": "critical"}, {"after": "10m", "severity": "warning"}],
        severity="info",
    )
    changes = run(ladder, at(0, "ask"), now=60).alerts
    assert [(change.level, change.severity) for change in changes] == [
        (0, "info"),
        (1, "warning"),
        (2, "critical"),
    ]


def test_a_steps_severity_holds_until_a_later_one_has_another():
    ladder = expect(escalate=[{"after": "10m", "severity": "critical"}, {"after": "20m"}])
    changes = run(ladder, at(0, "ask"), now=60).alerts
    assert [change.severity for change in changes] == ["warning", "critical", "critical"]


def test_a_step_comes_not_before_the_firing():
    ladder = expect(escalate=[{"after": "10m"}, {"after": "60m"}], grace="20m")
    assert alerts(ladder, at(0, "ask"), now=120) == ["50 firing 1", "90 firing 2"]


def test_without_a_deadline_the_violation_stands_for_it():
    ladder = rule(never=ASK, escalate=[{"after": "10m"}])
    assert alerts(ladder, at(0, "ask"), now=60) == ["0 firing 0", "10 firing 1"]
    assert alerts(ladder, at(0, "ask", arrived=5), now=60) == ["5 firing 0", "10 firing 1"]
    assert alerts(ladder, at(0, "ask", arrived=15), now=60) == ["15 firing 1"]


def test_once_resolved_it_escalates_no_more():
    ladder = expect(escalate=[{"after": "10m"}])
    assert alerts(ladder, at(0, "ask"), at(35, "answer")) == ["30 firing 0", "35 resolved late"]


# -- early warning -----------------------------------------------------------------------------------------


def test_a_warning_fires_before_the_deadline():
    assert alerts(EARLY, at(0, "ask"), now=60) == ["20 firing -1", "30 firing 0"]


def test_a_warning_that_came_right_is_resolved_as_met():
    assert alerts(EARLY, at(0, "ask"), at(25, "answer")) == ["20 firing -1", "25 resolved met"]


def test_what_is_done_before_the_warning_fires_nothing():
    assert alerts(EARLY, at(0, "ask"), at(20, "answer")) == []


def test_a_warning_comes_not_before_the_case_is_known():
    assert alerts(EARLY, at(0, "ask", arrived=25), now=28) == ["25 firing -1"]
    assert alerts(EARLY, at(0, "ask", arrived=40), now=50) == ["40 firing 0"]


def test_grace_does_not_delay_the_warning():
    early = expect(escalate=[{"after": "-10m"}], grace="5m")
    assert alerts(early, at(0, "ask"), now=60) == ["20 firing -1", "35 firing 0"]


def test_a_warning_goes_on_through_grace():
    early = expect(escalate=[{"after": "-10m"}], grace="20m")
    assert alerts(early, at(0, "ask"), at(40, "answer")) == ["20 firing -1", "40 resolved late"]


def test_a_warning_has_its_own_severity():
    early = expect(escalate=[{"after": "-10m", "severity": "info"}])
    assert [change.severity for change in run(early, at(0, "ask"), now=60).alerts] == ["info", "warning"]


def test_a_warned_case_that_becomes_void_or_goes_is_resolved_for_that():
    early = expect(escalate=[{"after": "-10m"}], unless=DROP)
    cancel = at(25, "cancel_ask", cancels="ask@0")
    assert alerts(early, at(0, "ask"), at(25, "drop")) == ["20 firing -1", "25 resolved void"]
    assert alerts(early, at(0, "ask"), cancel) == ["20 firing -1", "25 resolved withdrawn"]


# -- resolving ---------------------------------------------------------------------------------------------


def test_late_when_it_came():
    assert alerts(expect(), at(0, "ask"), at(40, "answer")) == ["30 firing 0", "40 resolved late"]


def test_late_is_resolved_when_it_is_known():
    assert alerts(expect(), at(0, "ask"), at(40, "answer", arrived=55)) == ["30 firing 0", "55 resolved late"]


def test_charted_late_when_it_came_in_time_and_was_known_late():
    charted = at(20, "answer", arrived=40)
    assert alerts(expect(), at(0, "ask"), charted) == ["30 firing 0", "40 resolved charted_late"]


def test_a_requirement_that_is_charted_late_was_no_violation():
    before = rule(when=ASK, require=ANSWER)
    charted = at(-10, "answer", arrived=40)
    assert alerts(before, at(0, "ask"), charted) == ["0 firing 0", "40 resolved charted_late"]


def test_void_when_it_turns_out_that_it_was_not_needed():
    dropped = expect(unless=DROP)
    assert alerts(dropped, at(0, "ask"), at(20, "drop", arrived=40)) == ["30 firing 0", "40 resolved void"]


def test_withdrawn_when_the_trigger_is_cancelled():
    cancel = at(40, "cancel_ask", cancels="ask@0")
    assert alerts(expect(), at(0, "ask"), cancel) == ["30 firing 0", "40 resolved withdrawn"]


def test_withdrawn_when_a_correction_shows_that_it_was_no_violation():
    other = at(0, "answer", id="new", recorded=40, arrived=40, replaces="ask@0")
    assert alerts(NEVER, at(0, "ask"), other) == ["0 firing 0", "40 resolved withdrawn"]


def test_withdrawn_when_a_correction_leaves_time_and_fired_again_after_it():
    later = at(20, "ask", id="new", recorded=40, arrived=40, replaces="ask@0")
    changes = run(expect(), at(0, "ask"), later, now=60).alerts
    assert [alert_of(each) for each in changes] == ["30 firing 0", "40 resolved withdrawn", "50 firing 0"]
    assert len({change.alert for change in changes}) == 1


def test_withdrawn_when_a_leave_that_stopped_the_time_is_charted_late():
    paused = rule(stay="icu", at_most="30m", pause="leave")
    away = [at(10, "leave", arrived=40), at(50, "return")]
    assert alerts(paused, at(0, "admit", to="icu"), *away, now=80) == [
        "30 firing 0",
        "40 resolved withdrawn",
        "70 firing 0",
    ]


def test_withdrawn_when_merged_away():
    left_early = rule(when=ASK, forbid=ANSWER, within="30m")
    elsewhere = at(20, "merge", patient="p", encounter="e", attributes={"moves": "encounter", "into": "q"})
    events = [at(0, "ask", encounter="e"), at(10, "answer"), elsewhere]
    assert alerts(left_early, *events, now=25) == ["10 firing 0", "20 resolved withdrawn"]


def test_missed_at_once_when_it_was_abandoned():
    dropped = expect(unless=DROP)
    assert alerts(dropped, at(0, "ask"), at(40, "drop")) == ["30 firing 0", "40 resolved missed"]


def test_missed_when_it_is_given_up():
    assert alerts(expect(give_up="1h"), at(0, "ask")) == ["30 firing 0", "90 resolved missed"]


def test_given_up_resolves_not_before_the_last_escalation_step():
    ladder = expect(give_up="1h", escalate=[{"after": "10m"}, {"after": "2h"}])
    assert verdict(ladder, at(0, "ask"), now=100) == "missed: gave_up"
    assert alerts(ladder, at(0, "ask"), now=150) == ["30 firing 0", "40 firing 1"]
    assert alerts(ladder, at(0, "ask"))[2:] == ["150 firing 2", "150 resolved missed"]


def test_abandoned_does_not_wait_for_the_last_escalation_step():
    ladder = expect(unless=DROP, escalate=[{"after": "2h"}])
    assert alerts(ladder, at(0, "ask"), at(40, "drop")) == ["30 firing 0", "40 resolved missed"]


def test_a_violation_expires_after_24_hours_by_default():
    assert alerts(NEVER, at(0, "ask"), now=DAY) == ["0 firing 0"]
    assert alerts(NEVER, at(0, "ask")) == ["0 firing 0", f"{DAY} resolved expired"]


def test_show_for_counts_from_the_firing():
    shown = rule(never=ASK, show_for="1h", grace="10m")
    assert alerts(shown, at(0, "ask")) == ["10 firing 0", "70 resolved expired"]


def test_what_is_overdue_never_expires():
    assert alerts(rule(stay="icu", at_most="30m", show_for="1h"), at(0, "admit", to="icu")) == ["30 firing 0"]


def test_it_never_resolves_because_data_stopped():
    assert alerts(expect(give_up="365d"), at(0, "ask"))[-1] == "30 firing 0"


# -- after it was resolved ---------------------------------------------------------------------------------


def test_the_reason_follows_the_verdict():
    given_up = expect(give_up="1h")
    assert alerts(given_up, at(0, "ask"), at(100, "answer"))[1:] == [
        "90 resolved missed",
        "100 resolved late",
    ]
    charted = at(20, "answer", id="first", arrived=50)
    assert alerts(expect(), at(0, "ask"), at(40, "answer"), charted)[1:] == [
        "40 resolved late",
        "50 resolved charted_late",
    ]


def test_a_resolved_alert_whose_case_goes_is_withdrawn():
    cancel = at(50, "cancel_ask", cancels="ask@0")
    assert alerts(expect(), at(0, "ask"), at(40, "answer"), cancel)[1:] == [
        "40 resolved late",
        "50 resolved withdrawn",
    ]


def test_it_may_fire_again_under_its_id():
    cancel = at(40, "cancel_ask", id="c", cancels="ask@0")
    changes = run(expect(), at(0, "ask"), cancel, at(50, "undo", cancels="c"), now=60).alerts
    assert [alert_of(each) for each in changes] == ["30 firing 0", "40 resolved withdrawn", "50 firing 0"]
    assert len({change.alert for change in changes}) == 1


def test_it_fires_again_when_the_answer_is_cancelled():
    cancel = at(50, "cancel_answer", cancels="answer@40")
    assert alerts(expect(), at(0, "ask"), at(40, "answer"), cancel, now=60) == [
        "30 firing 0",
        "40 resolved late",
        "50 firing 0",
    ]


# -- sequence ----------------------------------------------------------------------------------------------


def test_the_sequence_is_generation_instant_and_number():
    (change,) = run(expect(), at(0, "ask"), now=60).alerts
    assert (change.sequence[0], minutes(change.sequence[1]), change.sequence[2]) == (0, 30, 0)


def test_changes_at_one_instant_are_numbered():
    changes = run(rule(never=ASK, show_for="0s"), at(0, "ask")).alerts
    assert [alert_of(change) for change in changes] == ["0 firing 0", "0 resolved expired"]
    assert [change.sequence[2] for change in changes] == [0, 1]


def test_the_sequence_grows():
    ladder = expect(give_up="1h", escalate=[{"after": "-10m"}, {"after": "10m"}])
    changes = run(ladder, at(0, "ask"), at(100, "answer"), at(120, "cancel_ask", cancels="ask@0")).alerts
    sequences = [change.sequence for change in changes]
    assert len(sequences) == 6
    assert sequences == sorted(set(sequences))


# -- whom nobody is told about -----------------------------------------------------------------------------


def test_a_shadow_rule_has_verdicts_and_no_alerts():
    shadow = rule(never=ASK, mode="shadow")
    assert verdicts(shadow, at(0, "ask")) == ["violated"]
    assert alerts(shadow, at(0, "ask")) == []


def test_a_test_patient_has_verdicts_and_no_alerts():
    ask = at(0, "ask", attributes={"test": True})
    assert verdicts(NEVER, ask) == ["violated"]
    assert alerts(NEVER, ask) == []


def test_an_alert_that_fires_goes_on_when_a_correction_makes_it_a_test():
    test = at(0, "ask", id="new", recorded=40, arrived=40, replaces="ask@0", attributes={"test": True})
    assert alerts(expect(), at(0, "ask"), test, at(50, "answer")) == ["30 firing 0", "50 resolved late"]


@pytest.mark.parametrize(("arrived", "found"), [(DAY, [f"{DAY} firing 0"]), (DAY + 1, [])])
def test_a_violation_that_was_over_for_24_hours_when_it_arrived_is_old_news(arrived, found):
    seen = run(NEVER, at(0, "ask", arrived=arrived), now=arrived + 5)
    assert [alert_of(change) for change in seen.alerts] == found
    assert seen.engine.counts["stale"] == (0 if found else 1)
    assert len(seen.cases) == 1


def test_a_case_that_was_given_up_when_it_arrived_is_old_news():
    ask = at(0, "ask", arrived=91)
    assert verdict(expect(give_up="1h"), ask) == "missed: gave_up"
    assert alerts(expect(give_up="1h"), ask) == []


def test_old_news_alerts_no_one_whatever_happens_later():
    old = [at(0, "ask", arrived=91), at(60, "answer", arrived=91)]
    cancel = at(95, "cancel_answer", cancels="answer@60")
    assert alerts(expect(give_up="1h"), *old, cancel) == []
