"""A journey as people read it, from the events of a chart."""

from datetime import UTC, datetime, timedelta

import pytest

from monitor.board.timeline import MOST, timeline
from monitor.core.event import Event, Ref
from monitor.core.place import Registry

NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)
REGISTRY = Registry.model_validate({"microsystems": [{"id": "ed", "locations": ["ED^*"]}]})


def event(name, kind, hour, patient="p", **fields):
    moment = NOW.replace(hour=0) + timedelta(hours=hour)
    return Event(id=name, type=kind, patient=patient, occurred_at=moment, arrived_at=moment, **fields)


def read(*events, patient="p", with_patient=True):
    return timeline("k3v7q2mzax", patient, events, [], REGISTRY, NOW, with_patient=with_patient)


def told(journey):
    return [(each.id, each.status, each.undone_by) for each in journey.events]


def test_events_stand_in_order_of_care_whatever_order_they_came_in():
    assert told(read(event("b", "transfer", 2), event("a", "admit", 1))) == [
        ("a", "counts", None),
        ("b", "counts", None),
    ]


def test_a_correction_stands_for_what_it_corrects_at_its_own_time():
    found = read(
        event("a", "admit", 3), event("b", "triage", 2), event("c", "admit", 1, replaces="a", recorded_at=NOW)
    )
    assert told(found) == [("c", "counts", None), ("b", "counts", None), ("a", "corrected", 0)]


def test_of_several_corrections_the_one_recorded_last_stands_for_all():
    chain = [
        event("a", "admit", 1),
        event("b", "admit", 3, replaces="a"),
        event("c", "admit", 2, replaces="b"),
    ]
    assert told(read(*chain)) == [("a", "corrected", 2), ("c", "corrected", 2), ("b", "counts", None)]


def test_corrections_in_a_circle_have_one_that_stands():
    circle = [event("a", "admit", 1, replaces="b"), event("b", "admit", 2, replaces="a")]
    assert told(read(*circle)) == [("a", "corrected", 1), ("b", "counts", None)]


def test_what_was_corrected_and_then_cancelled_says_both():
    found = read(
        event("a", "admit", 1),
        event("b", "admit", 2, replaces="a"),
        event("c", "cancel_admit", 3, cancels="a"),
    )
    assert told(found) == [("a", "corrected", 1), ("b", "cancelled", 2), ("c", "counts", None)]


def test_a_cancel_without_a_name_undoes_without_being_named():
    found = read(event("a", "admit", 1), event("b", "transfer", 2), event("c", "cancel_transfer", 2))
    assert told(found) == [("a", "counts", None), ("b", "cancelled", None), ("c", "counts", None)]


def test_a_cancel_of_another_source_is_found_by_both_its_names():
    found = read(
        event("a", "admit", 1, source="x"), event("a", "cancel_admit", 2, source="y", cancels=Ref("x", "a"))
    )
    assert [(each.source, each.status, each.undone_by) for each in found.events] == [
        ("x", "cancelled", 1),
        ("y", "counts", None),
    ]


def test_copies_of_an_event_are_told_once():
    assert told(read(event("a", "admit", 1), event("a", "admit", 1))) == [("a", "counts", None)]


def test_what_lies_in_the_future_is_coming():
    assert told(read(event("a", "discharge", 13))) == [("a", "coming", None)]


@pytest.mark.parametrize("patient", ["p", "q"])
def test_a_merge_leads_to_the_survivor_from_either_key(patient):
    events = [
        event("a", "admit", 1),
        event("b", "triage", 2, "q"),
        event("c", "merge", 3, "q", attributes={"into": "p"}),
    ]
    found = read(*events, patient=patient)
    assert found.patient == "p"
    assert [each.id for each in found.events] == ["a", "b", "c"]


def test_after_an_undone_merge_each_has_their_own_journey():
    events = [
        event("a", "admit", 1),
        event("b", "triage", 2, "q"),
        event("c", "merge", 3, "q", attributes={"into": "p"}),
        event("d", "cancel_merge", 4, "q", cancels="c"),
    ]
    assert [each.id for each in read(*events).events] == ["a"]
    assert told(read(*events, patient="q")) == [
        ("b", "counts", None),
        ("c", "cancelled", 2),
        ("d", "counts", None),
    ]


def test_places_are_named_as_the_registry_has_them_and_stays_follow():
    found = read(
        event("a", "register", 1, to="ED^1^1", encounter="v"),
        event("b", "transfer", 2, to="4W^2", encounter="v"),
        event("c", "discharge", 3, encounter="v"),
    )
    assert [(each.from_, each.to, each.place) for each in found.events] == [
        (None, "ed", "ed"),
        ("ed", "4W^2", "4W^2"),
        ("4W^2", None, None),
    ]
    assert [
        (each.place, each.entered_at.hour, each.left_at.hour, each.encounter) for each in found.stays
    ] == [
        ("ed", 1, 2, "v"),
        ("4W^2", 2, 3, "v"),
    ]


def test_of_a_very_long_journey_the_last_events_are_shown_and_the_others_counted():
    found = read(*(event(f"{number:05}", "triage", 0) for number in range(MOST + 5)))
    assert (len(found.events), found.left_out, found.events[0].number) == (MOST, 5, 5)


def test_without_the_right_to_see_patients_there_is_nothing_of_them():
    found = read(
        event(
            "secret-1",
            "admit",
            1,
            "secret-2",
            encounter="secret-3",
            to="ED^1^1",
            attributes={"secret-4": "secret-5"},
        ),
        patient="secret-2",
        with_patient=False,
    )
    assert len(found.events) == len(found.stays) == 1
    assert "secret" not in found.model_dump_json()


def test_a_patient_of_whom_nothing_is_known_has_an_empty_journey():
    assert read().events == []
