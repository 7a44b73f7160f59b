"""From events to the journey that counts: duplicates, corrections, cancels, merges, encounters and places
(contract, section 2)."""

from itertools import permutations

import pytest
from timeline import ASK, HOSPITAL, alerts, at, cases, expect, minutes, moment, rule, run, verdict, verdicts

from monitor.core.event import Ref
from monitor.core.journey import effective

EVERYTHING = rule(never={}, same=[])


def effects(*events, patient="p", **how):
    """The effective events of a patient, as a rule that matches every event sees them."""
    return [case for case in cases(EVERYTHING, *events, **how) if case.patient == patient]


def ids(*events, **how):
    return [case.trigger for case in effects(*events, **how)]


def places(*events, **how):
    """Each stay: the encounter, the place, from when until when."""
    found = sorted(run([], *events, **how).engine.stays(), key=lambda stay: (stay.patient, stay.entered_at))
    return [(stay.place, minutes(stay.entered_at), stay.left_at and minutes(stay.left_at)) for stay in found]


# -- what has arrived, and duplicates ----------------------------------------------------------------------


def test_an_event_is_known_from_its_arrival_on():
    assert ids(at(0, "x", arrived=10), now=9) == []
    assert ids(at(0, "x", arrived=10), now=10) == ["x@0"]


def test_an_equal_copy_changes_nothing_and_is_counted():
    found = run(EVERYTHING, at(0, "x", recorded=1), at(0, "x", recorded=1, arrived=9))
    assert len(found.cases) == 1
    assert (found.engine.counts["duplicates"], found.engine.counts["conflicts"]) == (1, 0)


def test_of_copies_that_differ_the_first_recorded_stands_and_they_are_counted():
    first, other = at(0, "y", id="e", recorded=4, arrived=9), at(0, "x", id="e", recorded=5)
    found = run(rule(never={"type": "y"}), other, first)
    assert len(found.cases) == 1
    assert (found.engine.counts["duplicates"], found.engine.counts["conflicts"]) == (0, 1)


def test_until_the_first_recorded_copy_arrives_the_other_stands():
    first, other = at(0, "y", id="e", recorded=4, arrived=9), at(0, "x", id="e", recorded=5)
    assert verdicts(rule(never={"type": "x"}), first, other, now=8) == ["violated"]
    assert verdicts(rule(never={"type": "x"}), first, other, now=9) == []


@pytest.mark.parametrize("arrivals", [(1, 2), (2, 1)])
def test_copies_recorded_at_one_instant_are_told_apart_by_their_bytes(arrivals):
    one, other = at(0, "x", id="e", arrived=arrivals[0]), at(0, "y", id="e", arrived=arrivals[1])
    assert verdicts(rule(never={"type": "x"}), one, other) == ["violated"]


def test_one_id_of_two_sources_is_two_events():
    assert ids(at(0, "x", id="e", source="a"), at(1, "x", id="e", source="b")) == ["e", "e"]


# -- corrections -------------------------------------------------------------------------------------------


def test_a_fact_has_the_id_of_its_root_and_the_content_of_the_last_recorded():
    (fact,) = effects(
        at(0, "x", id="a"),
        at(1, "x", id="b", replaces="a", recorded=9),
        at(2, "x", id="c", replaces="b", recorded=5),
    )
    assert (fact.trigger, minutes(fact.trigger_at)) == ("a", 1)


def test_corrections_recorded_at_one_instant_go_by_source_and_id():
    (fact,) = effects(
        at(0, "x", id="a"),
        at(1, "x", id="c", replaces="a", recorded=9),
        at(2, "x", id="b", replaces="a", recorded=9),
    )
    assert minutes(fact.trigger_at) == 1


def test_what_was_recorded_before_its_root_corrects_nothing():
    (fact,) = effects(at(0, "x", id="a", recorded=9), at(1, "x", id="b", replaces="a", recorded=5))
    assert minutes(fact.trigger_at) == 0


def test_a_correction_may_arrive_before_what_it_corrects():
    root, correction = at(0, "x", id="a", arrived=20), at(1, "x", id="b", replaces="a", recorded=9)
    assert ids(root, correction, now=19) == ["b"]
    assert ids(root, correction, now=20) == ["a"]


def test_a_bare_id_is_of_the_same_source():
    assert ids(at(0, "x", id="a", source="s"), at(1, "x", id="b", replaces="a", source="t")) == ["a", "b"]
    other = at(1, "x", id="b", replaces=Ref(source="s", id="a"), source="t")
    assert ids(at(0, "x", id="a", source="s"), other) == ["a"]


def test_in_a_cycle_the_first_recorded_is_the_root():
    one, other = at(0, "x", id="b", recorded=1, replaces="a"), at(0, "x", id="a", recorded=2, replaces="b")
    assert ids(one, other) == ["b"]


def test_a_correction_may_change_the_type():
    events = [at(0, "ask"), at(0, "asked", id="new", recorded=5, replaces="ask@0")]
    assert verdicts(rule(never=ASK), *events) == []
    assert ids(*events) == ["ask@0"]


# -- the future --------------------------------------------------------------------------------------------


def test_a_fact_in_the_future_takes_part_from_its_time_on():
    assert ids(at(30, "x", arrived=0), now=29) == []
    assert ids(at(30, "x", arrived=0), now=30) == ["x@30"]


def test_a_fact_in_the_future_is_counted():
    assert run([], at(30, "x", arrived=0), now=0).engine.counts["future"] == 1


def test_a_wrong_clock_expires_nothing():
    wrong = at(9999, "answer", arrived=10)
    assert alerts(expect(), at(0, "ask"), wrong, now=60) == ["30 firing 0"]


def test_a_cancel_in_the_future_waits_for_its_time():
    cancel = at(30, "cancel_x", arrived=5, cancels="x@0")
    assert ids(at(0, "x"), cancel, now=29) == ["x@0"]
    assert ids(at(0, "x"), cancel, now=30) == ["cancel_x@30"]


def test_a_fact_corrected_into_the_future_is_gone_until_then():
    moved = at(30, "x", id="new", arrived=5, recorded=5, replaces="x@0")
    assert ids(at(0, "x"), moved, now=4) == ["x@0"]
    assert ids(at(0, "x"), moved, now=5) == []
    assert ids(at(0, "x"), moved, now=30) == ["x@0"]


# -- cancels that name their target ------------------------------------------------------------------------


def test_a_cancel_removes_what_it_names_and_stays_itself():
    assert ids(at(0, "x"), at(5, "cancel_x", cancels="x@0")) == ["cancel_x@5"]


def test_any_event_may_cancel_by_name():
    assert ids(at(0, "x"), at(5, "regret", cancels="x@0")) == ["regret@5"]


def test_a_cancel_may_name_any_member_of_a_fact():
    correction = at(1, "x", id="new", replaces="x@0")
    assert ids(at(0, "x"), correction, at(5, "cancel_x", cancels="new")) == ["cancel_x@5"]


def test_a_cancel_that_names_something_unknown_waits_and_never_infers():
    cancel = at(5, "cancel_x", cancels="later")
    assert ids(at(0, "x"), cancel) == ["x@0", "cancel_x@5"]
    assert ids(at(0, "x"), cancel, at(3, "x", id="later", arrived=9)) == ["x@0", "cancel_x@5"]


def test_a_cancel_is_undone_by_one_that_names_it():
    named = [at(0, "x"), at(5, "cancel_x", cancels="x@0"), at(6, "undo", cancels="cancel_x@5")]
    inferred = [at(0, "x"), at(5, "cancel_x"), at(6, "undo", cancels="cancel_x@5")]
    assert ids(*named) == ids(*inferred) == ["x@0", "undo@6"]


def test_a_cancel_is_not_cancelled_by_inference():
    assert "cancel_x@5" in ids(at(0, "x"), at(5, "cancel_x"), at(6, "cancel_cancel_x"))


def test_of_two_cancels_that_name_each_other_the_first_acts():
    one, other = at(1, "undo", id="a", cancels="b"), at(2, "undo", id="b", cancels="a")
    assert ids(one, other) == ["a"]


# -- cancels that name nothing -----------------------------------------------------------------------------


def test_it_means_the_event_of_equal_time():
    assert ids(at(0, "x"), at(5, "x"), at(0, "cancel_x", arrived=6)) == ["cancel_x@0", "x@5"]


def test_times_are_equal_at_the_coarser_precision():
    to_the_minute = at(2, "cancel_x", precision="minute", arrived=9)
    assert ids(at(2.5, "x"), at(1, "x"), to_the_minute) == ["x@1", "cancel_x@2"]


def test_of_several_of_equal_time_it_means_the_one_with_the_places_it_gives():
    one, other = at(0, "x", id="a", to="icu"), at(0, "x", id="b")
    assert ids(one, other, at(0, "cancel_x", id="c", to="icu")) == ["b", "c"]


def test_of_several_of_equal_time_it_means_the_last():
    assert ids(at(0, "x", id="a"), at(0, "x", id="b"), at(0, "cancel_x", id="c")) == ["a", "c"]


def test_without_one_of_equal_time_it_means_the_last_before_it():
    assert ids(at(0, "x"), at(5, "x"), at(6, "cancel_x"), at(7, "x")) == ["x@0", "cancel_x@6", "x@7"]


def test_the_last_before_it_is_one_that_is_not_removed():
    explicit = at(6, "cancel_x", id="by name", cancels="x@5")
    assert ids(at(0, "x"), at(5, "x"), explicit, at(7, "cancel_x")) == ["by name", "cancel_x@7"]


def test_of_equal_time_it_means_even_one_that_is_removed_already():
    explicit = at(6, "cancel_x", id="by name", cancels="x@5")
    again = at(5, "cancel_x", arrived=8)
    assert ids(at(0, "x"), at(5, "x"), explicit, again) == ["x@0", "cancel_x@5", "by name"]


def test_cancels_that_agree_are_one_event():
    repeats = [at(6, "cancel_x", id="a"), at(6, "cancel_x", id="b", arrived=9)]
    assert ids(at(0, "x"), at(5, "x"), *repeats) == ["x@0", "a"]


def test_cancels_of_two_times_are_two():
    assert ids(at(0, "x"), at(5, "x"), at(6, "cancel_x"), at(7, "cancel_x")) == ["cancel_x@6", "cancel_x@7"]


def test_the_encounter_written_on_a_cancel_restricts_it():
    one, other = at(0, "x", encounter="a"), at(5, "x", encounter="b")
    assert ids(one, other, at(6, "cancel_x", encounter="a")) == ["x@5", "cancel_x@6"]
    assert ids(one, other, at(6, "cancel_x")) == ["x@0", "cancel_x@6"]


def test_it_means_only_events_of_its_type():
    assert ids(at(0, "x"), at(5, "y"), at(6, "cancel_y")) == ["x@0", "cancel_y@6"]


def test_a_cancelled_admission_is_an_admit_before_it_is_a_register():
    assert ids(at(0, "admit"), at(1, "register"), at(5, "cancel_admit")) == ["register@1", "cancel_admit@5"]
    assert ids(at(1, "register"), at(5, "cancel_admit")) == ["cancel_admit@5"]


def test_a_register_of_equal_time_goes_before_an_earlier_admit():
    events = [at(0, "admit"), at(5, "register"), at(5, "cancel_admit", arrived=6)]
    assert ids(*events) == ["admit@0", "cancel_admit@5"]


def test_a_cancel_that_finds_nothing_stays_and_undoes_nothing():
    assert ids(at(5, "cancel_x"), at(7, "x")) == ["cancel_x@5", "x@7"]


def test_a_cancel_may_arrive_before_what_it_means():
    assert ids(at(5, "cancel_x"), at(0, "x", arrived=9)) == ["cancel_x@5"]


def test_a_cancel_concerns_its_own_patient():
    assert ids(at(0, "x"), at(5, "cancel_x", patient="q")) == ["x@0"]


def test_a_cancelled_discharge_puts_the_patient_back():
    events = [at(0, "admit", to="icu"), at(10, "discharge"), at(10, "cancel_discharge", arrived=20)]
    assert places(*events, now=19) == [("icu", 0, 10)]
    assert places(*events, now=20) == [("icu", 0, None)]


# -- order -------------------------------------------------------------------------------------------------

RANKS = [
    "pre_admit",
    "register",
    "pending_admit",
    "admit",
    "return",
    "handoff_signed",
    "pending_transfer",
    "pending_discharge",
    "depart",
    "arrive",
    "transfer",
    "update",
    "leave",
    "discharge",
    "merge",
    "cancel_x",
]


def test_at_one_instant_events_are_ordered_by_rank_of_type():
    found = effective([at(0, kind) for kind in sorted(RANKS)], moment(0))
    assert [fact.event.type for fact in found.journeys["p"]] == RANKS


def test_order_is_by_time_then_rank_then_source_then_id():
    events = [
        at(1, "admit", id="e"),
        at(0, "x", id="b", source="t"),
        at(0, "x", id="d", source="s"),
        at(0, "x", id="c", source="s"),
        at(0, "admit", id="z", source="z"),
    ]
    found = effective(events, moment(9))
    assert [fact.id for fact in found.journeys["p"]] == ["z", "c", "d", "b", "e"]


# -- encounters --------------------------------------------------------------------------------------------


def encounters(*events, **how):
    return {case.trigger: case.encounter for case in effects(*events, **how)}


def test_an_event_without_encounter_belongs_to_the_only_open_one():
    events = [
        at(0, "x"),
        at(1, "admit", encounter="a"),
        at(2, "x"),
        at(3, "discharge", encounter="a"),
        at(4, "x"),
    ]
    found = encounters(*events)
    assert (found["x@0"], found["x@2"], found["x@4"]) == (None, "a", None)


def test_with_several_open_encounters_it_belongs_to_none():
    events = [at(0, "admit", encounter="a"), at(1, "register", encounter="b"), at(2, "x")]
    assert encounters(*events)["x@2"] is None
    assert encounters(*events, at(1.5, "discharge", encounter="a"))["x@2"] == "b"


@pytest.mark.parametrize("kind", ["register", "admit", "transfer", "arrive", "return"])
def test_what_opens_an_encounter(kind):
    assert encounters(at(0, kind, encounter="a"), at(1, "x"))["x@1"] == "a"


@pytest.mark.parametrize("kind", ["pre_admit", "pending_admit", "depart", "leave", "update", "x"])
def test_what_opens_no_encounter(kind):
    assert encounters(at(0, kind, encounter="a"), at(1, "x"))["x@1"] is None


def test_a_discharge_without_encounter_closes_the_only_open_one():
    assert encounters(at(0, "admit", encounter="a"), at(1, "discharge"), at(2, "x"))["x@2"] is None


def test_an_encounter_that_is_used_again_is_open_again():
    events = [at(0, "admit", encounter="a"), at(1, "discharge"), at(2, "return", encounter="a"), at(3, "x")]
    assert encounters(*events)["x@3"] == "a"


def test_a_cancelled_admission_opened_nothing():
    cancelled = [at(0, "admit", encounter="a"), at(1, "cancel_admit", encounter="a")]
    assert encounters(*cancelled, at(2, "x"))["x@2"] is None


# -- places ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["register", "admit", "transfer", "arrive", "return"])
def test_what_puts_the_patient_in_a_place(kind):
    assert places(at(0, kind, to="icu")) == [("icu", 0, None)]


@pytest.mark.parametrize(
    "kind", ["pre_admit", "pending_transfer", "depart", "leave", "update", "handoff_signed"]
)
def test_what_moves_no_one(kind):
    assert places(at(0, "admit", to="icu"), at(5, kind, to="ward")) == [("icu", 0, None)]


def test_a_discharge_takes_the_patient_out():
    assert places(at(0, "admit", to="icu"), at(5, "discharge", to="home")) == [("icu", 0, 5)]


def test_a_return_without_a_place_changes_none():
    assert places(at(0, "admit", to="icu"), at(5, "leave"), at(9, "return")) == [("icu", 0, None)]


def test_a_move_inside_one_microsystem_is_no_new_stay():
    moves = [at(0, "admit", to="ICU^1"), at(5, "transfer", to="ICU^2"), at(9, "transfer", to="4W^1")]
    assert places(*moves) == [("icu", 0, 9), ("ward", 9, None)]


def test_a_location_that_maps_to_no_microsystem_keeps_its_name():
    assert places(at(0, "admit", to="XRAY^2"), at(5, "discharge")) == [("XRAY^2", 0, 5)]


def test_an_event_without_from_takes_the_place_just_before_it():
    found = effects(at(0, "admit", to="ICU^1"), at(5, "transfer", to="4W"), at(9, "discharge"), at(12, "x"))
    assert [(case.from_, case.to) for case in found] == [
        (None, "icu"),
        ("icu", "ward"),
        ("ward", None),
        (None, None),
    ]


def test_a_from_that_is_given_stands():
    found = effects(at(0, "admit", to="icu"), at(5, "transfer", from_="ED^3", to="ward"))
    assert found[1].from_ == "ed"


def test_places_are_kept_for_each_encounter():
    events = [at(0, "admit", to="icu", encounter="a"), at(5, "admit", to="ward", encounter="b")]
    assert places(*events, at(9, "discharge", encounter="a")) == [("icu", 0, 9), ("ward", 5, None)]


def test_a_stay_tells_its_encounter_kind_and_where_from_and_to():
    events = [
        at(0, "admit", encounter="a", to="ed"),
        at(5, "transfer", encounter="a", to="icu"),
        at(9, "transfer", encounter="a", to="ward"),
    ]
    stay = next(stay for stay in run([], *events).engine.stays() if stay.place == "icu")
    assert (stay.patient, stay.encounter, stay.kind, stay.from_, stay.to) == ("p", "a", "icu", "ed", "ward")


def test_an_event_in_between_that_arrives_late_is_put_in_its_place():
    late = at(5, "transfer", to="icu", arrived=20)
    events = [at(0, "admit", to="ed"), at(9, "transfer", to="ward"), late]
    assert places(*events, now=19) == [("ed", 0, 9), ("ward", 9, None)]
    assert places(*events, now=20) == [("ed", 0, 5), ("icu", 5, 9), ("ward", 9, None)]


# -- merges ------------------------------------------------------------------------------------------------


def merge(minute, patient, into, **fields):
    return at(minute, "merge", **{"patient": patient, "attributes": {"into": into}} | fields)


def test_a_merge_moves_all_events_past_and_future():
    events = [at(0, "x"), at(1, "x", patient="q"), merge(5, "q", "p"), at(9, "x", patient="q")]
    assert ids(*events) == ["x@0", "x@1", "merge@5", "x@9"]
    assert ids(*events, patient="q") == []


def test_before_the_merge_arrives_the_journeys_are_apart():
    events = [at(0, "x", patient="q"), merge(5, "q", "p", arrived=9)]
    assert ids(*events, now=8) == []
    assert ids(*events, now=9) == ["x@0", "merge@5"]


def test_an_answer_on_the_retired_key_counts():
    events = [at(0, "ask"), at(20, "answer", patient="q"), merge(40, "q", "p")]
    assert alerts(expect(), *events) == ["30 firing 0", "40 resolved charted_late"]


def test_merges_follow_each_other():
    assert ids(at(0, "x", patient="r"), merge(5, "r", "q"), merge(6, "q", "p")) == [
        "x@0",
        "merge@5",
        "merge@6",
    ]


def test_a_cancelled_merge_is_undone():
    events = [at(0, "x", patient="q"), merge(5, "q", "p")]
    assert ids(*events, at(9, "cancel_merge", patient="q")) == []
    assert ids(*events, at(9, "cancel_merge", patient="q", cancels="merge@5")) == []


def test_of_several_merges_of_one_key_the_last_stands():
    assert ids(at(0, "x", patient="q"), merge(5, "q", "r"), merge(6, "q", "p")) == [
        "x@0",
        "merge@5",
        "merge@6",
    ]


def test_a_merge_that_would_close_a_cycle_brings_its_survivor_back():
    back_and_forth = [merge(5, "q", "p", id="first"), merge(6, "p", "q", id="second")]
    assert ids(at(0, "x"), at(1, "x", patient="q"), *back_and_forth) == []
    assert ids(at(0, "x"), at(1, "x", patient="q"), *back_and_forth, patient="q") == [
        "x@0",
        "x@1",
        "first",
        "second",
    ]


def test_a_merge_of_one_encounter_moves_only_its_events():
    moved = at(5, "merge", patient="q", encounter="a", attributes={"into": "p", "moves": "encounter"})
    events = [at(0, "x", patient="q", encounter="a"), at(1, "x", patient="q", encounter="b"), moved]
    assert ids(*events) == ["x@0", "merge@5"]
    assert ids(*events, patient="q") == ["x@1"]


def test_an_encounter_may_be_renamed():
    renamed = at(5, "merge", encounter="a", attributes={"encounter_into": "b"})
    assert encounters(at(0, "x", encounter="a"), renamed, at(9, "x", encounter="a")) == {
        "x@0": "b",
        "merge@5": "b",
        "x@9": "b",
    }


def test_a_moved_encounter_may_be_renamed():
    values = {"into": "p", "moves": "encounter", "encounter_into": "c"}
    moved = at(5, "merge", patient="q", encounter="a", attributes=values)
    assert encounters(at(0, "x", patient="q", encounter="a"), moved)["x@0"] == "c"


@pytest.mark.parametrize("attributes", [{}, {"into": "p"}, {"into": 7}])
def test_a_merge_into_nobody_does_nothing_but_can_be_matched(attributes):
    assert ids(at(0, "x"), at(5, "merge", attributes=attributes)) == ["x@0", "merge@5"]


def test_unnamed_encounters_stay_apart_by_original_patient():
    events = [at(0, "admit", to="icu"), at(5, "admit", to="ward", patient="q"), merge(9, "q", "p")]
    assert places(*events) == [("icu", 0, None), ("ward", 5, None)]


# -- the whole ---------------------------------------------------------------------------------------------


def test_once_all_have_arrived_the_order_of_arrival_does_not_matter():
    events = [
        ("ask", 0, {}),
        ("answer", 5, {}),
        ("cancel_answer", 5, {}),
        ("answer", 45, {"id": "moved"}),
        ("answer", 40, {"replaces": "moved", "recorded": 50}),
    ]
    for arrivals in permutations(range(100, 105)):
        told = [
            at(minute, kind, arrived=arrived, **fields)
            for arrived, (kind, minute, fields) in zip(arrivals, events, strict=True)
        ]
        assert verdict(expect(), *told) == "late by 10"


def test_other_patients_never_change_anything():
    others = [
        at(minute, kind, patient="q") for minute in (5, 10, 35) for kind in ("ask", "answer", "cancel_ask")
    ]
    found = run(expect(), at(0, "ask"), *others, now=60)
    mine = [change for change in found.alerts if change.patient == "p"]
    assert [minutes(change.at) for change in mine] == [30]


def test_a_journey_maps_places_by_the_registry_of_the_day():
    bare = {**HOSPITAL, "microsystems": []}
    assert places(at(0, "admit", to="ICU^1"), registry=bare) == [("ICU^1", 0, None)]
    assert places(at(0, "admit", to="ICU^1")) == [("icu", 0, None)]
