"""The oracle itself, a test a sentence of the contract, so that it is more than a second opinion."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import oracle
import pytest

from monitor.core.event import Event, Ref

START = datetime(2024, 3, 4, 12, 0, tzinfo=UTC)
REGISTRY: dict[str, Any] = {
    "microsystems": [
        {"id": "icu", "kind": "icu", "tags": ["critical"], "parent": "surgery", "locations": ["ICU^*"]},
        {"id": "ward", "kind": "ward", "locations": ["W*"]},
    ],
    "mesosystems": [{"id": "surgery", "parent": "hospital"}, {"id": "hospital"}],
}


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def event(kind: str, minutes: float, arrived: float | None = None, **values: Any) -> Event:
    """`admit` at so many minutes; its id is the type and the minutes unless another is given."""
    values.setdefault("id", f"{kind}@{minutes}")
    values.setdefault("patient", "p")
    arrived_at = at(minutes if arrived is None else arrived)
    return Event(type=kind, occurred_at=at(minutes), arrived_at=arrived_at, **values)


def ids(events: list[Event], now: float = 10_000, patient: str = "p") -> list[str]:
    return [each.key[1] for each in oracle.effective(events, (at(now), 0), REGISTRY).get(patient, [])]


def rule(**form: Any) -> dict[str, Any]:
    return {"id": "r", "summary": "s", "severity": "critical"} | form


def judged(events: list[Event], now: float = 10_000, phase: int = 0, **form: Any) -> list[str]:
    """The verdicts, by trigger."""
    cases = oracle.verdicts(events, [rule(**form)], REGISTRY, (at(now), phase))
    return [
        " ".join(
            [case["verdict"], *(["overdue"] if case["overdue"] else []), *filter(None, [case["reason"]])]
        )
        for case in sorted(cases, key=lambda case: (case["trigger_at"], case["trigger"], str(case["step"])))
    ]


def history(events: list[Event], now: float = 10_000, **form: Any) -> list[str]:
    """What an alert says, and when, as `firing 0 @30`."""
    return [
        f"{each['state']} {each['reason'] or each['level']} @{(each['at'] - START) / timedelta(minutes=1):g}"
        for each in oracle.alert_history(events, [rule(**form)], REGISTRY, at(now))
    ]


X, Y, Z = {"type": "x"}, {"type": "y"}, {"type": "z"}
EXPECT = {"when": X, "expect": Y, "within": "30m"}


# -- section 2 ---------------------------------------------------------------------------------------------


def test_an_event_is_known_from_its_arrival_on() -> None:
    assert ids([event("x", 0, arrived=10)], now=9) == []
    assert ids([event("x", 0, arrived=10)], now=10) == ["x@0"]


def test_of_duplicates_the_first_recorded_stands() -> None:
    one = event("x", 0, id="e", recorded_at=at(5))
    other = event("y", 0, arrived=9, id="e", recorded_at=at(4))
    found = oracle.effective([one, other], (at(99), 0), REGISTRY)["p"]
    assert [each.event.type for each in found] == ["y"]


def test_a_fact_has_the_id_of_its_root_and_the_content_of_the_last_recorded() -> None:
    events = [
        event("x", 0, id="a"),
        event("x", 1, id="b", replaces="a", recorded_at=at(9)),
        event("x", 2, id="c", replaces="b", recorded_at=at(5)),
    ]
    found = oracle.effective(events, (at(99), 0), REGISTRY)["p"]
    assert [(each.key[1], each.at) for each in found] == [("a", at(1))]


def test_in_a_cycle_of_replacements_the_root_is_the_first_recorded() -> None:
    assert ids([event("x", 0, id="a", replaces="b"), event("x", 1, id="b", replaces="a")]) == ["a"]


def test_a_bare_id_is_of_the_same_source_and_a_dangling_one_waits() -> None:
    lab = event("x", 0, id="a", source="lab")
    assert len(ids([lab, event("x", 1, id="b", replaces="a")])) == 2
    assert ids([lab, event("x", 1, id="b", replaces=Ref("lab", "a"))]) == ["a"]


def test_a_fact_in_the_future_takes_part_from_its_time_on() -> None:
    assert ids([event("x", 30, arrived=0)], now=29) == []
    assert ids([event("x", 30, arrived=0)], now=30) == ["x@30"]


def test_a_cancel_by_name_removes_its_fact_and_stays() -> None:
    assert ids([event("x", 0), event("cancel_x", 1, cancels="x@0")]) == ["cancel_x@1"]


def test_a_cancel_that_names_something_unknown_never_infers() -> None:
    assert ids([event("x", 0), event("cancel_x", 1, cancels="other")]) == ["x@0", "cancel_x@1"]


def test_a_cancelled_cancel_restores() -> None:
    events = [event("x", 0), event("cancel_x", 1, cancels="x@0"), event("undo", 2, cancels="cancel_x@1")]
    assert ids(events) == ["x@0", "undo@2"]


def test_a_cancel_infers_the_one_of_equal_time() -> None:
    events = [event("x", 0), event("x", 5), event("cancel_x", 0)]
    assert ids(events) == ["cancel_x@0", "x@5"]


def test_of_several_of_equal_time_the_one_with_the_places_given() -> None:
    events = [event("x", 0, id="a", to="icu"), event("x", 0, id="b"), event("cancel_x", 0, id="c", to="icu")]
    assert ids(events) == ["b", "c"]


def test_without_an_equal_time_it_infers_the_last_before_it() -> None:
    assert ids([event("x", 0), event("x", 5), event("cancel_x", 6), event("x", 7)]) == [
        "x@0",
        "cancel_x@6",
        "x@7",
    ]


def test_repeats_of_a_cancel_change_nothing() -> None:
    events = [event("x", 0), event("x", 1), event("cancel_x", 1, id="c1"), event("cancel_x", 1, id="c2")]
    assert ids(events) == ["x@0", "c1"]


def test_a_cancel_of_an_admission_prefers_the_admit_to_the_register() -> None:
    assert ids([event("admit", 0), event("register", 1), event("cancel_admit", 5)]) == [
        "register@1",
        "cancel_admit@5",
    ]


def test_order_is_by_time_then_rank_then_source_and_id() -> None:
    kinds = ["discharge", "x", "admit", "transfer", "cancel_y", "leave", "register"]
    order = ["register@0", "admit@0", "x@0", "transfer@0", "leave@0", "discharge@0", "cancel_y@0"]
    assert ids([event(kind, 0) for kind in kinds]) == order


def test_an_event_without_encounter_belongs_to_the_only_open_one() -> None:
    events = [
        event("x", 0),
        event("admit", 1, encounter="a"),
        event("x", 2),
        event("discharge", 3, encounter="a"),
    ]
    found = oracle.effective([*events, event("x", 4)], (at(99), 0), REGISTRY)["p"]
    assert [each.encounter for each in found] == [None, "a", "a", "a", None]


def test_an_event_without_from_takes_the_place_before_it() -> None:
    events = [
        event("admit", 0, to="ICU^1"),
        event("transfer", 1, to="W"),
        event("discharge", 2),
        event("x", 3),
    ]
    found = oracle.effective(events, (at(99), 0), REGISTRY)["p"]
    assert [(each.from_, each.to) for each in found] == [
        (None, "icu"),
        ("icu", "ward"),
        ("ward", None),
        (None, None),
    ]


def test_a_merge_moves_all_events_and_its_cancel_undoes_it() -> None:
    merge = event("merge", 1, patient="q", attributes={"into": "p"})
    events = [event("x", 0), event("x", 2, patient="q"), merge]
    assert ids(events) == ["x@0", "merge@1", "x@2"]
    assert ids([*events, event("cancel_merge", 3, patient="q")]) == ["x@0"]


def test_a_merge_that_would_close_a_cycle_revives_its_survivor() -> None:
    events = [
        event("merge", 1, patient="p", attributes={"into": "q"}),
        event("merge", 2, patient="q", attributes={"into": "p"}),
    ]
    assert ids(events) == ["merge@1", "merge@2"]


def test_one_encounter_moves_and_is_renamed() -> None:
    values = {"moves": "encounter", "into": "p", "encounter_into": "c"}
    events = [
        event("x", 0, patient="q", encounter="b"),
        event("x", 1, patient="q", encounter="a"),
        event("merge", 2, patient="q", encounter="b", attributes=values),
    ]
    found = oracle.effective(events, (at(99), 0), REGISTRY)
    assert [each.encounter for each in found["p"]] == ["c", "c"]
    assert [each.encounter for each in found["q"]] == ["a"]


def test_a_move_inside_a_microsystem_is_no_new_stay() -> None:
    events = [event("admit", 0, to="ICU^1"), event("transfer", 1, to="ICU^2"), event("transfer", 2, to="W")]
    found = oracle.stays(events, (at(99), 0), REGISTRY)
    assert [(each["place"], each["entered_at"], each["left_at"]) for each in found] == [
        ("icu", at(0), at(2)),
        ("ward", at(2), None),
    ]


# -- section 3 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "holds"),
    [
        ({"type": "tr*"}, True),
        ({"type": ["x", "transfer"], "to": "icu"}, True),
        ({"to": "kind:icu"}, True),
        ({"to": "tag:critical", "from": None}, True),
        ({"to": "meso:hospital"}, True),
        ({"to": "kind:ward"}, False),
        ({"from": "*"}, False),
        ({"where": {"n": 2.0}}, True),
        ({"where": {"n": "2"}}, False),
        ({"where": {"n": {"ge": 2, "lt": 3}, "other": {"ne": 1}}}, True),
        ({"where": {"other": {"lt": 3}}}, False),
        ({"where": {"other": {"exists": False}}}, True),
        ({"not": {"to": "icu"}}, False),
        ({"any": [{"type": "x"}, {"to": "icu"}]}, True),
        ({"at": {"hours": "12:00-13:00", "days": ["mon"]}}, True),
        ({"at": {"hours": "11:00-12:00"}}, False),
        ({"at": {"hours": "22:00-13:00", "days": ["sun"]}}, True),
        ({"at": {"hours": "22:00-13:00", "days": ["mon"]}}, False),
        ({"at": {"hours": "13:00-14:00", "tz": "Europe/Paris"}}, True),
    ],
)
def test_patterns(pattern: dict[str, Any], holds: bool) -> None:
    events = [event("transfer", 0, to="ICU^1", attributes={"n": 2})]
    assert bool(judged(events, never=pattern)) is holds


# -- section 4 ---------------------------------------------------------------------------------------------


def test_exactly_at_the_deadline_is_in_time() -> None:
    assert judged([event("x", 0), event("y", 30)], **EXPECT) == ["met"]
    assert judged([event("x", 0)], now=30, **EXPECT) == ["open"]
    assert judged([event("x", 0)], now=30, phase=1, **EXPECT) == ["open overdue"]


def test_after_the_deadline_it_is_late_and_then_missed() -> None:
    assert judged([event("x", 0), event("y", 31)], **EXPECT) == ["late"]
    assert judged([event("x", 0)], give_up="1h", now=90, **EXPECT) == ["open overdue"]
    assert judged([event("x", 0)], give_up="1h", now=91, **EXPECT) == ["missed gave_up"]
    assert judged([event("x", 0), event("y", 95)], give_up="1h", **EXPECT) == ["late"]


def test_unless_makes_void_before_the_deadline_and_abandoned_after_it() -> None:
    assert judged([event("x", 0), event("z", 30)], unless=Z, **EXPECT) == ["void unless"]
    assert judged([event("x", 0), event("z", 31), event("y", 32)], unless=Z, **EXPECT) == ["missed abandoned"]
    assert judged([event("x", 0), event("y", 29), event("z", 30)], unless=Z, **EXPECT) == ["met"]


def test_an_event_at_the_triggers_own_instant_counts_unless_strict() -> None:
    events = [event("register", 0.5, precision="minute"), event("x", 0.8)]
    form = {"when": X, "expect": {"type": "register"}, "within": "0s"}
    assert judged(events, **form) == ["met"]
    assert judged(events, strict=True, **form) == ["missed gave_up"]


def test_not_before() -> None:
    assert judged([event("x", 0), event("y", 5), event("y", 31)], not_before="10m", **EXPECT) == ["late"]


def test_of_a_list_all_must_occur() -> None:
    form = {"when": X, "expect": [Y, Z], "within": "30m"}
    assert judged([event("x", 0), event("z", 5), event("y", 9)], **form) == ["met"]
    assert judged([event("x", 0), event("z", 5), event("y", 40)], **form) == ["late"]


def test_overlap() -> None:
    events = [event("x", 0), event("x", 10), event("y", 35)]
    assert judged(events, overlap="each", **EXPECT) == ["late", "met"]
    assert judged(events, overlap="first", **EXPECT) == ["late"]
    assert judged(events, overlap="latest", **EXPECT) == ["void superseded", "met"]


def test_the_default_same_is_the_encounter_when_both_have_one() -> None:
    events = [event("x", 0, encounter="a"), event("y", 5, encounter="b")]
    assert judged(events, now=9, **EXPECT) == ["open"]
    assert judged(events, now=9, same=[], **EXPECT) == ["met"]
    assert judged([event("x", 0, encounter="a"), event("y", 5)], now=9, **EXPECT) == ["met"]


def test_a_calendar_deadline_is_the_midnight_that_ends_the_day_itself_excluded() -> None:
    form = {"when": X, "expect": Y, "within": "1bd"}
    midnight = 36 * 60  # the end of Tuesday
    assert judged([event("x", 0), event("y", midnight - 1)], **form) == ["met"]
    assert judged([event("x", 0), event("y", midnight)], **form) == ["late"]
    assert judged([event("x", 0)], now=midnight, **form) == ["open overdue"]


def test_require() -> None:
    form = {"when": X, "require": Y, "within": "30m"}
    assert judged([event("y", -30), event("x", 0)], **form) == ["met"]
    assert judged([event("y", -31), event("x", 0)], **form) == ["violated"]
    assert judged([event("y", -9), event("z", -8), event("x", 0)], unless=Z, **form) == ["violated"]


def test_forbid() -> None:
    form = {"when": X, "forbid": Y, "within": "30m"}
    assert judged([event("x", 0), event("y", 30)], **form) == ["violated"]
    assert judged([event("x", 0), event("y", 31)], **form) == ["met"]
    assert judged([event("x", 0), event("transfer", 0)], **form | {"forbid": {"type": "transfer"}}) == ["met"]
    assert judged([event("x", 0), event("z", 9), event("y", 10)], until=Z, **form) == ["met"]
    assert judged([event("x", 0)], now=30, **form) == ["open"]


def test_a_stay_runs_over_moves_between_matching_places() -> None:
    form = {"stay": ["icu", "ward"], "at_most": "30m"}
    events = [event("admit", 0, to="icu"), event("transfer", 20, to="ward")]
    assert judged([*events, event("discharge", 30)], **form) == ["met"]
    assert judged([*events, event("discharge", 31)], **form) == ["late"]
    assert judged(events, now=5000, **form) == ["open overdue"]


def test_a_leave_stops_the_time_of_a_stay() -> None:
    form = {"stay": "icu", "at_most": "30m", "pause": "leave"}
    events = [event("admit", 0, to="icu"), event("leave", 30)]
    assert judged(events, now=500, **form) == ["open"]
    assert judged([*events, event("return", 90)], now=90, phase=1, **form) == ["open overdue"]


def test_leaving_too_early_is_a_violation() -> None:
    form = {"stay": "icu", "at_least": "30m"}
    assert judged([event("admit", 0, to="icu"), event("discharge", 29)], **form) == ["violated left_early"]
    assert judged([event("admit", 0, to="icu"), event("discharge", 30)], **form) == ["met"]


def test_count_opens_a_case_at_the_one_too_many_only() -> None:
    events = [event("x", minutes) for minutes in (0, 10, 20, 30)]
    cases = oracle.verdicts(events, [rule(count=X, at_most=1, within="20m")], REGISTRY, (at(99), 0))
    assert [case["trigger"] for case in cases] == ["x@10", "x@20", "x@30"]
    assert judged(events, count=X, at_most=1, within="10m") == []


def test_steps_follow_each_other() -> None:
    form = {
        "steps": [
            {"name": "1", "match": X},
            {"name": "2", "match": Y, "within": "30m"},
            {"name": "3", "match": Z, "within": "10m"},
        ]
    }
    assert judged([event("x", 0), event("y", 30), event("z", 40)], **form) == ["met", "met"]
    assert judged([event("x", 0)], now=31, **form) == ["open overdue"]
    assert judged([event("x", 0)], now=9999, **form) == ["missed gave_up", "void not_reached"]


def test_exclusive() -> None:
    form = {"exclusive": ["icu", "ward"], "longer_than": "30m"}
    events = [event("admit", 0, to="icu", encounter="a"), event("admit", 10, to="ward", encounter="b")]
    assert judged(events, now=40, **form) == ["open"]
    assert judged(events, now=40, phase=1, **form) == ["violated"]
    assert judged([*events, event("discharge", 40, encounter="a")], **form) == ["met"]


# -- sections 5 and 6 --------------------------------------------------------------------------------------


def test_silence_fires_and_the_late_event_resolves() -> None:
    assert history([event("x", 0)], now=60, **EXPECT) == ["firing 0 @30"]
    assert history([event("x", 0), event("y", 40)], **EXPECT) == ["firing 0 @30", "resolved late @40"]


def test_what_was_charted_late_was_no_failure() -> None:
    assert history([event("x", 0), event("y", 20, arrived=40)], **EXPECT) == [
        "firing 0 @30",
        "resolved charted_late @40",
    ]


def test_a_cancel_withdraws() -> None:
    events = [event("x", 0), event("cancel_x", 0, arrived=40)]
    assert history(events, **EXPECT) == ["firing 0 @30", "resolved withdrawn @40"]


def test_grace_delays_the_alert() -> None:
    assert history([event("x", 0), event("y", 40)], grace="10m", **EXPECT) == []
    assert history([event("x", 0)], now=50, grace="10m", **EXPECT) == ["firing 0 @40"]


def test_the_ladder() -> None:
    ladder = [{"after": "-10m"}, {"after": "20m"}]
    assert history([event("x", 0)], now=60, escalate=ladder, **EXPECT) == [
        "firing -1 @20",
        "firing 0 @30",
        "firing 1 @50",
    ]
    assert history([event("x", 0), event("y", 25)], escalate=ladder, **EXPECT) == [
        "firing -1 @20",
        "resolved met @25",
    ]


def test_giving_up_resolves_not_before_the_last_step() -> None:
    assert history([event("x", 0)], give_up="1h", **EXPECT) == ["firing 0 @30", "resolved missed @90"]
    changes = history([event("x", 0)], give_up="1h", escalate=[{"after": "2h"}], **EXPECT)
    assert changes[-1] == "resolved missed @150"


def test_a_violation_expires() -> None:
    assert history([event("x", 0)], never=X, show_for="1h") == ["firing 0 @0", "resolved expired @60"]


def test_old_news_alerts_no_one() -> None:
    assert history([event("x", 0, arrived=24 * 60)], never=X) != []
    assert history([event("x", 0, arrived=24 * 60 + 1)], never=X) == []


def test_shadow_rules_and_test_patients_alert_no_one() -> None:
    assert history([event("x", 0)], never=X, mode="shadow") == []
    assert history([event("x", 0, attributes={"test": True})], never=X) == []


def test_a_silent_feed_makes_open_cases_unknown_and_fires_itself() -> None:
    registry = REGISTRY | {"sources": {"lab": {"silent_after": "15m"}}}
    events = [event("x", 0, source="lab"), event("heartbeat", 60, source="lab", patient="-")]

    def at_clock(now: float) -> list[str]:
        cases = oracle.verdicts(events, [rule(**EXPECT)], registry, (at(now), 0), ["lab"])
        return [case["verdict"] + " overdue" * case["overdue"] for case in cases]

    assert (at_clock(30), at_clock(31), at_clock(60)) == (["open"], ["unknown"], ["open overdue"])
    changes = oracle.alert_history(events, [rule(**EXPECT)], registry, at(70), ["lab"])
    assert [(each["rule"], each["state"], each["reason"]) for each in changes] == [
        ("feed", "firing", None),
        ("feed", "resolved", "heard"),
        ("r", "firing", None),
    ]
