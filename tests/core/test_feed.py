"""Feeds: while a source is silent, its open cases are unknown (contract, section 5)."""

import pytest
from test_alert import named
from timeline import (
    ANSWER,
    ASK,
    DAY,
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
)

SILENT = HOSPITAL | {"sources": {"lab": {"silent_after": "15m"}}}
HEARD = {"registry": SILENT, "listened": ("lab",)}
ASKED = at(0, "ask", source="lab")


def beat(minute, **fields):
    return at(minute, "heartbeat", **{"source": "lab", "patient": "-"} | fields)


def feed_alerts(*events, **how):
    found = run([], *events, **how).alerts
    assert {change.rule for change in found} <= {"feed"}
    return [alert_of(change) for change in found]


def rule_alerts(rules, *events, **how):
    return [alert_of(change) for change in run(rules, *events, **how).alerts if change.rule != "feed"]


# -- silence -----------------------------------------------------------------------------------------------


def test_a_source_is_silent_after_its_limit():
    assert feed_alerts(beat(0), now=15, **HEARD) == []
    assert feed_alerts(beat(0), now=just_after(15), **HEARD) == ["15 firing 0"]


def test_it_is_back_when_it_is_heard():
    assert feed_alerts(beat(0), beat(40), now=50, **HEARD) == ["15 firing 0", "40 resolved heard"]


def test_heard_exactly_at_its_limit_it_was_not_silent():
    assert feed_alerts(beat(0), beat(15), now=30, **HEARD) == []


def test_any_event_is_a_sign_of_life():
    assert feed_alerts(beat(0), at(10, "ask", source="lab"), now=25, **HEARD) == []


def test_a_duplicate_is_a_sign_of_life():
    again = at(0, "ask", source="lab", arrived=10)
    assert feed_alerts(ASKED, again, now=25, **HEARD) == []


def test_life_is_heard_at_arrival_not_when_it_happened():
    late_news = at(-500, "ask", source="lab", arrived=10)
    assert feed_alerts(beat(0), late_news, now=25, **HEARD) == []


def test_another_source_is_no_sign_of_life():
    assert feed_alerts(beat(0), beat(10, source="adt"), now=20, **HEARD) == ["15 firing 0"]


def test_a_feed_that_falls_silent_again_fires_again():
    found = feed_alerts(beat(0), beat(40), now=60, **HEARD)
    assert found == ["15 firing 0", "40 resolved heard", "55 firing 0"]


def test_a_source_that_declares_no_limit_is_never_silent():
    assert feed_alerts(beat(0, source="adt"), registry=SILENT, listened=("lab", "adt")) == []


def test_a_source_that_is_not_listened_to_is_never_silent():
    assert feed_alerts(beat(0), registry=SILENT, listened=()) == []
    assert verdict(expect(), ASKED, registry=SILENT) == "missed: gave_up"


def test_a_feed_alert_has_an_id_of_its_own():
    (change,) = run([], beat(0), now=20, **HEARD).alerts
    assert change.alert == named("feed", None, "lab", "")
    assert (change.patient, change.due_at) == ("", None)


def test_a_heartbeat_belongs_to_no_journey():
    assert run(rule(never={}), beat(0), now=10, **HEARD).cases == []


# -- what is unknown ---------------------------------------------------------------------------------------


def test_an_open_case_is_unknown_instead_of_overdue():
    assert verdict(expect(), ASKED, now=30, **HEARD) == "open"
    assert verdict(expect(), ASKED, now=just_after(30), **HEARD) == "unknown: feed_silent"
    assert verdict(expect(), ASKED, **HEARD) == "unknown: feed_silent"


def test_one_feed_alert_fires_instead_of_those_of_the_cases():
    others = [at(minute, "ask", source="lab", patient=f"p{minute}") for minute in range(5)]
    found = run(expect(), ASKED, *others, now=60, **HEARD).alerts
    assert [(change.rule, alert_of(change)) for change in found] == [("feed", "19 firing 0")]


def test_when_the_feed_is_back_the_case_is_judged_by_what_is_known():
    assert rule_alerts(expect(), ASKED, beat(60), now=65, **HEARD) == ["60 firing 0"]


def test_what_happened_in_the_silence_and_comes_with_the_feed_was_no_failure():
    charted = at(20, "answer", source="lab", arrived=60)
    assert rule_alerts(expect(), ASKED, charted, now=65, **HEARD) == []
    assert verdict(expect(), ASKED, charted, now=65, **HEARD) == "met"


def test_what_was_overdue_before_the_silence_stands_and_keeps_firing():
    soon = expect(within="10m")
    assert verdict(soon, ASKED, now=20, **HEARD) == "overdue"
    assert rule_alerts(soon, ASKED, now=20, **HEARD) == ["10 firing 0"]


def test_it_is_not_given_up_in_the_silence_and_keeps_firing():
    soon = expect(within="10m", give_up="1h")
    assert verdict(soon, ASKED, now=100, **HEARD) == "unknown: feed_silent"
    assert rule_alerts(soon, ASKED, now=100, **HEARD) == ["10 firing 0"]
    assert rule_alerts(soon, ASKED, beat(100), now=101, **HEARD) == ["10 firing 0", "100 resolved missed"]


def test_an_event_still_decides_in_the_silence():
    dropped = expect(unless={"type": "drop"})
    assert verdict(expect(), ASKED, at(20, "answer"), now=60, **HEARD) == "met"
    assert verdict(dropped, ASKED, at(20, "drop"), now=60, **HEARD) == "void: unless"
    assert verdict(expect(), ASKED, at(40, "answer"), now=60, **HEARD) == "late by 10"


def test_forbid_is_not_met_in_the_silence():
    forbidden = rule(when=ASK, forbid=ANSWER, within="30m")
    assert verdict(forbidden, ASKED, now=60, **HEARD) == "unknown: feed_silent"
    assert verdict(forbidden, ASKED, beat(60), now=60, **HEARD) == "met"
    assert verdict(forbidden, ASKED, at(20, "answer"), now=60, **HEARD) == "violated"


def test_exclusive_is_not_violated_in_the_silence():
    twice = rule(exclusive=["icu", "ward"], longer_than="30m")
    both = [
        at(0, "admit", to="icu", encounter="a", source="lab"),
        at(1, "admit", to="ward", encounter="b", source="lab"),
    ]
    assert verdict(twice, *both, now=60, **HEARD) == "unknown: feed_silent"


def test_never_is_violated_by_its_event_and_not_by_the_clock():
    assert verdict(rule(never=ASK), ASKED, now=60, **HEARD) == "violated"


def test_the_early_warning_is_held_back_too():
    early = expect(escalate=[{"after": "-10m"}])
    assert rule_alerts(early, ASKED, now=60, **HEARD) == []
    assert rule_alerts(early, ASKED, beat(25), now=28, **HEARD) == ["25 firing -1"]


# -- which feeds a case depends on -------------------------------------------------------------------------


def test_a_case_depends_on_the_source_of_its_trigger():
    assert verdict(expect(), at(0, "ask", source="adt"), beat(0), now=60, **HEARD) == "overdue"


def test_a_rule_may_name_its_feeds():
    named_feed = expect(feeds=["lab"])
    assert verdict(named_feed, at(0, "ask", source="adt"), beat(0), now=60, **HEARD) == "unknown: feed_silent"
    assert verdict(expect(feeds=["adt"]), ASKED, now=60, **HEARD) == "overdue"


def test_of_several_feeds_one_that_is_silent_is_enough():
    both = SILENT | {"sources": {"lab": {"silent_after": "15m"}, "adt": {"silent_after": "4h"}}}
    two = expect(feeds=["adt", "lab"])
    asked = at(0, "ask", source="adt")
    found = verdict(two, asked, beat(0), now=60, registry=both, listened=("adt", "lab"))
    assert found == "unknown: feed_silent"


# -- by hours and days -------------------------------------------------------------------------------------


def limits(*several, **profile):
    registry = HOSPITAL | {"sources": {"lab": {"silent_after": list(several)} | profile}}
    return {"registry": registry, "listened": ("lab",)}


@pytest.mark.parametrize(("hour", "silent"), [(12, 15), (19, 15), (20, 120), (22, 120)])
def test_the_limit_is_that_of_the_hour_at_which_it_was_last_heard(hour, silent):
    by_hour = limits({"after": "15m", "hours": "08:00-20:00"}, {"after": "2h"})
    heard = (hour - 12) * 60
    assert feed_alerts(beat(heard), now=heard + 600, **by_hour) == [f"{heard + silent} firing 0"]


def test_a_day_without_a_limit_is_never_silent():
    on_mondays = limits({"after": "15m", "days": ["mon"]})
    assert feed_alerts(beat(0), now=DAY, **on_mondays) == ["15 firing 0"]
    assert feed_alerts(beat(DAY), now=2 * DAY, **on_mondays) == []


def test_the_first_limit_that_holds_counts():
    either = limits({"after": "30m", "days": ["mon"]}, {"after": "15m"})
    assert feed_alerts(beat(0), now=60, **either) == ["30 firing 0"]


def test_the_hours_are_those_of_the_source():
    in_tokyo = limits({"after": "15m", "hours": "21:00-22:00"}, {"after": "2h"}, timezone="Asia/Tokyo")
    assert feed_alerts(beat(0), now=300, **in_tokyo) == ["15 firing 0"]


def test_silence_starts_from_the_last_sign_of_life():
    found = run([], beat(0), beat(7), beat(9), now=60, **HEARD).alerts
    assert [minutes(change.at) for change in found] == [24]


def test_without_feeds_to_listen_to_the_clock_alone_fires():
    assert alerts(expect(), ASKED, now=60, registry=SILENT) == ["30 firing 0"]
