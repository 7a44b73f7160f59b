"""The verbs of the engine: observe, advance, next_due, dump, load, use."""

from datetime import datetime, timedelta

import msgspec
import pytest
from timeline import (
    ANSWER,
    ASK,
    HOSPITAL,
    alert_of,
    at,
    expect,
    just_after,
    minutes,
    moment,
    rule,
    run,
    verdict_of,
)

from monitor.core.change import AlertChange, VerdictChange
from monitor.core.engine import Engine
from monitor.core.event import Event
from monitor.core.place import Registry

REGISTRY = Registry.model_validate(HOSPITAL)
NEVER = rule(never=ASK)


def engine(*rules, **keys):
    return Engine(list(rules), REGISTRY, **keys)


def lines(changes):
    """Each change as `rule: what happened`: of a verdict its before and after, of an alert its state and level or reason."""
    found = []
    for change in changes:
        if isinstance(change, VerdictChange):
            found.append(f"{minutes(change.at)} {change.rule}: {change.before} -> {change.after}")
        else:
            found.append(f"{minutes(change.at)} {change.rule}: {alert_of(change).split(' ', 1)[1]}")
    return found


def standing(of):
    return sorted((case.case, verdict_of(case)) for case in of.verdicts())


def alerts_of(changes):
    return [change for change in changes if isinstance(change, AlertChange)]


def told(changes):
    return [alert_of(change) for change in alerts_of(changes)]


# -- observe and advance -----------------------------------------------------------------------------------


def test_an_event_must_have_arrived():
    with pytest.raises(ValueError, match="arrived_at"):
        engine().observe(Event(id="e", type="x", patient="p", occurred_at=moment(0)))


def test_an_event_does_not_arrive_before_the_clock():
    watching = engine()
    watching.advance(moment(10))
    with pytest.raises(ValueError, match="clock"):
        watching.observe(at(9, "x"))
    assert watching.observe(at(3, "x", arrived=10)) == []


def test_the_clock_does_not_go_back():
    watching = engine()
    watching.observe(at(10, "x"))
    with pytest.raises(ValueError, match="clock"):
        watching.advance(moment(9))


def test_a_refused_event_leaves_no_trace():
    watching = engine(NEVER)
    watching.advance(moment(10))
    with pytest.raises(ValueError, match="clock"):
        watching.observe(at(0, "ask"))
    assert (list(watching.verdicts()), watching.advance(moment(20))) == ([], [])


def test_before_an_event_is_taken_in_what_happens_before_it_happens():
    watching = engine(expect())
    watching.observe(at(0, "ask"))
    assert lines(watching.observe(at(40, "answer")))[-2:] == ["30 r: open -> overdue", "30 r: firing 0"]
    assert lines(watching.advance(moment(40))) == ["40 r: overdue -> late", "40 r: resolved late"]


def test_all_that_arrives_at_one_instant_is_taken_in_before_anything_is_derived():
    watching = engine(NEVER)
    watching.observe(at(0, "ask", arrived=5))
    watching.observe(at(5, "cancel_ask", cancels="ask@0"))
    assert watching.advance(moment(60)) == []


def test_a_verdict_change_says_what_it_was_and_what_it_is():
    story = run(expect(give_up="1h"), at(0, "ask"), at(100, "cancel_ask", cancels="ask@0"))
    assert lines(change for change in story.changes if isinstance(change, VerdictChange)) == [
        "0 r: None -> open",
        "30 r: open -> overdue",
        "90 r: overdue -> missed",
        "100 r: missed -> None",
    ]


def test_changes_are_in_order_of_instant_then_rule():
    rules = [expect(id="b"), expect(id="a", within="40m"), expect(id="c", within="20m")]
    changes = run(rules, at(0, "ask"), at(10, "ask"), now=60).alerts
    assert [(minutes(change.at), change.rule) for change in changes] == [
        (20, "c"),
        (30, "b"),
        (30, "c"),
        (40, "a"),
        (40, "b"),
        (50, "a"),
    ]


def test_changes_of_one_instant_and_rule_are_in_order_of_case():
    asks = [at(0, "ask", patient=f"p{number}", id=f"e{number}") for number in range(9)]
    changes = run(expect(), *asks, now=60).alerts
    assert len(changes) == 9
    assert [change.alert for change in changes] == sorted(change.alert for change in changes)


def test_one_big_step_equals_many_small_ones():
    rules = [expect(escalate=[{"after": "-10m"}, {"after": "10m"}], give_up="1h"), rule(id="n", never=ASK)]
    small, changes = engine(*rules), []
    for event in (at(0, "ask"), at(5, "ask", patient="q"), at(45, "answer")):
        changes += small.observe(event)
    for minute in range(45, 200):
        changes += small.advance(moment(minute))
    big = run(rules, at(0, "ask"), at(5, "ask", patient="q"), at(45, "answer"), now=199)
    assert lines(changes) == lines(big.changes)


def test_to_advance_again_changes_nothing():
    watching = run(expect(), at(0, "ask"), now=40).engine
    assert watching.advance(moment(40)) == []
    assert watching.advance(moment(41)) == []


def test_an_engine_without_rules_keeps_journeys():
    watching = run([], at(0, "admit", to="icu")).engine
    assert [stay.place for stay in watching.stays()] == ["icu"]
    assert list(watching.verdicts()) == []


# -- next_due ----------------------------------------------------------------------------------------------


def test_nothing_is_due_where_nothing_is_known():
    assert engine(expect()).next_due() is None
    assert run(NEVER, at(0, "answer"), now=0).engine.next_due() is None


def test_the_deadline_is_due_and_then_the_giving_up():
    watching = run(expect(give_up="1h"), at(0, "ask"), now=0).engine
    assert watching.next_due() == moment(30)
    watching.advance(moment(just_after(30)))
    assert watching.next_due() == moment(90)


@pytest.mark.parametrize(
    ("keys", "due"),
    [
        ({"escalate": [{"after": "-10m"}]}, 20),
        ({"grace": "10m"}, 30),
        ({"within": "1cd"}, 36 * 60),
    ],
)
def test_what_is_due_first(keys, due):
    assert run(expect(**keys), at(0, "ask"), now=0).engine.next_due() == moment(due)


def test_a_fact_in_the_future_is_due_when_it_takes_part():
    assert run(NEVER, at(30, "ask", arrived=0), now=0).engine.next_due() == moment(30)


def test_whoever_wakes_when_something_is_due_misses_nothing():
    watching, changes = engine(expect(escalate=[{"after": "10m"}], give_up="1h")), []
    watching.observe(at(0, "ask"))
    changes += watching.advance(moment(0))
    while (due := watching.next_due()) is not None:
        changes += watching.advance(due + timedelta(microseconds=1))
    assert told(changes) == ["30 firing 0", "40 firing 1", "90 resolved missed"]


# -- dump and load -----------------------------------------------------------------------------------------

STORY = [
    at(0, "admit", to="icu", encounter="e"),
    at(5, "ask"),
    at(5, "ask", arrived=7),
    at(10, "answer", arrived=45),
    at(46, "cancel_answer", cancels="answer@10"),
    at(50, "ask", id="future", arrived=47),
]
RULES = [expect(give_up="2h"), rule(id="icu", stay="icu", at_most="20m", grace="5m")]


@pytest.mark.parametrize("taken", range(len(STORY) + 1))
def test_what_is_dumped_and_loaded_goes_on_as_if_nothing_had_been(taken):
    whole, before = engine(*RULES), engine(*RULES)
    for event in STORY[:taken]:
        whole.observe(event)
        before.observe(event)
    clock = STORY[taken - 1].arrived_at if taken else moment(0)
    whole.advance(clock)
    before.advance(clock)
    after = engine(*RULES)
    after.advance(clock)
    after.load("p", before.dump("p"))
    assert standing(after) == standing(whole)
    changes, expected = [], []
    for event in STORY[taken:]:
        changes += after.observe(event)
        expected += whole.observe(event)
    changes += after.advance(moment(500))
    expected += whole.advance(moment(500))
    assert alerts_of(changes) == alerts_of(expected)
    assert standing(after) == standing(whole)


def test_loading_does_not_tell_again_what_was_told():
    before = run(expect(), at(0, "ask"), now=40).engine
    after = engine(expect())
    after.advance(moment(40))
    after.load("p", before.dump("p"))
    assert told(after.advance(moment(60))) == []
    assert [alert_of(change) for change in after.alerts()] == ["30 firing 0"]


def test_loading_in_the_silence_of_a_feed_leaves_unknown_what_was():
    registry = Registry.model_validate({"sources": {"lab": {"silent_after": "15m"}}})
    before, after = (Engine([expect()], registry, listened=("lab",)) for _ in range(2))
    before.observe(at(0, "ask", source="lab"))
    after.observe(at(0, "heartbeat", source="lab", patient="-"))
    for each in (before, after):
        each.advance(moment(60))
    after.load("p", before.dump("p"))
    assert [verdict for _, verdict in standing(after)] == ["unknown: feed_silent"]
    after.observe(at(70, "heartbeat", source="lab", patient="-"))
    assert told(after.advance(moment(80))) == ["70 resolved heard", "70 firing 0"]


def test_to_load_twice_changes_nothing():
    before = run(expect(), at(0, "ask"), now=40).engine
    after = engine(expect())
    after.advance(moment(40))
    for _ in range(2):
        after.load("p", before.dump("p"))
    assert standing(after) == standing(before)
    assert after.dump("p") == before.dump("p")


def test_loading_one_patient_leaves_the_others_as_they_are():
    before = run(expect(), at(0, "ask", patient="q"), now=10).engine
    after = run(expect(), at(0, "ask"), now=10).engine
    after.load("q", before.dump("q"))
    assert told(after.advance(moment(60))) == ["30 firing 0", "30 firing 0"]


def test_merged_patients_are_dumped_each_for_itself_and_found_together():
    merged = [
        at(0, "ask"),
        at(5, "answer", patient="q"),
        at(6, "merge", patient="q", attributes={"into": "p"}),
    ]
    before = run(expect(), *merged, now=10).engine
    after = engine(expect())
    after.advance(moment(10))
    for patient in ("p", "q"):
        after.load(patient, before.dump(patient))
    assert standing(after) == standing(before)
    assert [verdict for _, verdict in standing(after)] == ["met"]


def test_an_unknown_patient_has_nothing_to_dump():
    watching = engine(expect())
    after = engine(expect())
    after.load("p", watching.dump("p"))
    assert list(after.verdicts()) == []


@pytest.mark.parametrize("packed", [b"", b"nonsense", b'[{"id":"e"}]'])
def test_what_is_no_dump_is_refused_and_changes_nothing(packed):
    watching = run(expect(), at(0, "ask"), now=10).engine
    before = standing(watching)
    with pytest.raises(msgspec.DecodeError):
        watching.load("p", packed)
    assert standing(watching) == before


# -- fold --------------------------------------------------------------------------------------------------


def folded(*events, now):
    """An engine in which every journey has been folded."""
    watching = run(expect(), *events, now=now).engine
    folded = watching.fold(moment(now))
    assert {each.patient for each in folded} == {event.patient for event in events}
    return watching


def test_a_folded_journey_is_dumped_and_judged_as_before():
    plain = run(expect(), at(0, "ask"), now=10).engine
    watching = folded(at(0, "ask"), now=10)
    assert watching.dump("p") == plain.dump("p")
    assert standing(watching) == standing(plain)
    assert watching.next_due() == plain.next_due()


def test_the_deadline_of_a_folded_journey_fires():
    watching = folded(at(0, "ask"), now=10)
    assert told(watching.advance(moment(31))) == told(
        run(expect(), at(0, "ask"), now=10).engine.advance(moment(31))
    )


def test_a_folded_journey_can_be_merged_into_another():
    watching = folded(at(5, "answer", patient="q"), at(0, "ask"), now=10)
    watching.observe(at(12, "merge", patient="q", attributes={"into": "p"}))
    watching.advance(moment(13))
    assert [verdict for _, verdict in standing(watching)] == ["met"]


def test_new_rules_hold_for_folded_journeys():
    watching = folded(at(0, "ask"), at(20, "answer"), now=25)
    assert lines(watching.use([expect(within="10m")], REGISTRY))[:1] == ["25 r: met -> late"]


def test_what_has_been_heard_of_lately_is_not_folded():
    watching = run(expect(), at(0, "ask"), now=10).engine
    assert watching.fold(moment(0)) == []


def test_only_so_many_are_folded_at_once():
    watching = run(expect(), at(0, "ask"), at(1, "ask", patient="q"), now=10).engine
    assert len(watching.fold(moment(10), 1)) == 1
    assert len(watching.fold(moment(10), 1)) == 1
    assert watching.fold(moment(10), 1) == []


def test_an_engine_goes_on_from_the_shelf_of_another():
    shelf = {}
    before = Engine([expect()], REGISTRY, shelf=shelf)
    before.observe(at(0, "ask"))
    before.advance(moment(10))
    [(patient, due, in_place, *_)] = before.fold(moment(10))
    assert (patient, due, in_place) == ("p", (moment(30), 1), False)
    after = Engine([expect()], REGISTRY, shelf=shelf)
    after.resume(moment(10), [(patient, due)])
    assert list(shelf) == ["p"]
    assert told(after.advance(moment(31))) == ["30 firing 0"]
    assert list(shelf) == []


def test_what_belongs_to_no_journey_is_not_kept():
    watching = run(expect(), now=10).engine
    assert [watching.keeps(at(0, kind)) for kind in ("ask", "other", "update", "heartbeat")] == [
        True,
        True,
        False,
        False,
    ]


def test_what_stands_of_a_patient_is_told_with_all_keys_that_merges_link():
    merge = at(12, "merge", patient="q", attributes={"into": "p"})
    watching = run(expect(), at(0, "ask"), merge, now=40).engine
    keys, verdicts, alerts = watching.stands("q")
    assert (keys, [each.verdict for each in verdicts], [each.state for each in alerts]) == (
        {"p", "q"},
        ["open"],
        ["firing"],
    )
    assert watching.stands("unknown") == ({"unknown"}, [], [])


def test_an_alert_says_where_the_patient_then_is():
    moves = [at(0, "admit", to="4W^1^A", patient="p"), at(5, "ask"), at(10, "transfer", to="4W^2^B")]
    [alert] = run(expect(), *moves, now=60).engine.alerts()
    assert (alert.place, alert.location) == ("ward", "4W^2^B")


def test_linked_journeys_that_are_over_can_be_forgotten():
    merge = at(2, "merge", patient="q", attributes={"into": "p"})
    watching = run(expect(), at(0, "ask"), at(1, "answer"), merge, now=40).engine
    assert watching.over(moment(2)) == []
    [keys] = watching.over(moment(3))
    assert keys == {"p", "q"}
    for key in keys:
        watching.forget(key)
    assert (watching.in_memory, standing(watching)) == (0, [])


def test_a_journey_that_is_folded_in_the_instant_in_which_its_feed_is_back_is_given_up_in_time():
    registry = Registry.model_validate({"sources": {"lab": {"silent_after": "20m"}}})
    waits = expect(within="30m", give_up="20m", feeds=["lab"])
    beats = [at(minute, "heartbeat", patient="-", source="lab") for minute in (0, 5)]
    back = at(50, "heartbeat", patient="-", source="lab")
    engine = Engine([waits], registry, listened=["lab"])
    changes = []
    for event in (*beats, at(0, "ask", arrived=5), back):
        changes += engine.observe(event)
    changes += engine.advance(moment(50))
    [(patient, due, *_)] = engine.fold(moment(100))
    assert (patient, due) == ("p", (moment(50), 1))
    changes += engine.advance(moment(60))
    assert [each for each in told(changes) if each.startswith("50 ")][-1] == "50 resolved missed"


# -- use ---------------------------------------------------------------------------------------------------


def test_new_rules_judge_the_journeys_as_they_stand():
    watching = run(expect(), at(0, "ask"), at(20, "answer"), now=25).engine
    changes = watching.use([expect(within="10m")], REGISTRY)
    assert lines(changes)[:1] == ["25 r: met -> late"]
    assert [verdict_of(case) for case in watching.verdicts()] == ["late by 10"]


def test_the_alert_of_a_rule_that_is_gone_is_withdrawn():
    watching = run(expect(), at(0, "ask"), now=40).engine
    assert told(watching.use([], REGISTRY)) == ["40 resolved withdrawn"]
    assert watching.advance(moment(9999)) == []


def test_the_alert_of_a_case_that_is_no_longer_overdue_is_withdrawn():
    watching = run(expect(), at(0, "ask"), now=40).engine
    assert told(watching.use([expect(within="1h")], REGISTRY)) == ["40 resolved withdrawn"]


def test_a_rule_is_the_same_rule_while_its_id_is():
    watching = run(expect(), at(0, "ask"), now=40).engine
    assert told(watching.use([expect(summary="another word for it")], REGISTRY)) == []
    assert lines(watching.use([expect(id="other")], REGISTRY)) == [
        "40 other: None -> overdue",
        "40 other: firing 0",
        "40 r: overdue -> None",
        "40 r: resolved withdrawn",
    ]


def test_an_unchanged_rule_goes_on():
    watching = run(expect(escalate=[{"after": "20m"}]), at(0, "ask"), now=40).engine
    watching.use([expect(escalate=[{"after": "20m"}])], REGISTRY)
    assert told(watching.advance(moment(60))) == ["50 firing 1"]


def test_a_new_generation_of_rules_has_higher_sequences():
    watching = run(expect(), at(0, "ask"), now=40).engine
    (withdrawn,) = alerts_of(watching.use([], REGISTRY))
    assert (watching.generation, withdrawn.sequence[0]) == (1, 1)


def test_a_new_registry_applies_to_the_past():
    to_intensive_care = rule(never={"to": "kind:icu"})
    watching = run(to_intensive_care, at(0, "admit", to="ANNEX^1"), now=5).engine
    assert list(watching.verdicts()) == []
    annexed = Registry.model_validate(
        {"microsystems": [{"id": "annex", "kind": "icu", "locations": ["ANNEX"]}]}
    )
    watching.use([to_intensive_care], annexed)
    assert [(case.verdict, case.to) for case in watching.verdicts()] == [("violated", "annex")]


# -- what is not kept --------------------------------------------------------------------------------------


def kept(of):
    return [event["type"] for event in msgspec.json.decode(of.dump("p"))]


def test_updates_that_no_rule_can_match_are_counted_and_not_kept():
    watching = run(expect(), at(0, "admit"), at(5, "update")).engine
    assert kept(watching) == ["admit"]
    assert watching.counts["updates"] == 1


@pytest.mark.parametrize("pattern", [{"type": "update"}, {"type": ["x", "up*"]}, {"to": "icu"}])
def test_updates_that_a_rule_can_match_are_kept(pattern):
    assert kept(run(rule(never=pattern), at(5, "update")).engine) == ["update"]


def test_updates_that_correct_or_cancel_are_kept():
    events = [at(0, "x"), at(1, "x"), at(5, "update", replaces="x@0"), at(6, "update", cancels="x@1")]
    assert kept(run(NEVER, *events).engine) == ["x", "x", "update", "update"]


def test_heartbeats_are_counted_and_not_kept():
    watching = run(rule(never={}), at(0, "heartbeat")).engine
    assert (watching.dump("p"), list(watching.verdicts())) == (engine().dump("p"), [])
    assert watching.counts["heartbeats"] == 1


def test_a_dump_holds_facts_and_nothing_derived():
    fields = {
        name for event in msgspec.json.decode(run(NEVER, at(0, "ask")).engine.dump("p")) for name in event
    }
    assert fields <= {field.encode_name for field in msgspec.structs.fields(Event)}


# -- what stands -------------------------------------------------------------------------------------------


def test_the_present_state_of_every_alert_that_ever_fired_can_be_asked_for():
    watching = run([expect(), rule(id="n", never=ANSWER)], at(0, "ask"), at(40, "answer"), now=50).engine
    present = sorted((change.rule, alert_of(change)) for change in watching.alerts())
    assert present == [("n", "40 firing 0"), ("r", "40 resolved late")]


def test_verdicts_are_those_of_the_clock():
    watching = engine(expect())
    watching.observe(at(0, "ask"))
    watching.advance(moment(30))
    assert [verdict_of(case) for case in watching.verdicts()] == ["open"]
    watching.advance(moment(31))
    assert [verdict_of(case) for case in watching.verdicts()] == ["overdue"]
    assert isinstance(watching.next_due(), datetime)


def test_loading_tells_what_changed_meanwhile_for_others():
    registry = Registry()
    engine, other = Engine([expect()], registry), Engine([expect()], registry)
    engine.observe(at(0, "ask"))
    engine.advance(moment(10))
    other.observe(at(60, "ask", patient="q"))
    other.advance(moment(60))
    changes = [*engine.load("q", other.dump("q")), *engine.advance(moment(70))]
    assert [
        (change.patient, minutes(change.at)) for change in changes if isinstance(change, AlertChange)
    ] == [("p", 30)]


def test_loading_loses_nothing_that_was_still_to_be_told():
    engine = Engine([expect()], Registry())
    engine.observe(at(0, "ask"))
    engine.advance(moment(35))
    engine.observe(at(40, "answer"))
    changes = engine.load("q", Engine([], Registry()).dump("q"))
    assert [change.reason for change in changes if isinstance(change, AlertChange)] == ["late"]


def test_a_new_registry_decides_when_a_feed_is_silent():
    def registry(limit):
        return Registry.model_validate({"sources": {"lab": {"silent_after": limit}}})

    engine = Engine([], registry("15m"), listened=("lab",))
    engine.observe(at(0, "heartbeat", source="lab"))
    engine.use([], registry("2h"))
    assert [minutes(change.at) for change in engine.advance(moment(130))] == [120]


def test_a_case_that_was_over_before_its_trigger_arrived_is_counted_stale():
    engine = Engine([expect(give_up="1h")], Registry())
    engine.observe(at(0, "ask", arrived=91))
    assert not [change for change in engine.advance(moment(100)) if isinstance(change, AlertChange)]
    assert engine.counts["stale"] == 1


def test_a_feed_and_the_cases_it_held_back_change_in_order_of_rule():
    registry = Registry.model_validate({"sources": {"lab": {"silent_after": "15m"}}})
    engine = Engine([expect(id="a")], registry, listened=("lab",))
    engine.observe(at(0, "ask", source="lab"))
    engine.observe(at(60, "heartbeat", source="lab"))
    changes = engine.advance(moment(60))
    assert [change.rule for change in changes if isinstance(change, AlertChange)] == ["a", "feed"]
