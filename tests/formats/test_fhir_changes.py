"""From version to version: what differs is told, so that what stands is always what the last version says."""

from datetime import UTC, datetime, timedelta
from itertools import chain

import msgspec
import pytest
from fhir_making import HOSPITAL, at, bundle, encounter, period, read, time, told, visit
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitor.core.engine import Engine
from monitor.core.event import canonical_fields
from monitor.formats.fhir import Visit, changes

END = datetime(2024, 4, 1, tzinfo=UTC)
ED, WARD = at("ED", "10:00", "14:00"), at("4W", "14:00")


def follow(*versions, source=""):
    """What each version makes the monitor tell, and what is kept in the end."""
    kept = None
    said = []
    for version in versions:
        found = changes(version if isinstance(version, Visit) else visit(version, source), kept)
        kept = msgspec.json.decode(msgspec.json.encode(found.told), type=Visit)  # as it is kept on disk
        said.append(found.events)
    return said, kept


def together(said):
    return list(chain.from_iterable(said))


def words(events):
    return [told(event) for event in events]


def stays(events):
    """The effective stays, as the core derives them from all that was told."""
    found = Engine([], HOSPITAL).recall_stays(events, END)
    return [(each.patient, each.encounter, each.place, each.entered_at, each.left_at) for each in found]


def stays_after(*versions):
    said, _ = follow(*versions)
    return [
        (place, f"{entered:%H:%M}", left and f"{left:%H:%M}")
        for _, _, place, entered, left in stays(together(said))
    ]


# --- what is told -----------------------------------------------------------------------------------------------


def test_what_is_new_is_told_as_it_is():
    said, _ = follow(encounter(at("ED", "10:00"), made="11:00"), encounter(ED, WARD, made="15:00"))
    assert [words(each) for each in said] == [["10:00 register ED"], ["14:00 transfer 4W"]]
    assert said[1][0].recorded_at == datetime(2024, 3, 4, 15, tzinfo=UTC)


def test_a_version_that_comes_twice_tells_nothing():
    said, _ = follow(encounter(ED, WARD), encounter(ED, WARD))
    assert said[1] == []


def test_a_version_that_says_the_same_later_tells_nothing():
    said, _ = follow(encounter(ED, WARD, made="15:00"), encounter(ED, WARD, made="16:00"))
    assert said[1] == []


def test_an_outdated_version_changes_nothing():
    newer, older = encounter(ED, WARD, made="15:00"), encounter(at("ICU", "10:00"), made="11:00")
    said, kept = follow(newer, older, newer)
    assert said[1:] == [[], []]
    assert kept == follow(newer)[1]


def test_a_version_is_outdated_by_one_that_changed_nothing():
    first, wrong, right = (
        encounter(ED, made="11:00"),
        encounter(WARD, made="12:00"),
        encounter(ED, made="13:00"),
    )
    said, _ = follow(first, right, wrong)
    assert said[1:] == [[], []]


def test_of_versions_made_at_one_moment_the_number_tells_which_is_newer():
    one, two = (
        encounter(place, meta={"lastUpdated": time("15:00"), "versionId": number})
        for place, number in ((ED, "9"), (at("4W", "10:00"), "10"))
    )
    assert follow(two, one)[0][1] == []
    assert words(follow(one, two)[0][1]) == ["10:00 cancel_register ED", "10:00 register 4W"]


def test_what_does_not_say_when_it_was_made_is_taken_in_the_order_in_which_it_comes():
    late, right = encounter(at("ED", "10:30"), began="10:30"), encounter(at("ED", "10:00"), began="10:00")
    assert stays_after(undated(late), undated(right)) == [("ed", "10:00", None)]


def undated(document):
    return {name: value for name, value in document.items() if name != "meta"}


def test_a_correction_is_never_older_than_what_it_corrects():
    home = {"dischargeDisposition": {"text": "home"}}
    said, _ = follow(
        encounter(ED, ended="16:00", made="17:00"),
        undated(encounter(ED, ended="16:00", hospitalization=home)),
    )
    assert [(each.replaces, each.recorded_at.hour) for each in said[1]] == [("e1/discharge", 17)]


def test_a_version_without_a_date_does_not_make_older_ones_news():
    said, _ = follow(
        encounter(ED, made="15:00"), undated(encounter(ED)), encounter(at("ICU", "10:00"), made="11:00")
    )
    assert said[1:] == [[], []]


def test_changed_content_is_a_correction():
    said, _ = follow(
        encounter(ED, made="11:00"),
        encounter(ED, made="12:00", hospitalization={"admitSource": {"text": "gp"}}),
        encounter(ED, made="13:00", hospitalization={"admitSource": {"text": "emd"}}),
    )
    ids = ["e1/2024-03-04T10:00:00Z/00/ED" + suffix for suffix in ("", "~0001", "~0002")]
    assert [(each.id, each.replaces) for events in said for each in events] == list(
        zip(ids, [None, *ids], strict=False)
    )


def test_what_is_gone_is_cancelled_by_name():
    said, _ = follow(encounter(ED, WARD, made="15:00"), encounter(at("ED", "10:00"), made="16:00"))
    [cancel] = said[1]
    assert (cancel.type, cancel.cancels, cancel.to) == ("cancel_transfer", said[0][1].id, "4W")
    assert cancel.occurred_at == said[0][1].occurred_at


def test_what_is_told_has_not_arrived_yet():
    kept = changes(visit(encounter(ED)), None).told
    kept.events[0].arrived_at = END  # as the service stamps what it takes
    assert changes(visit(encounter(ED)), kept).events == []
    [cancel] = changes(visit(encounter(status="cancelled")), kept).events
    assert cancel.arrived_at is None


def test_what_comes_back_is_an_event_of_its_own():
    whole, half = encounter(ED, WARD), encounter(at("ED", "10:00"))
    said, _ = follow(whole, half, whole)
    [again] = said[2]
    assert (told(again), again.id, again.replaces) == ("14:00 transfer 4W", said[0][1].id + "~0002", None)
    assert stays_after(whole, half, whole) == stays_after(whole)


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_a_visit_that_never_was_takes_back_all_that_was_told(status):
    said, _ = follow(encounter(ED, WARD), encounter(ED, WARD, status=status))
    assert words(said[1]) == ["10:00 cancel_register ED", "14:00 cancel_transfer 4W"]
    assert stays(together(said)) == []


def test_a_deleted_encounter_takes_back_all_that_was_told():
    entry = {
        "request": {"method": "DELETE", "url": "Encounter/e1"},
        "response": {"lastModified": time("19:00")},
    }
    [gone] = read({"resourceType": "Bundle", "type": "history", "entry": [entry]}).visits
    said, kept = follow(encounter(ED), gone, gone)
    assert [words(each) for each in said] == [["10:00 register ED"], ["10:00 cancel_register ED"], []]
    assert stays_after(encounter(ED), gone, encounter(ED, made="20:00")) == [("ed", "10:00", None)]
    assert follow(gone)[0] == [[]]
    assert kept.key == "e1"


def test_a_discharge_that_is_taken_back_and_made_again():
    home, back = encounter(ED, ended="16:00", made="16:00"), encounter(ED, made="17:00")
    again = encounter(ED, ended="18:00", made="18:00")
    said, _ = follow(home, back, again)
    assert [words(each) for each in said[1:]] == [["16:00 cancel_discharge"], ["18:00 discharge"]]
    assert stays_after(home, back, again) == [("ed", "10:00", "18:00")]


def test_a_visit_of_another_patient_is_taken_back_and_told_anew():
    wrong, right = encounter(ED), encounter(ED, subject={"reference": "Patient/p2"})
    said, _ = follow(wrong, right)
    assert [(each.type, each.patient, each.replaces) for each in said[1]] == [
        ("cancel_register", "p1", None),
        ("register", "p2", None),
    ]
    assert [each[0] for each in stays(together(said))] == ["p2"]


def test_a_version_without_the_patient_leaves_the_identifier_as_it_was():
    patient = {"resourceType": "Patient", "id": "p1", "identifier": [{"system": "urn:rgh", "type": {"coding": [{"code": "MR"}]}, "value": "0817"}]}  # fmt: skip
    [whole] = read(bundle("collection", encounter(ED), patient), "profiled").visits
    said, _ = follow(whole, encounter(ED, WARD), source="profiled")
    assert [(told(each), each.patient) for each in said[1]] == [("14:00 transfer 4W", "0817")]


def test_a_move_from_bed_to_bed_inside_the_ward_tells_nothing():
    def level(code):
        return {"physicalType": {"coding": [{"code": code}]}}

    ward, bed = at("4W", "10:00", **level("wa")), at("1", "10:00", **level("bd"))
    left, next_bed = at("1", "10:00", "12:00", **level("bd")), at("2", "12:00", **level("bd"))
    said, _ = follow(encounter(ward, bed, made="11:00"), encounter(ward, left, next_bed, made="13:00"))
    assert [words(each) for each in said] == [["10:00 register 4W^^1"], []]


# --- what is only seen ------------------------------------------------------------------------------------------


def test_a_class_that_changes_with_a_move_makes_it_an_admission():
    said, _ = follow(encounter(ED, made="11:00"), encounter(ED, WARD, kind="IMP", made="15:00"))
    [admit] = said[1]
    assert (told(admit), admit.attributes) == ("14:00 admit 4W", {"class": "IMP", "prior_class": "EMER"})


def test_a_class_that_changes_in_place_is_an_admission_when_it_is_seen():
    admitted = encounter(at("ED", "10:00"), kind="IMP", made="12:00")
    said, _ = follow(encounter(at("ED", "10:00"), made="11:00"), admitted, encounter(ED, WARD, kind="IMP"))
    assert [words(each) for each in said[1:]] == [["12:00 admit ED"], ["14:00 transfer 4W"]]


def test_an_inpatient_who_becomes_an_outpatient_is_registered():
    said, _ = follow(
        encounter(at("4W", "10:00"), kind="IMP", made="11:00"),
        encounter(at("4W", "10:00"), kind="AMB", made="12:00"),
    )
    assert words(said[1]) == ["12:00 register 4W"]


def test_a_history_of_classes_corrects_what_was_seen():
    history = [
        {"class": {"code": "EMER"}, "period": period("10:00", "11:30")},
        {"class": {"code": "IMP"}, "period": period("11:30")},
    ]
    said, _ = follow(
        encounter(at("ED", "10:00"), made="11:00"),
        encounter(at("ED", "10:00"), kind="IMP", made="12:00"),
        encounter(at("ED", "10:00"), kind="IMP", classHistory=history, made="13:00"),
    )
    assert words(said[2]) == ["12:00 cancel_admit ED", "11:30 admit ED"]


def test_a_class_that_was_to_begin_later_is_replaced_by_the_present_one():
    history = [
        {"class": {"code": "EMER"}, "period": period("10:00", "16:00")},
        {"class": {"code": "IMP"}, "period": period("16:00")},
    ]
    said, _ = follow(
        encounter(at("ED", "10:00"), kind="IMP", classHistory=history, made="15:00"),
        encounter(at("ED", "10:00"), kind="AMB", made="15:30"),
    )
    assert [words(each) for each in said] == [
        ["10:00 register ED", "16:00 admit ED"],
        ["16:00 cancel_admit ED"],
    ]


def test_a_leave_and_its_return_are_told_when_they_are_seen():
    stay = at("4W", "10:00")
    said, _ = follow(
        encounter(stay, made="11:00"),
        encounter(stay, made="12:00", status="onleave"),
        encounter(stay, made="13:00", status="onleave"),
        encounter(stay, made="15:00"),
        encounter(stay, made="16:00"),
    )
    assert [words(each) for each in said[1:]] == [["12:00 leave"], [], ["15:00 return 4W"], []]


def test_who_is_discharged_from_a_leave_does_not_return():
    stay = at("4W", "10:00")
    said, _ = follow(encounter(stay, made="12:00", status="onleave"), encounter(stay, ended="15:00"))
    assert words(said[1]) == ["15:00 discharge"]


def test_a_discharge_from_a_leave_that_is_taken_back_leaves_the_patient_on_leave():
    stay = at("4W", "10:00")
    said, _ = follow(
        encounter(stay, made="12:00", status="onleave"),
        encounter(stay, ended="15:30", made="15:00"),
        encounter(stay, made="16:00"),
    )
    assert [words(each) for each in said[1:]] == [
        ["15:30 discharge"],
        ["15:30 cancel_discharge", "16:00 return 4W"],
    ]


def test_an_end_without_a_time_stays_when_it_was_first_seen():
    ended = encounter(at("4W", "10:00"), made="17:00", status="finished")
    said, _ = follow(ended, ended | {"meta": {"lastUpdated": time("18:00")}})
    assert [words(each) for each in said] == [["10:00 register 4W", "17:00 discharge"], []]


def test_a_stay_that_is_charted_late_does_not_change_the_class_before_it_was_seen():
    said, _ = follow(
        encounter(at("ED", "10:00"), made="11:00"),
        encounter(at("ED", "10:00"), kind="IMP", made="12:00"),
        encounter(at("ED", "10:00"), at("4W", "11:30"), kind="AMB", made="13:00"),
    )
    assert words(said[1]) == ["12:00 admit ED"]
    assert words(said[2]) == [
        "12:00 cancel_admit ED",
        "11:30 transfer 4W",
        "12:00 admit 4W",
        "13:00 register 4W",
    ]


def test_what_was_seen_is_told_again_when_a_cancelled_visit_comes_back():
    said, _ = follow(
        encounter(at("ED"), made="11:00"),
        encounter(at("4W"), made="15:00"),
        encounter(at("4W"), made="16:00", status="cancelled"),
        encounter(at("4W"), made="17:00"),
    )
    assert words(said[3]) == ["10:00 register ED", "15:00 transfer 4W"]


def test_a_place_without_a_period_that_changes_is_a_transfer_when_it_is_seen():
    said, _ = follow(
        encounter(at("ED"), made="11:00"),
        encounter(at("4W"), made="15:00"),
        encounter(at("4W"), made="16:00"),
    )
    assert [words(each) for each in said] == [["10:00 register ED"], ["15:00 transfer 4W"], []]


def test_a_sender_that_lists_only_the_present_place_takes_nothing_back():
    versions = (
        encounter(at("ED", "10:00"), made="11:00"),
        encounter(WARD, made="15:00"),
        encounter(ended="17:00"),
    )
    said, _ = follow(*versions)
    assert [words(each) for each in said] == [
        ["10:00 register ED"],
        ["14:00 transfer 4W"],
        ["17:00 discharge"],
    ]


def test_a_beginning_that_is_corrected_takes_back_what_was_before_it():
    wrong, right = encounter(at("ED", "10:00"), made="11:00"), encounter(WARD, began="14:00", made="15:00")
    assert stays_after(wrong, right) == [("ward", "14:00", None)]


def test_what_was_planned_stays_told_when_the_patient_comes():
    plan = encounter(status="planned", made="08:00", began="10:00")
    said, _ = follow(
        plan, plan | {"meta": {"lastUpdated": time("09:00")}}, encounter(at("ED", "10:00"), made="11:00")
    )
    assert [words(each) for each in said] == [["08:00 pre_admit"], [], ["10:00 register ED"]]
    assert words(follow(plan, encounter(status="cancelled"))[0][1]) == ["08:00 cancel_pre_admit"]


def test_the_service_of_a_stay_is_that_under_which_it_began():
    surgery, medicine = ({"coding": [{"code": code}]} for code in ("SURG", "MED"))
    said, _ = follow(encounter(ED, serviceType=surgery), encounter(ED, WARD, serviceType=medicine))
    assert [each.attributes["service"] for events in said for each in events] == ["SURG", "MED"]


def test_a_stay_is_known_again_by_a_local_time_that_occurs_twice():
    surgery, medicine = ({"coding": [{"code": code}]} for code in ("SURG", "MED"))
    stay = {"location": {"display": "ED"}, "period": {"start": "2024-10-27T01:30:00"}}
    one, other = encounter(stay, serviceType=surgery), encounter(stay, serviceType=medicine)
    assert follow(one, other)[0][1] == []


# --- any sequence of versions -----------------------------------------------------------------------------------

PLACES = ["ED", "4W", "ICU", "5W^7", "elsewhere"]
MINUTE = datetime(2024, 3, 4, 10, tzinfo=UTC)
CODES = ["EMER", "IMP"]


def moment(minute):
    return f"{MINUTE + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%SZ}"


@st.composite
def histories(draw):
    """Versions of one Encounter whose locations, classes and leaves all have times, from its beginning on."""
    versions = draw(st.integers(1, 6))
    return [draw(version(number)) for number in range(versions)]


@st.composite
def version(draw, number):
    minutes = draw(st.lists(st.integers(0, 6), min_size=1, max_size=4))  # few, so that they repeat
    spots = [
        {"location": {"display": draw(st.sampled_from(PLACES))}, "period": {"start": moment(each)}}
        for each in minutes
    ]
    change = draw(st.integers(0, 6))
    classes = [
        {"class": {"code": draw(st.sampled_from(CODES))}, "period": {"start": moment(0)}},
        {"class": {"code": draw(st.sampled_from(CODES))}, "period": {"start": moment(change)}},
    ]
    leave = draw(st.none() | st.integers(0, 5))
    history = [{"status": "in-progress", "period": {"start": moment(0)}}]
    if leave is not None:
        history.append({"status": "onleave", "period": {"start": moment(leave), "end": moment(leave + 1)}})
    status = draw(st.sampled_from(["in-progress", "in-progress", "finished", "cancelled"]))
    return {
        "resourceType": "Encounter",
        "id": draw(st.just("e1")),
        "meta": {"lastUpdated": moment(60 + number // 2), "versionId": str(number)},
        "status": status,
        "class": classes[1]["class"],
        "classHistory": classes,
        "statusHistory": history,
        "subject": {"reference": draw(st.sampled_from(["Patient/p1", "Patient/p1", "Patient/p2"]))},
        "period": {"start": moment(min(minutes)), "end": moment(draw(st.integers(7, 9)))},
        "location": spots,
    }


SOMEWHERE = st.builds(
    lambda place, when: {"location": {"display": place}} | when,
    st.sampled_from(["ED~", *PLACES]),
    st.just({}) | st.integers(0, 6).map(lambda minute: {"period": {"start": moment(minute)}}),
)


@st.composite
def wild(draw):
    """Versions that leave out whatever may be left out, and say things that do not fit together."""
    versions = []
    for _ in range(draw(st.integers(1, 6))):
        status = draw(
            st.sampled_from(["planned", "in-progress", "onleave", "finished", "unknown", "cancelled"])
        )
        is_dated = status == "planned" or draw(st.booleans())
        since = {"status": "onleave", "period": {"start": moment(2)}}
        fields = {
            "id": "e~1",
            "meta": {"lastUpdated": moment(draw(st.integers(0, 9)))} if is_dated else {},
            "status": status,
            "class": {"code": draw(st.sampled_from(CODES))},
            "period": {"start": moment(draw(st.integers(0, 3)))},
            "statusHistory": draw(st.sampled_from([[], [since]])),
        }
        versions.append(encounter(*draw(st.lists(SOMEWHERE, max_size=3)), **fields))
    return versions


def content(event):
    fields = canonical_fields(event)
    return {
        name: fields.get(name) for name in ("type", "patient", "encounter", "occurred_at", "to", "attributes")
    }


def standing(visit):
    return sorted((content(event) for event in visit.events if event.cancels is None), key=str)


@given(histories())
def test_what_stands_is_what_the_last_version_says(versions):
    said, kept = follow(*versions)
    alone = visit(versions[-1])
    everything = together(said)
    assert standing(kept) == sorted(map(content, alone.events), key=str)
    assert stays(everything) == stays(alone.events)
    assert len({(event.source, event.id) for event in everything}) == len(everything)


@given(histories())
def test_any_order_of_what_was_told_leads_to_the_same_stays(versions):
    said, _ = follow(*versions)
    everything = together(said)
    assert stays(everything[::-1]) == stays(everything)


@given(histories(), st.data())
def test_repeated_and_outdated_versions_change_nothing(versions, data):
    assume(len(versions) > 1)
    with_repeats = []
    for number, each in enumerate(versions):
        with_repeats += [each, versions[data.draw(st.integers(0, number))]]
    said, kept = follow(*versions)
    said_again, kept_again = follow(*with_repeats)
    assert together(said_again) == together(said)
    assert kept_again == kept


@given(histories())
def test_versions_in_any_order_end_where_the_newest_ends(versions):
    newest = follow(*versions)[1]
    assert standing(follow(*reversed(versions))[1]) == standing(newest)


@given(wild())
def test_what_is_kept_is_what_the_core_makes_of_all_that_was_told(versions):
    said, kept = follow(*versions)
    last_words = [replace(each, replaces=None) for each in kept.events if each.cancels is None]
    assert stays(together(said)) == stays(last_words)


@given(wild())
def test_the_version_that_came_last_tells_nothing_when_it_comes_again(versions):
    said, kept = follow(*versions, versions[-1])
    assert said[-1] == []
    assert kept == follow(*versions)[1]
