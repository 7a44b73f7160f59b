"""Rules about many journeys (contract, section 7)."""

from datetime import UTC, datetime, timedelta

from monitor.core.change import CaseVerdict
from monitor.core.event import Event
from monitor.core.place import Registry
from monitor.core.population import alert_changes, reliability, silence
from monitor.core.rule import RuleFile

DAY = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday


def hour(hours):
    return DAY + timedelta(hours=hours)


def rule(**form):
    return RuleFile.model_validate(
        {"rules": [{"id": "r", "summary": "s", "severity": "info", **form}]}
    ).rules[0]


def case(verdict, decided, of="triage"):
    at = None if decided is None else hour(decided)
    return CaseVerdict(
        of, "p", None, "e", DAY, verdict, False, None, None, at, None, None, None, None, [], "c"
    )


def goal(**more):
    return rule(reliability={"of": ["triage"], "target": "75%", "over": "2h", "min": 2, **more})


def test_the_share_is_of_the_cases_decided_within_the_rolling_time():
    cases = [case("late", 1), case("met", 8.5), case("met", 9), case("missed", 9.5), case("open", None)]
    found = reliability(goal(), cases, hour(10))
    assert found.recent == {"met": 2, "missed": 1}
    assert found.share == 2 / 3
    assert found.counts == {"late": 1, "met": 2, "missed": 1, "open": 1}


def test_it_falls_short_from_the_case_that_brings_the_share_below_the_target_until_it_is_reached_again():
    cases = [case("met", 1), case("late", 1.5), case("met", 2), case("met", 2.5), case("met", 2.5)]
    assert reliability(goal(), cases, hour(3)).short == [(hour(1.5), hour(2.5))]


def test_exactly_the_target_is_met():
    cases = [case("met", 1), case("met", 1), case("met", 1), case("violated", 1)]
    assert reliability(goal(), cases, hour(2)).short == []


def test_fewer_cases_than_min_are_no_share():
    assert reliability(goal(), [case("late", 1)], hour(2)).share is None
    assert reliability(goal(), [case("late", 1)], hour(2)).short == []


def test_cases_that_grow_old_leave_the_share():
    cases = [case("late", 1), case("late", 1)]
    assert reliability(goal(), cases, hour(2)).short == [(hour(1), None)]
    assert reliability(goal(), cases, hour(4)).short == [(hour(1), hour(3))]


def test_cases_of_other_rules_and_void_ones_do_not_count():
    cases = [case("met", 1, of="other"), case("void", 1), case("met", 1), case("met", 1)]
    assert reliability(goal(), cases, hour(2)).recent == {"met": 2}


def event(hours, *, kind="transfer", source="adt", to=None):
    at = hour(hours)
    return Event(id=str(hours), type=kind, patient="p", source=source, to=to, occurred_at=at, arrived_at=at)


def test_a_source_is_silent_from_so_long_after_its_last_event_until_its_next():
    events = [event(8), event(9), event(12)]
    assert silence(rule(silence={"source": "adt", "for": "1h"}), events, Registry(), hour(12.5)) == [
        (hour(10), hour(12))
    ]


def test_exactly_so_long_is_not_silence_and_silence_may_last_to_the_end():
    events = [event(8), event(9)]
    limit = rule(silence={"source": "adt", "for": "1h"})
    assert silence(limit, events, Registry(), hour(10)) == []
    assert silence(limit, events, Registry(), hour(11)) == [(hour(10), None)]


def test_a_place_is_silent_while_nobody_comes_whatever_is_ordered_departs_or_is_cancelled():
    ordered = [
        event(9 + part / 8, kind=kind, to="icu")
        for part, kind in enumerate(["pending_transfer", "cancel_transfer", "depart", "update"])
    ]
    limit = rule(silence={"to": "icu", "for": "1h"})
    assert silence(limit, [event(8, to="icu"), *ordered], Registry(), hour(10)) == [(hour(9), None)]
    for kind in ("register", "admit", "transfer", "arrive", "return"):
        came = [event(8, to="icu"), event(9.5, kind=kind, to="icu")]
        assert silence(limit, came, Registry(), hour(10)) == [(hour(9), hour(9.5))]


def test_a_place_is_silent_while_no_event_goes_into_it():
    registry = Registry.model_validate(
        {"microsystems": [{"id": "icu", "kind": "icu", "locations": ["ICU*"]}]}
    )
    events = [event(8), event(9, to="ICU^1"), event(10, to="ward"), event(11, to="ICU^2")]
    limit = rule(silence={"to": "kind:icu", "for": "90m"})
    assert silence(limit, events, registry, hour(11)) == [(hour(10.5), hour(11))]


def test_silence_counts_only_within_the_hours_and_days_of_at():
    limit = rule(
        silence={"source": "adt", "for": "1h", "at": {"hours": "08:00-17:00", "days": ["mon", "tue"]}}
    )
    found = silence(limit, [event(6)], Registry(), hour(24 + 24 + 12))
    assert found == [(hour(8), hour(17)), (hour(24 + 8), hour(24 + 17))]


def test_a_populations_alert_fires_and_resolves_and_shadow_rules_raise_none():
    short = [(hour(1), hour(2)), (hour(3), None)]
    changes = list(alert_changes(goal(), short))
    assert [(each.at, each.state, each.reason) for each in changes] == [
        (hour(1), "firing", None),
        (hour(2), "resolved", "met"),
        (hour(3), "firing", None),
    ]
    assert len({each.alert for each in changes}) == 1
    shadow = goal().model_copy(update={"mode": "shadow"})
    assert list(alert_changes(shadow, short)) == []
