"""From one raw HL7 v2 message to canonical events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from monitor.core.engine import Engine
from monitor.core.event import Event, canonical_bytes
from monitor.core.place import Registry
from monitor.formats.hl7 import decode
from monitor.formats.mllp import messages
from monitor.formats.reject import Reject

STANDARD = Registry()


def profile(**settings: object) -> Registry:
    return Registry.model_validate({"sources": {"PAS/NORTH": settings}})


def field_list(fields: dict[int, str]) -> str:
    return "|".join(fields.get(number, "") for number in range(1, max(fields, default=0) + 1))


def hl7(
    trigger: str,
    *more: str,
    msh: dict[int, str] | None = None,
    evn: dict[int, str] | None = None,
    pid: dict[int, str] | None = None,
    pv1: dict[int, str] | None = None,
    end: str = "\r",
) -> bytes:
    header = {
        3: "PAS",
        4: "NORTH",
        7: "20260301120500+0000",
        9: f"ADT^{trigger}",
        10: "77",
        11: "P",
        12: "2.5",
    }
    lines = ["MSH|^~\\&|" + field_list(header | (msh or {})).removeprefix("||")]
    lines.append("EVN|" + field_list({1: trigger, 2: "20260301120500", 6: "20260301120000"} | (evn or {})))
    lines.append("PID|" + field_list({3: "P1^^^NORTH^MR", 18: "ACC1"} | (pid or {})))
    lines.append(
        "PV1|" + field_list({2: "I", 3: "W7^4^2^NORTH", 6: "ED^C1", 19: "V1", 42: "ICU^1"} | (pv1 or {}))
    )
    return "".join(line + end for line in (*lines, *more)).encode()


def events(message: bytes, registry: Registry = STANDARD) -> list[Event]:
    found = decode(message, registry)
    assert isinstance(found, list), found
    return found


def event(message: bytes, registry: Registry = STANDARD) -> Event:
    (only,) = events(message, registry)
    return only


def reject(message: bytes, registry: Registry = STANDARD) -> Reject:
    found = decode(message, registry)
    assert isinstance(found, Reject), found
    return found


def utc(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 3, 1, hour, minute, second, tzinfo=UTC)


# --- triggers -------------------------------------------------------------------------------------------------

W7, ED, ICU = "W7^4^2^NORTH", "ED^C1", "ICU^1"


@pytest.mark.parametrize(
    ("trigger", "type_", "from_", "to"),
    [
        ("A01", "admit", None, W7),
        ("A02", "transfer", ED, W7),
        ("A03", "discharge", W7, None),
        ("A04", "register", None, W7),
        ("A05", "pre_admit", None, W7),
        ("A06", "admit", ED, W7),
        ("A07", "register", ED, W7),
        ("A08", "update", None, None),
        ("A09", "depart", W7, ICU),
        ("A10", "arrive", ED, W7),
        ("A11", "cancel_admit", None, W7),
        ("A12", "cancel_transfer", W7, ED),
        ("A13", "cancel_discharge", W7, None),
        ("A14", "pending_admit", None, ICU),
        ("A15", "pending_transfer", W7, ICU),
        ("A16", "pending_discharge", W7, None),
        ("A20", "adt_a20", None, None),
        ("A21", "leave", W7, None),
        ("A22", "return", None, W7),
        ("A25", "cancel_pending_discharge", W7, None),
        ("A26", "cancel_pending_transfer", W7, ICU),
        ("A27", "cancel_pending_admit", None, ICU),
        ("A28", "update", None, None),
        ("A31", "update", None, None),
        ("A32", "cancel_arrive", W7, None),
        ("A33", "cancel_depart", W7, ICU),
        ("A38", "cancel_pre_admit", None, W7),
        ("A52", "cancel_leave", W7, None),
        ("A53", "cancel_return", None, W7),
        ("A54", "attending_doctor_changed", None, None),
        ("A55", "cancel_attending_doctor_changed", None, None),
        ("A60", "update", None, None),
        ("A61", "consulting_doctor_changed", None, None),
        ("A62", "cancel_consulting_doctor_changed", None, None),
        ("A99", "adt_a99", None, None),
    ],
)
def test_each_trigger_of_one_patient_is_one_event(trigger, type_, from_, to):
    found = event(hl7(trigger))
    assert (found.type, found.from_, found.to) == (type_, from_, to)
    assert (found.patient, found.encounter, found.source) == ("P1", "V1", "PAS/NORTH")
    assert (found.occurred_at, found.recorded_at) == (utc(12), utc(12, 5))
    assert found.attributes["trigger"] == trigger


def pair(trigger: str, *segments: str) -> bytes:
    head = f"MSH|^~\\&|PAS|NORTH|||20260301120500||ADT^{trigger}|77|P|2.5\rEVN||20260301120500\r"
    return (head + "\r".join(segments)).encode()


@pytest.mark.parametrize("trigger", ["A18", "A30", "A34", "A36", "A39", "A40", "A43", "A46", "A47"])
def test_a_patient_merge_moves_the_retired_patient_into_the_survivor(trigger):
    found = event(pair(trigger, "PID|||B^^^NORTH^MR", "MRG|A^^^NORTH^MR"))
    assert (found.type, found.patient, found.encounter) == ("merge", "A", None)
    assert found.attributes == {"into": "B", "trigger": trigger}


def test_repeated_groups_and_repeated_retired_identifiers_are_several_merges():
    found = events(pair("A40", "PID|||B", "MRG|A1~A2", "MRG|A3", "PID|||D", "MRG|C"))
    assert [(each.patient, each.attributes["into"]) for each in found] == [
        ("A1", "B"),
        ("A2", "B"),
        ("A3", "B"),
        ("C", "D"),
    ]
    assert len({each.id for each in found}) == 4


def test_a_merge_of_a_patient_and_an_account_is_two_events():
    found = events(pair("A36", f"PID|{field_list({3: 'B', 18: 'ACC2'})}", "MRG|A||ACC1"))
    assert [(each.patient, each.encounter, each.attributes) for each in found] == [
        ("A", None, {"into": "B", "trigger": "A36"}),
        ("A", "ACC1", {"encounter_into": "ACC2", "trigger": "A36"}),
    ]


@pytest.mark.parametrize("trigger", ["A35", "A41", "A49"])
def test_an_account_that_gets_another_number_is_renamed(trigger):
    found = event(pair(trigger, f"PID|{field_list({3: 'B', 18: 'ACC2'})}", "MRG|B||ACC1"))
    assert (found.type, found.patient, found.encounter) == ("merge", "B", "ACC1")
    assert found.attributes == {"encounter_into": "ACC2", "trigger": trigger}


@pytest.mark.parametrize("trigger", ["A42", "A50"])
def test_a_visit_that_gets_another_number_is_renamed(trigger):
    found = event(pair(trigger, "PID|||B", "MRG|B||ACC1||V1", f"PV1|{field_list({19: 'V2'})}"))
    assert (found.encounter, found.attributes["encounter_into"]) == ("V1", "V2")


def test_an_alternate_visit_that_gets_another_number_is_renamed():
    found = event(pair("A51", "PID|||B", "MRG|B|||||X1", f"PV1|{field_list({50: 'X2'})}"))
    assert (found.encounter, found.attributes["encounter_into"]) == ("X1", "X2")


def test_one_account_moves_to_another_patient():
    found = event(pair("A44", f"PID|{field_list({3: 'B', 18: 'ACC1'})}", "MRG|A||ACC1"))
    assert (found.patient, found.encounter) == ("A", "ACC1")
    assert found.attributes == {"into": "B", "moves": "encounter", "trigger": "A44"}


def test_one_visit_moves_to_another_patient():
    found = event(pair("A45", "PID|||B", "MRG|A||ACC1||V1", f"PV1|{field_list({19: 'V1'})}"))
    assert (found.patient, found.encounter) == ("A", "V1")
    assert found.attributes == {"into": "B", "moves": "encounter", "trigger": "A45"}


def test_a_merge_that_names_nobody_is_a_reject():
    found = reject(pair("A40", "PID|||B", "MRG|"))
    assert (found.reason, found.segment, found.field) == ("no-retired", "MRG", "MRG-1")


def test_a_swap_is_two_transfers():
    bed1, bed2 = field_list({3: "W^1", 6: "W^2", 19: "V1"}), field_list({3: "W^2", 19: "V2"})
    found = events(pair("A17", "PID|||A", f"PV1|{bed1}", "PID|||B", f"PV1|{bed2}"))
    assert [(each.type, each.patient, each.encounter, each.from_, each.to) for each in found] == [
        ("transfer", "A", "V1", "W^2", "W^1"),
        ("transfer", "B", "V2", "W^1", "W^2"),
    ]
    assert len({each.id for each in found}) == 2


def test_an_unlink_names_the_link_that_it_undoes_and_no_merge():
    link = event(pair("A24", "PID|||A", "PID|||B"))
    assert (link.type, link.patient, link.attributes["into"]) == ("merge", "A", "B")
    unlink = event(pair("A37", "PID|||B", "PID|||A"))
    assert (unlink.type, unlink.cancels) == ("cancel_merge", link.id)


@pytest.mark.parametrize("trigger", ["A23", "A29"])
def test_a_deletion_cancels_what_made_a_stay(trigger):
    found = events(hl7(trigger))
    assert [each.type for each in found] == [
        "cancel_pre_admit",
        "cancel_register",
        "cancel_admit",
        "cancel_transfer",
        "cancel_discharge",
    ]
    assert {each.occurred_at for each in found} == {utc(12, 5)}
    assert len({each.id for each in found}) == 5


def test_a_status_of_beds_without_a_patient_says_nothing_of_a_journey():
    assert decode(pair("A20", "NPU|W7^4^2|O"), STANDARD) == []


@pytest.mark.parametrize("kind", ["ORU^R01", "SIU^S12", "MDM^T02", "ACK", "ORU"])
def test_messages_that_are_not_adt_give_no_events(kind):
    assert decode(hl7("A01", msh={9: kind}), STANDARD) == []


@pytest.mark.parametrize(
    "kind",
    ["ADT^A02", "ADT^A02^ADT_A02", "ADT^ADT_A02", "ADT_A02", "ADT^^ADT_A02", "adt^a02", "ADT-A02", "^A02"],
)
def test_the_trigger_is_read_from_msh_9_and_never_from_evn_1(kind):
    assert event(hl7("A01", msh={9: kind})).type == "transfer"


@pytest.mark.parametrize("kind", ["", "ADT", "ADT^", "^^", "ADT^?", '""'])
def test_a_message_without_a_type_is_a_reject(kind):
    assert reject(hl7("A01", msh={9: kind})).field == "MSH-9"


# --- class changes, profile -----------------------------------------------------------------------------------


def test_a_class_change_names_the_account_before_it():
    assert events(hl7("A06", "MRG|||ACC0"))[0].attributes["prior_encounter"] == "ACC0"
    assert events(hl7("A07", "MRG|||ACC0||V0"))[0].attributes["prior_encounter"] == "V0"


@pytest.mark.parametrize(
    ("mrg", "pid", "pv1", "before", "after"),
    [
        ("MRG|||ACC0||V0", {}, {}, "V0", "V1"),
        ("MRG|||ACC0", {}, {}, "ACC0", "V1"),
        ("MRG|||ACC0", {}, {19: ""}, "ACC0", "ACC1"),
        ("MRG|||||V0", {}, {19: ""}, "V0", "ACC1"),
        ("MRG|||ACC0||ACC1", {}, {}, "ACC1", "V1"),
    ],
)
@pytest.mark.parametrize("trigger", ["A06", "A07"])
def test_a_class_change_under_a_new_number_renames_the_visit_before_it(trigger, mrg, pid, pv1, before, after):
    message = hl7(trigger, mrg, pid=pid, pv1=pv1)
    change, merge = events(message)
    assert change.encounter == after
    assert (merge.type, merge.patient, merge.encounter) == ("merge", "P1", before)
    assert merge.attributes == {"trigger": trigger, "encounter_into": after}
    assert (merge.occurred_at, merge.recorded_at) == (change.occurred_at, change.recorded_at)
    assert change.id.removesuffix("-0") == merge.id.removesuffix("-1")


@pytest.mark.parametrize(
    ("mrg", "pid", "pv1"),
    [
        ("MRG|P1^^^NORTH^MR", {}, {}),
        ("MRG|||ACC0||V1", {}, {}),  # the visit keeps its number, whatever becomes of the account
        ("MRG|||ACC1", {}, {}),
        ("MRG|||V1", {}, {}),
        ("MRG|||ACC0||V0", {18: ""}, {19: ""}),  # nothing to rename it to
    ],
)
def test_a_class_change_that_names_no_other_number_is_one_event(mrg, pid, pv1):
    assert [each.type for each in events(hl7("A06", mrg, pid=pid, pv1=pv1))] == ["admit"]


@pytest.mark.parametrize("action", ["CANCEL", "DELETE", "REFERENCE"])
def test_a_movement_of_a_class_change_that_is_taken_back_renames_nothing(action):
    movement = f"ZBE|4711^PAS^1.2^ISO|20260301120000||{action}"
    assert len(events(hl7("A06", "MRG|||||V0", movement))) == 1


def journey(*received: bytes) -> list[tuple[str | None, str, datetime, datetime | None]]:
    """The stays of what the messages say, once all have arrived: encounter, place, from when until when."""
    found = [each for message in received for each in events(message)]
    stays = Engine([], STANDARD).recall_stays(found, utc(23))
    return sorted(
        [(stay.encounter, stay.place, stay.entered_at, stay.left_at) for stay in stays],
        key=lambda stay: stay[2],
    )


REGISTERED = hl7("A04", evn={2: "20260301100100", 6: "20260301100000"}, pv1={3: ED, 19: "V0"})
ADMITTED = hl7("A06", "MRG|||ACC1||V0")
IN_ED, ON_WARD = ("V1", ED, utc(10), utc(12)), ("V1", W7, utc(12), None)


def test_one_stay_goes_on_when_an_admission_brings_a_new_visit_number():
    assert journey(REGISTERED, ADMITTED) == [IN_ED, ON_WARD]
    assert journey(ADMITTED, REGISTERED, ADMITTED) == [IN_ED, ON_WARD]


def test_a_copy_of_such_an_admission_under_another_control_id_changes_nothing():
    again = hl7("A06", "MRG|||ACC1||V0", msh={10: "78"})
    assert journey(REGISTERED, ADMITTED, again) == [IN_ED, ON_WARD]


@pytest.mark.parametrize("visit", ["V0", "V1"])
def test_when_such_an_admission_is_cancelled_the_patient_is_back_and_the_numbers_stay_one_visit(visit):
    cancelled = hl7("A11", evn={2: "20260301123000"}, pv1={19: visit})
    moved = hl7("A02", evn={2: "20260301130000", 6: "20260301130000"}, pv1={3: ICU, 19: visit})
    assert journey(REGISTERED, ADMITTED, cancelled) == [("V1", ED, utc(10), None)]
    assert journey(REGISTERED, ADMITTED, cancelled, cancelled, moved) == [
        ("V1", ED, utc(10), utc(13)),
        ("V1", ICU, utc(13), None),
    ]


def test_a_visit_that_gets_its_old_number_back_is_still_one_visit():
    back = hl7(
        "A07",
        "MRG|||ACC1||V1",
        evn={2: "20260301140000", 6: "20260301140000"},
        pv1={3: ED, 6: W7, 19: "V0"},
    )
    assert journey(REGISTERED, ADMITTED, back) == [
        ("V0", ED, utc(10), utc(12)),
        ("V0", W7, utc(12), utc(14)),
        ("V0", ED, utc(14), None),
    ]


def test_the_profile_gives_words_for_classes():
    assert event(hl7("A01"), profile(classes={"I": "inpatient"})).attributes["class"] == "inpatient"


def test_the_profile_may_say_that_an_a12_repeats_the_transfer():
    found = event(hl7("A12"), profile(a12_restored="PV1-6"))
    assert (found.from_, found.to) == (ED, W7)


def test_an_update_moves_only_where_the_profile_says_so():
    moves = profile(update_moves=True)
    assert (event(hl7("A08"), moves).type, event(hl7("A08"), moves).to) == ("transfer", W7)
    assert event(hl7("A08", pv1={3: ED}), moves).type == "update"
    assert event(hl7("A08", pv1={45: "20260301110000"}), moves).type == "update"
    assert event(hl7("A31"), moves).type == "update"


def test_the_patient_is_chosen_by_authority_and_type_else_the_first():
    pid = {3: "9^^^NHS&2.16.1&ISO^NH~P1^^^NORTH^MR~P2^^^NORTH^PI"}
    assert event(hl7("A01", pid=pid)).patient == "9"
    assert event(hl7("A01", pid=pid), profile(patient_id={"authority": "NORTH"})).patient == "P1"
    assert (
        event(hl7("A01", pid=pid), profile(patient_id={"authority": "NORTH", "type": "PI"})).patient == "P2"
    )
    assert event(hl7("A01", pid=pid), profile(patient_id={"authority": "2.16.1"})).patient == "9"
    assert event(hl7("A01", pid=pid), profile(patient_id={"authority": "WEST"})).patient == "9"


def test_the_same_choice_holds_for_the_retired_patient():
    message = pair("A40", "PID|||B^^^NORTH^MR", "MRG|1^^^NHS^NH~A^^^NORTH^MR")
    assert event(message, profile(patient_id={"authority": "NORTH"})).patient == "A"


def test_the_patient_of_old_versions_is_in_pid_2():
    assert event(hl7("A01", pid={2: "OLD", 3: ""})).patient == "OLD"


@pytest.mark.parametrize("sent", ["", '""', "^^^NORTH^MR", "  "])
def test_a_message_without_a_patient_is_a_reject(sent):
    found = reject(hl7("A01", pid={3: sent}))
    assert (found.reason, found.segment, found.field) == ("no-patient", "PID", "PID-3")


def test_the_account_stands_in_for_a_visit_number():
    assert event(hl7("A01", pv1={19: ""})).encounter == "ACC1"
    assert event(hl7("A01", pv1={19: '""'}, pid={18: ""})).encounter is None


def test_the_source_is_the_application_and_the_facility():
    assert event(hl7("A01", msh={3: "EPIC^1.2^ISO", 4: "HOSP^3.4^ISO"})).source == "EPIC/HOSP"
    assert event(hl7("A01", msh={4: ""})).source == "PAS"


def test_test_messages_and_test_patients_are_marked():
    assert "test" not in event(hl7("A01")).attributes
    assert event(hl7("A01", msh={11: "T"})).attributes["test"] is True
    assert event(hl7("A01", msh={11: "D^T"})).attributes["test"] is True
    marked = profile(test_patients=["ZZ*", "*^Testing"])
    assert event(hl7("A01", pid={3: "ZZ9"}), marked).attributes["test"] is True
    assert event(hl7("A01", pid={5: "Doe&van^Testing"}), marked).attributes["test"] is True
    assert "test" not in event(hl7("A01", pid={5: "Doe^Ann"}), marked).attributes


def test_attributes_tell_what_rules_may_test():
    pid = {5: "Doe^Ann", 29: "20260301113000+0100", 30: "Y"}
    found = event(hl7("A03", pid=pid, pv1={10: "SUR", 14: "7", 36: "01^Home", 37: "GP^1"}))
    assert found.attributes == {
        "trigger": "A03",
        "class": "I",
        "service": "SUR",
        "admit_source": "7",
        "disposition": "01",
        "discharged_to": "GP",
        "died": True,
        "died_at": "2026-03-01T10:30:00.000000Z",
    }


def test_a_leave_tells_when_the_patient_is_expected_back():
    found = event(hl7("A21", "PV2|" + field_list({47: "202603021800"})))
    assert found.attributes["expected_return"] == "2026-03-02T18:00:00.000000Z"


def test_a_departure_without_a_target_goes_to_the_temporary_place():
    found = event(hl7("A09", pv1={11: "XRAY", 42: ""}))
    assert (found.to, found.attributes["temporary_location"]) == ("XRAY", "XRAY")
    assert event(hl7("A10", pv1={3: "", 11: "XRAY"})).to == "XRAY"


def test_a_pending_transfer_may_have_no_target():
    assert event(hl7("A15", pv1={42: ""})).to is None


@pytest.mark.parametrize(
    ("sent", "place"),
    [
        ("ED^^^^", "ED"),
        ("^OMU^1", "^OMU^1"),
        (" ED ^ 2 ", "ED^2"),
        ('""', None),
        ('ED^""^3', "ED^^3"),
        ("^^^", None),
        ("A\\T\\E^1", "A&E^1"),
        ("ED~W7", "ED"),
    ],
)
def test_a_place_keeps_its_parts_without_empty_ones_at_the_end(sent, place):
    assert event(hl7("A01", pv1={3: sent})).to == place


# --- times ----------------------------------------------------------------------------------------------------


def test_the_event_time_is_evn_6_then_evn_2_then_msh_7():
    assert event(hl7("A02")).occurred_at == utc(12)
    assert event(hl7("A02", evn={6: ""})).occurred_at == utc(12, 5)
    found = event(hl7("A02", evn={2: "", 6: ""}, msh={7: "20260301115900"}))
    assert (found.occurred_at, found.recorded_at) == (utc(11, 59), utc(11, 59))


@pytest.mark.parametrize("trigger", ["A01", "A04"])
def test_the_admit_time_stands_between_evn_6_and_evn_2(trigger):
    pv1 = {44: "20260301110000", 45: "20260301113000"}
    assert event(hl7(trigger, pv1=pv1)).occurred_at == utc(12)
    assert event(hl7(trigger, evn={6: ""}, pv1=pv1)).occurred_at == utc(11)
    assert event(hl7("A02", evn={6: ""}, pv1=pv1)).occurred_at == utc(12, 5)


@pytest.mark.parametrize("trigger", ["A03", "A13"])
def test_the_discharge_time_stands_between_evn_6_and_evn_2(trigger):
    pv1 = {44: "20260301110000", 45: "20260301113000"}
    assert event(hl7(trigger, evn={6: ""}, pv1=pv1)).occurred_at == utc(11, 30)
    assert event(hl7(trigger, evn={6: ""}, pv1={44: "20260301110000"})).occurred_at == utc(12, 5)


def test_a_future_admit_or_discharge_time_is_a_plan_and_not_used():
    assert event(hl7("A03", evn={6: ""}, pv1={45: "20260301120501"})).occurred_at == utc(12, 5)
    assert event(hl7("A01", evn={6: ""}, pv1={44: "20260305"})).occurred_at == utc(12, 5)
    same_minute = event(hl7("A03", evn={2: "202603011205", 6: ""}, pv1={45: "20260301120530"}))
    assert same_minute.occurred_at == utc(12, 5, 30)


def test_the_profile_chooses_other_time_fields():
    assert event(hl7("A02"), profile(event_time=["EVN-2", "MSH-7"])).occurred_at == utc(12, 5)
    chosen = profile(event_time=["PV1-45", "PV1-44", "MSH-7"])
    assert event(hl7("A02", pv1={44: "20260301110000"}), chosen).occurred_at == utc(12, 5)
    assert event(hl7("A01", pv1={44: "20260301110000"}), chosen).occurred_at == utc(11)
    assert reject(hl7("A02", evn={2: ""}), profile(event_time=["EVN-2"])).reason == "no-time"


@pytest.mark.parametrize(
    ("sent", "at", "precision"),
    [
        ("2026", datetime(2026, 1, 1, tzinfo=UTC), "day"),
        ("202603", datetime(2026, 3, 1, tzinfo=UTC), "day"),
        ("20260301", utc(0), "day"),
        ("2026030112", utc(12), "hour"),
        ("202603011230", utc(12, 30), "minute"),
        ("20260301123015", utc(12, 30, 15), "second"),
        ("20260301123015.25", utc(12, 30, 15) + timedelta(milliseconds=250), "second"),
        ("20260301123015.", utc(12, 30, 15), "second"),
        ("20260301123015.123456789+0100", utc(11, 30, 15) + timedelta(microseconds=123456), "second"),
        ("202603011230-0500", utc(17, 30), "minute"),
        ("202603011230+0215", utc(10, 15), "minute"),
        ("202603011230+2359", datetime(2026, 2, 28, 12, 31, tzinfo=UTC), "minute"),
        ("20260301123015^S", utc(12, 30, 15), "second"),
        ("2026-03-01T12:30:15", utc(12, 30, 15), "second"),
        ("2026-03-01 12:30+01:00", utc(11, 30), "minute"),
        ("2026-03-01T12:30:15Z", utc(12, 30, 15), "second"),
    ],
)
def test_precision_is_the_digits_that_were_sent(sent, at, precision):
    found = event(hl7("A02", evn={6: sent}))
    assert (found.occurred_at, found.precision) == (at, precision)
    assert set(found.attributes) == {"trigger", "class"}


def test_a_time_without_a_zone_takes_that_of_msh_7_then_the_source_then_the_registry():
    berlin = Registry.model_validate(
        {"timezone": "Europe/Berlin", "sources": {"PAS/NORTH": {"timezone": "America/New_York"}}}
    )
    assert event(hl7("A02"), berlin).occurred_at == utc(12)
    assert event(hl7("A02", msh={7: "20260301120500"}), berlin).occurred_at == utc(17)
    assert event(hl7("A02", msh={3: "OTHER", 7: "20260301120500"}), berlin).occurred_at == utc(11)


def test_local_times_that_occur_twice_or_never_are_marked():
    london = Registry.model_validate({"timezone": "Europe/London"})
    twice = event(hl7("A02", msh={7: ""}, evn={6: "20261025013000"}), london)
    assert twice.occurred_at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert twice.attributes["ambiguous_time"] is True
    never = event(hl7("A02", msh={7: ""}, evn={6: "20260329013000"}), london)
    assert never.occurred_at == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert never.attributes["skipped_time"] is True


def test_an_offset_of_a_day_or_more_is_dropped_and_marked():
    found = event(hl7("A02", evn={6: "20260301123000+9900"}))
    assert (found.occurred_at, found.attributes["impossible_offset"]) == (utc(12, 30), True)


def test_a_time_that_cannot_be_read_leaves_the_word_to_the_next():
    found = event(hl7("A02", evn={6: "01/03/2026 12:00"}))
    assert (found.occurred_at, found.attributes["unreadable_time"]) == (utc(12, 5), "EVN-6")


@pytest.mark.parametrize(
    "sent", ["nonsense", "20261301", "0000", "00010101", "99991231", "2026030", "20260301250000"]
)
def test_a_message_without_a_readable_time_is_a_reject(sent):
    found = reject(hl7("A02", msh={7: sent}, evn={2: sent, 6: sent}))
    assert (found.reason, found.segment, found.field) == ("bad-time", "EVN", "EVN-6")


def test_a_message_without_any_time_is_a_reject():
    found = reject(hl7("A02", msh={7: ""}, evn={2: "", 6: ""}))
    assert (found.reason, found.field) == ("no-time", "MSH-7")


# --- identity -------------------------------------------------------------------------------------------------


def test_an_identical_resend_has_the_same_ids():
    first = events(hl7("A02"))
    resent = events(b"\x0b" + hl7("A02", msh={7: "20260301130000+0000"}, end="\r\n") + b"\x1c\r")
    assert [canonical_bytes(each) for each in first] == [canonical_bytes(each) for each in resent]


def test_other_content_with_the_same_control_id_is_another_event():
    assert event(hl7("A02")).id != event(hl7("A02", pv1={3: "W8"})).id


# --- ZBE ------------------------------------------------------------------------------------------------------


def zbe(trigger: str, action: str, original: str = "", start: str = "20260301090000") -> Event:
    return event(hl7(trigger, f"ZBE|4711^PAS^1.2^ISO|{start}||{action}|N|{original}"))


def test_an_inserted_movement_gives_its_event_the_movements_id():
    found = zbe("A02", "INSERT")
    assert (found.type, found.occurred_at, found.to) == ("transfer", utc(9), W7)
    assert found.id == zbe("A02", "", start="20260301093000").id


@pytest.mark.parametrize("trigger", ["Z99", "A02", "A08"])
def test_an_updated_movement_replaces_it_under_its_own_trigger(trigger):
    inserted, found = zbe("A02", "INSERT"), zbe(trigger, "UPDATE", "A02", "20260301091500")
    assert (found.type, found.replaces, found.occurred_at) == ("transfer", inserted.id, utc(9, 15))
    assert found.id != inserted.id


@pytest.mark.parametrize(
    ("trigger", "action", "original"),
    [
        ("A12", "CANCEL", "A02"),
        ("A12", "CANCEL", ""),
        ("Z99", "CANCEL", "A02"),
        ("A02", "DELETE", ""),
        ("A12", "", ""),
    ],
)
def test_a_cancelled_movement_is_named(trigger, action, original):
    found = zbe(trigger, action, original)
    assert (found.type, found.cancels, found.replaces) == ("cancel_transfer", zbe("A02", "INSERT").id, None)


@pytest.mark.parametrize(
    ("trigger", "action", "original"),
    [("A02", "REFERENCE", ""), ("A08", "INSERT", ""), ("Z99", "UPDATE", ""), ("Z99", "UPDATE", "A98")],
)
def test_a_message_that_only_refers_to_a_movement_moves_nothing(trigger, action, original):
    found = zbe(trigger, action, original)
    assert (found.type, found.to, found.cancels, found.replaces) == ("update", None, None, None)
    assert found.id != zbe("A02", "INSERT").id


# --- habits of real feeds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r\n", " \r\n"])
def test_any_line_end_reads_alike(end):
    found, plain = event(hl7("A02", end=end)), event(hl7("A02"))
    assert (found.to, found.from_, found.encounter, found.occurred_at) == (W7, ED, "V1", plain.occurred_at)


@pytest.mark.parametrize(
    ("encoding", "place"),
    [
        ("^~\\&", "A^1^B"),
        ("^~\\\\&", "A^1^B"),
        ("^~\\&#", "A^1^B"),
        ("^~", "A^1^B"),
        ("", "A^1^B"),
        ("^", "A^1^B"),
        ("^~\\", "A^1^B"),
    ],
)
def test_a_short_or_odd_msh_2_is_completed(encoding, place):
    message = hl7("A01", pv1={3: "A^1^B"}).replace(b"|^~\\&|", f"|{encoding}|".encode(), 1)
    assert event(message).to == place


def test_delimiters_of_the_senders_own():
    message = hl7("A01", pv1={3: "A^1^B"}).decode().translate(str.maketrans("|^~\\&", "#!*%@"))
    found = event(message.encode())
    assert (found.patient, found.to, found.source) == ("P1", "A^1^B", "PAS/NORTH")


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f", "a|b^c&d~e\\f"),
        ("\\X41\\\\X4243\\", "ABC"),
        ("\\XC3A9\\", "é"),
        ("\\XE9\\", "é"),
        ("\\H\\hot\\N\\", "hot"),
        ("a\\.br\\b", "a\nb"),
        ("a\\Z99\\b", "a\\Z99\\b"),
        ("a\\b", "a\\b"),
        ("a\\X4\\b", "a\\X4\\b"),
        ("\\", "\\"),
    ],
)
def test_escapes_are_read_and_unknown_ones_kept(sent, read):
    assert event(hl7("A01", pid={3: sent})).patient == read


def test_small_segment_names_any_order_repeats_and_unknown_segments():
    lines = hl7("A02", "ZZZ|1|x").decode().split("\r")
    lines[1:4] = [lines[3].replace("PV1", "pv1"), lines[2], lines[2].replace("P1", "P9"), lines[1]]
    found = event("\r".join(lines).encode())
    assert (found.patient, found.to, found.occurred_at) == ("P1", W7, utc(12))


def test_a_line_end_inside_a_field_does_not_lose_the_fields_after_it():
    message = hl7("A02", pid={5: "Doe^Ann\rMarie", 11: "1 Road\n|ignored"})
    assert (event(message).patient, event(message).to) == ("P1", W7)
    broken = hl7("A02", pid={5: "Doe\r^Ann"})
    assert event(broken).encounter == "V1"


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("", "utf-8"),
        ("", "latin-1"),
        ("UNICODE UTF-8", "utf-8"),
        ("UTF-8", "utf-8"),
        ("8859/1", "latin-1"),
        ("8859/15", "iso8859-15"),
        ("ISO IR100", "latin-1"),
        ("ISO IR 100", "latin-1"),
        ("ASCII", "latin-1"),
        ("ASCII~ISO IR87", "utf-8"),
        ("MARS", "utf-8"),
        ("MARS", "latin-1"),
        ("UNICODE UTF-16", "utf-16"),
        ("", "utf-16"),
        ("UNICODE", "utf-16-le"),
        ("UNICODE", "utf-16-be"),
        ("UNICODE UTF-8", "utf-8-sig"),
        ("UNICODE UTF-8", "latin-1"),
    ],
)
def test_character_sets(name, codec):
    message = hl7("A01", msh={18: name}, pv1={3: "Zürich"}).decode().encode(codec)
    assert event(message).to == "Zürich"


def test_the_same_bytes_in_another_character_set():
    message = hl7("A01", msh={18: "8859/5"}, pv1={3: "Палата"}).decode().encode("iso8859-5")
    assert event(message).to == "Палата"


@pytest.mark.parametrize(
    "junk", [b"", b"MSH", b"hello", b"EVN|A01\rPID|1||P1", b"MSHX", b"MSH \r", b"\0\xff\x0b"]
)
def test_bytes_that_are_no_message_are_a_reject(junk):
    assert reject(junk).reason == "no-msh"


def test_no_reject_tells_who_the_patient_is():
    for message in (hl7("A40"), hl7("A02", evn={2: "x", 6: "x"}, msh={7: "x"}), hl7("A01", msh={9: "ADT"})):
        assert "P1" not in repr(reject(message))


# --- a file of our own, and the real sets ---------------------------------------------------------------------


def test_one_bad_message_never_stops_a_file():
    data = (Path(__file__).parent / "hl7" / "ward_day.hl7").read_bytes()
    found = [decode(each, STANDARD) for each in messages(data)]
    assert isinstance(found[3], Reject)
    told = [[each.type for each in one] for one in found if isinstance(one, list)]
    assert told == [["register"], ["transfer"], ["cancel_transfer"], []]
    assert {each.encounter for one in found if isinstance(one, list) for each in one} == {"V900"}


DATA = Path(__file__).parents[3] / "shared" / "data" / "hl7v2"
with_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the public HL7 sets in {DATA}")


def decoded(path: Path) -> list[list[Event] | Reject]:
    return [decode(each, STANDARD) for each in messages(path.read_bytes())]


@with_data
def test_every_message_of_the_trigger_set_gives_events():
    triggers = set()
    for path in sorted((DATA / "fhir-converter").glob("*.hl7")):
        for found in decoded(path):
            assert isinstance(found, list), (path.name, found)
            assert found, path.name
            triggers |= {each.attributes["trigger"] for each in found}
    assert len(triggers) == 26


@with_data
def test_a_generated_feed_gives_its_401_adt_messages_all_marked_as_test():
    found = decoded(DATA / "simhospital" / "messages.out")
    told = [each[0] for each in found if each]
    assert (len(found), len(told)) == (1013, 401)
    assert all(each.attributes["test"] is True for each in told)
    assert sum(each.type == "merge" for each in told) == 1


@with_data
def test_one_message_with_two_kinds_of_line_ends_tells_the_same():
    unix, windows = (decoded(DATA / "linuxforhealth" / f"sample_{each}.hl7") for each in ("unix", "win"))
    (one,), (other,) = unix[0], windows[0]
    other.id = one.id  # the two differ in MSH-18, too
    assert canonical_bytes(one) == canonical_bytes(other)


@with_data
def test_what_the_parser_torture_set_holds_is_events_or_rejects():
    reasons = set()
    for path in sorted((DATA / "cosyte-edge").rglob("*hl7")):
        reasons |= {each.reason for each in decoded(path) if isinstance(each, Reject)}
    assert reasons == {"no-msh", "no-type", "no-patient", "bad-time"}
