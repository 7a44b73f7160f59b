"""What an Encounter, alone or in a Bundle, is read as."""

import json
from datetime import UTC, datetime

import pytest
from fhir_making import HOSPITAL, at, bundle, encounter, period, read, story, time, visit

from monitor.formats.canonical import encode
from monitor.formats.fhir import decode
from monitor.formats.reject import Reject

EMERGENCY = [at("ED", "10:00", "14:00"), at("4W", "14:00")]


def r5(*locations, status="in-progress", **more):
    return {
        "resourceType": "Encounter",
        "id": "e1",
        "meta": {"lastUpdated": time("18:00")},
        "status": status,
        "class": [{"coding": [{"system": "http://local", "code": "x"}, {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"}]}],
        "subject": {"reference": "Patient/p1"},
        "actualPeriod": period("10:00"),
        "location": list(locations),
    } | more  # fmt: skip


# --- what becomes of an Encounter -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["IMP", "ACUTE", "NONAC"])
def test_an_inpatient_is_admitted_then_transferred_then_discharged(kind):
    document = encounter(at("4W", "10:00", "12:00"), at("ICU", "12:00", "16:00"), kind=kind, ended="16:00")
    assert story(document) == ["10:00 admit 4W", "12:00 transfer ICU", "16:00 discharge"]


@pytest.mark.parametrize("kind", ["EMER", "AMB", "OBSENC"])
def test_anybody_else_is_registered(kind):
    assert story(encounter(*EMERGENCY, kind=kind)) == ["10:00 register ED", "14:00 transfer 4W"]


def test_one_event_in_full():
    document = encounter(
        at("4W", "10:00"),
        kind="IMP",
        identifier=[{"value": "other"}, {"type": {"coding": [{"code": "VN"}]}, "value": "V7"}],
        hospitalization={"admitSource": {"coding": [{"code": "emd"}]}},
        serviceType={"coding": [{"code": "SURG"}]},
    )
    assert json.loads(encode(visit(document).events[0])) == {
        "attributes": {"admit_source": "emd", "class": "IMP", "service": "SURG"},
        "encounter": "V7",
        "id": "e1/2024-03-04T10:00:00Z/00/4W",
        "occurred_at": "2024-03-04T10:00:00.000000Z",
        "patient": "p1",
        "precision": "second",
        "recorded_at": "2024-03-04T18:00:00.000000Z",
        "source": "fhir",
        "to": "4W",
        "type": "admit",
    }


def test_a_discharge_says_where_to():
    document = encounter(
        at("4W", "10:00"),
        ended="16:00",
        hospitalization={
            "dischargeDisposition": {"coding": [{"code": "home"}]},
            "destination": {"reference": "Organization/9", "display": "Rose House"},
        },
    )
    discharge = visit(document).events[-1]
    assert discharge.attributes == {"class": "EMER", "disposition": "home", "discharged_to": "Rose House"}


def test_an_end_without_a_final_status_is_no_discharge():
    document = encounter(*EMERGENCY) | {"period": period("10:00", "16:00")}
    assert story(document) == ["10:00 register ED", "14:00 transfer 4W"]


def test_an_end_that_nobody_times_is_when_it_was_first_seen():
    assert story(encounter(*EMERGENCY, made="17:00", status="finished"))[-1] == "17:00 discharge"


def test_the_end_of_r5_is_the_discharge_not_the_completion():
    document = r5(at("4W", "10:00"), status="discharged", actualPeriod=period("10:00", "16:00"))
    assert (
        story(document) == story(document | {"status": "completed"}) == ["10:00 admit 4W", "16:00 discharge"]
    )


def test_r5_says_form_and_admission():
    document = r5(
        at("4W", "10:00", form={"coding": [{"code": "wa"}]}),
        at("bed 3", "10:00", form={"coding": [{"code": "bd"}]}),
        admission={"admitSource": {"text": "by ambulance"}},
        serviceType=[{"concept": {"coding": [{"code": "MED"}]}}],
    )
    [admit] = visit(document).events
    assert (admit.to, admit.attributes) == (
        "4W^^bed 3",
        {"class": "IMP", "admit_source": "by ambulance", "service": "MED"},
    )


def test_who_is_on_leave_in_r5_is_told_when_it_is_seen():
    document = r5(at("4W", "10:00"), subjectStatus={"coding": [{"code": "on-leave"}]})
    assert story(document) == ["10:00 admit 4W", "18:00 leave"]


def test_leaves_come_from_the_history_of_statuses():
    history = [
        {"status": "in-progress", "period": period("10:00", "12:00")},
        {"status": "onleave", "period": period("12:00", "15:00")},
    ]
    document = encounter(at("4W", "10:00"), kind="IMP", statusHistory=history)
    assert story(document) == ["10:00 admit 4W", "12:00 leave", "15:00 return 4W"]


def test_a_leave_until_the_end_has_no_return():
    history = [{"status": "onleave", "period": period("12:00", "15:00")}]
    document = encounter(at("4W", "10:00"), statusHistory=history, ended="15:00")
    assert story(document) == ["10:00 register 4W", "12:00 leave", "15:00 discharge"]


def test_a_leave_goes_on_from_the_last_status():
    history = [{"status": "in-progress", "period": period("10:00", "12:00")}]
    document = encounter(at("4W", "10:00"), statusHistory=history, status="onleave")
    assert story(document) == ["10:00 register 4W", "12:00 leave"]


def test_a_leave_that_the_history_knows_is_told_once():
    history = [
        {"status": "onleave", "period": period("12:00")},
        {"status": "in-progress", "period": period("10:00", "12:01")},
    ]
    document = encounter(at("4W", "10:00"), statusHistory=history, status="onleave")
    assert story(document) == ["10:00 register 4W", "12:00 leave"]


CLASSES = [
    {"class": {"code": "EMER"}, "period": period("10:00", "13:00")},
    {"class": {"code": "IMP"}, "period": period("13:00")},
]


def test_an_emergency_patient_who_becomes_an_inpatient_is_admitted_then():
    document = encounter(*EMERGENCY, kind="IMP", classHistory=CLASSES)
    assert story(document) == ["10:00 register ED", "13:00 admit ED", "14:00 transfer 4W"]
    assert visit(document).events[1].attributes == {"class": "IMP", "prior_class": "EMER"}


def test_who_is_admitted_on_moving_has_one_event():
    document = encounter(at("ED", "10:00"), at("4W", "13:00"), kind="IMP", classHistory=CLASSES)
    assert story(document) == ["10:00 register ED", "13:00 admit 4W"]


def test_a_present_class_that_is_not_in_the_history_follows_it():
    document = encounter(*EMERGENCY, kind="IMP", classHistory=CLASSES[:1])
    assert story(document) == ["10:00 register ED", "13:00 admit ED", "14:00 transfer 4W"]


def test_a_planned_encounter_is_a_pre_admission_from_when_it_is_known():
    document = encounter(at("4W", "10:00", status="planned"), status="planned", kind="IMP", made="08:00") | {
        "period": {"start": time("10:00", day=6)}
    }
    [event] = visit(document).events
    assert (event.type, event.occurred_at, event.to) == (
        "pre_admit",
        datetime(2024, 3, 4, 8, tzinfo=UTC),
        "4W",
    )
    assert event.attributes == {"class": "IMP", "expected_admit": "2024-03-06T10:00:00.000000Z"}


def test_the_plan_of_r5_has_a_date_of_its_own():
    document = r5(status="planned", plannedStartDate="2024-03-09T10:00:00Z") | {"actualPeriod": {}}
    [event] = visit(document).events
    assert event.attributes["expected_admit"] == "2024-03-09T10:00:00.000000Z"


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_what_never_was_tells_nothing(status):
    assert story(encounter(*EMERGENCY, status=status)) == []


# --- places -----------------------------------------------------------------------------------------------------


def level(code):
    return {"physicalType": {"coding": [{"code": code}]}}


def test_a_hierarchy_of_one_period_is_one_place():
    document = encounter(
        at("A", "10:00", **level("bd")), at("7", "10:00", **level("ro")), at("5W", "10:00", **level("wa"))
    )
    [event] = visit(document).events
    assert (event.to, HOSPITAL.place(event.to)) == ("5W^7^A", "isolation")


def test_the_ward_is_followed_not_the_bed():
    document = encounter(
        at("4W", "10:00", **level("wa")),
        at("1", "10:00", "12:00", **level("bd")),
        at("2", "12:00", **level("bd")),
    )
    assert story(document) == ["10:00 register 4W^^1"]


def test_the_level_that_the_registry_knows_is_followed():
    document = encounter(
        at("Tower B", "10:00", **level("bu")),
        at("Zone 1", "10:00", "12:00", **level("wi")),
        at("ED", "10:00", "12:00", **level("ro")),
        at("4W", "12:00", **level("ro")),
    )
    assert story(document) == ["10:00 register ED", "12:00 transfer 4W"]


def test_wards_and_other_places_of_care_are_one_level():
    document = encounter(
        at("ED", "10:00", "12:00", **level("area")),
        at("5E", "12:00", "13:00"),
        at("4W", "13:00", **level("wa")),
        at("Surgery", "13:00", **level("area")),
        at("9", "13:00", **level("ro")),
    )
    assert story(document) == ["10:00 register ED", "12:00 transfer 5E", "13:00 transfer 4W^9"]


def test_places_of_one_date_are_told_one_after_the_other():
    day = {"period": {"start": "2024-03-04"}}
    document = encounter(at("ED", **level("area"), **day), at("4W", **level("wa"), **day))
    assert story(document) == ["00:00 register ED", "00:00 transfer 4W"]


def test_what_lies_above_one_ward_is_not_above_another():
    site = {"resourceType": "Location", "id": "RGH", "physicalType": {"coding": [{"code": "si"}]}}
    ward = {"resourceType": "Location", "id": "9W", "partOf": {"reference": "Location/RGH/_history/2"}}
    stays = [
        {"location": {"reference": f"Location/{name}/_history/3"}, "period": period("10:00")}
        for name in ("5W", "9W")
    ]
    [found] = read(bundle("collection", encounter(*stays), site, ward)).visits
    assert [event.to for event in found.events] == ["5W", "9W^^^RGH"]


def test_where_the_registry_knows_no_place_the_ward_is_followed():
    document = encounter(at("RGH", "10:00", **level("si")), at("9E", "10:00", **level("wa")))
    assert story(document) == ["10:00 register 9E^^^RGH"]


def test_a_location_that_is_sent_says_its_code_and_what_is_above_it():
    places = [
        {"resourceType": "Location", "id": "b", "identifier": [{"value": "2"}], "physicalType": {"coding": [{"code": "bd"}]}, "partOf": {"reference": "Location/w"}},
        {"resourceType": "Location", "id": "w", "identifier": [{"value": "ICU"}], "name": "Intensive care", "physicalType": {"coding": [{"code": "wa"}]}, "partOf": {"reference": "Location/h"}},
        {"resourceType": "Location", "id": "h", "name": "RGH", "physicalType": {"coding": [{"code": "si"}]}},
    ]  # fmt: skip
    stay = {"location": {"reference": "Location/b"}, "period": period("10:00")}
    [found] = read(bundle("collection", encounter(stay), *places)).visits
    assert found.events[0].to == "ICU^^2^RGH"
    assert HOSPITAL.place("ICU^^2^RGH") == "icu"


def test_a_ring_of_locations_ends():
    places = [
        {"resourceType": "Location", "id": "a", "partOf": {"reference": "Location/b"}},
        {"resourceType": "Location", "id": "b", "partOf": {"reference": "Location/a"}},
    ]
    stay = {"location": {"reference": "Location/a"}, "period": period("10:00")}
    [found] = read(bundle("collection", encounter(stay), *places)).visits
    assert found.events[0].to == "a"


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ({"reference": "Location/4W", "display": "Medical ward"}, "4W"),
        ({"reference": "Location/17", "display": "Ward 4 West"}, "Ward 4 West"),
        ({"reference": "Location/17", "display": "Somewhere"}, "Somewhere"),
        ({"reference": "Location/17", "identifier": {"value": "X9"}, "display": "Somewhere"}, "X9"),
        ({"reference": "https://h/Location/17/_history/2"}, "17"),
    ],
)
def test_a_place_has_the_name_that_the_registry_knows_else_its_code_name_or_id(reference, place):
    [event] = visit(encounter({"location": reference, "period": period("10:00")})).events
    assert event.to == place


def test_the_period_counts_not_the_status():
    document = encounter(at("ED", "10:00", "12:00", status="active"), at("4W", "12:00", status="active"))
    assert story(document) == ["10:00 register ED", "12:00 transfer 4W"]


@pytest.mark.parametrize("status", ["planned", "reserved"])
def test_a_bed_that_waits_holds_nobody(status):
    assert story(encounter(at("ED", "10:00"), at("4W", "12:00", status=status))) == ["10:00 register ED"]


def test_the_same_place_again_is_no_move():
    document = encounter(at("ED", "10:00", "11:00"), at("4W", "11:00", "12:00"), at("4W", "12:00"))
    assert story(document) == ["10:00 register ED", "11:00 transfer 4W"]


def test_stays_are_told_by_time_whatever_their_order():
    assert story(encounter(*reversed(EMERGENCY))) == ["10:00 register ED", "14:00 transfer 4W"]


def test_a_place_without_a_period_holds_since_the_beginning():
    assert story(encounter(at("ED"), began="10:00")) == ["10:00 register ED"]


def test_of_places_without_a_period_those_completed_are_past():
    assert story(encounter(at("4W", status="active"), at("ED", status="completed"))) == ["10:00 register 4W"]


def test_an_encounter_without_a_place_begins_with_its_period():
    assert story(encounter()) == ["10:00 register"]


# --- who --------------------------------------------------------------------------------------------------------

PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "identifier": [
        {"system": "urn:rgh", "value": "nhs-1"},
        {"system": "urn:rgh", "type": {"coding": [{"code": "MR"}]}, "value": "0817"},
    ],
    "name": [{"family": "Zz", "given": ["A"]}, {"family": "ZZTEST"}],
}


def patient_of(document, source=""):
    [found] = read(document, source).visits
    return found.events[0].patient


def test_the_profile_chooses_the_identifier_of_the_patient():
    assert patient_of(bundle("collection", encounter(), PATIENT), "profiled") == "0817"
    assert patient_of(encounter(contained=[PATIENT], subject={"reference": "#p1"}), "profiled") == "0817"
    own = {"reference": "Patient/p1", "identifier": PATIENT["identifier"][1]}
    assert patient_of(encounter(subject=own), "profiled") == "0817"


def test_without_a_profile_the_id_of_the_patient_is_the_key():
    assert patient_of(bundle("collection", encounter(), PATIENT)) == "p1"


@pytest.mark.parametrize(
    ("subject", "key"),
    [
        ({"reference": "Patient/p9"}, "p9"),
        ({"reference": "https://h/fhir/Patient/p9/_history/4"}, "p9"),
        ({"reference": "urn:uuid:0a-1"}, "0a-1"),
        ({"identifier": {"value": "n7"}}, "n7"),
    ],
)
def test_a_patient_that_was_not_sent_has_the_key_of_the_reference(subject, key):
    assert patient_of(encounter(subject=subject), "profiled") == key


def test_an_entry_is_found_by_its_full_url():
    document = bundle("message", encounter(subject={"reference": "urn:uuid:77"}), PATIENT)
    document["entry"][1]["fullUrl"] = "urn:uuid:77"
    assert patient_of(document) == "p1"
    assert patient_of(document, "profiled") == "0817"


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ({}, "no-patient"),
        ({"reference": "Group/1"}, "no-patient"),
        ({"reference": "#inside"}, "no-patient"),
        ({"reference": "Patient/"}, "no-patient"),
    ],
)
def test_an_encounter_of_nobody_is_a_reject(subject, reason):
    assert read(encounter(subject=subject)).reason == reason


def test_the_profile_says_classes_in_its_own_words():
    document = encounter(at("4W", "10:00"), kind="IMP")
    [event] = visit(document, "profiled").events
    assert (event.type, event.attributes, event.source) == ("admit", {"class": "inpatient"}, "profiled")


@pytest.mark.parametrize(
    "document",
    [
        encounter(meta={"lastUpdated": time("18:00"), "security": [{"code": "HTEST"}]}),
        encounter(meta={"lastUpdated": time("18:00"), "tag": [{"code": "HTEST"}]}),
        encounter(contained=[PATIENT], subject={"reference": "#p1"}),
        encounter(subject={"reference": "Patient/ZZ4"}),
    ],
)
def test_test_patients_are_marked(document):
    assert visit(document, "profiled").events[0].attributes["test"] is True


def test_a_visit_without_an_id_is_known_by_its_identifier():
    document = encounter(identifier=[{"system": "urn:h/1", "value": "v~2"}])
    del document["id"]
    assert visit(document).key == "urn:h/1|v~2"
    assert visit(document).events[0].id == "urn:h%2F1|v%7E2/2024-03-04T10:00:00Z/00/"


# --- when -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "utc", "precision"),
    [
        ("2024-03-04T10:00:00.25+02:00", "2024-03-04T08:00:00.250000", "second"),
        ("2024-03-04T10:00Z", "2024-03-04T10:00:00", "minute"),
        ("2024-07-04T10:00:00", "2024-07-04T09:00:00", "second"),
        ("2024-07-04", "2024-07-03T23:00:00", "day"),
        ("2024-07", "2024-06-30T23:00:00", "day"),
        ("2024", "2024-01-01T00:00:00", "day"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999", "second"),
    ],
)
def test_times_have_the_precision_of_their_digits_and_the_zone_of_the_source(text, utc, precision):
    [event] = visit(encounter() | {"period": {"start": text}}).events
    assert event.occurred_at == datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert event.precision == precision


@pytest.mark.parametrize(
    "document",
    [
        encounter() | {"period": {"start": "yesterday"}},
        encounter() | {"period": {"start": "0001-01-01"}},
        encounter() | {"period": {"start": "2024-13-01"}},
        encounter(at("ED") | {"period": {"start": "2024-03-04T25:00:00Z"}}),
        encounter(statusHistory=[{"status": "planned", "period": {"start": "03/04/2024"}}]),
    ],
)
def test_a_time_that_cannot_be_read_is_a_reject(document):
    found = read(document)
    assert (found.reason, found.segment) == ("bad-time", "Encounter")


def test_a_version_without_a_date_has_that_of_its_bundle():
    document = encounter()
    del document["meta"]
    dated = bundle("collection", document, timestamp=time("19:00"))
    assert read(dated).visits[0].recorded_at == datetime(2024, 3, 4, 19, tzinfo=UTC)
    dated["entry"][0]["response"] = {"lastModified": time("18:30")}
    assert read(dated).visits[0].recorded_at == datetime(2024, 3, 4, 18, 30, tzinfo=UTC)


def test_where_nothing_says_when_it_was_made_it_is_the_last_time_in_it():
    document = encounter(*EMERGENCY)
    del document["meta"]
    assert visit(document).recorded_at == datetime(2024, 3, 4, 14, tzinfo=UTC)


def test_an_encounter_without_any_time_is_a_reject():
    document = encounter() | {"meta": {}, "period": {}}
    assert read(document).reason == "no-time"


# --- documents --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["message", "transaction", "batch", "collection", "searchset", "document"])
def test_every_encounter_of_a_bundle_is_read(kind):
    found = read(bundle(kind, encounter(), encounter(id="e2"), PATIENT))
    assert [each.key for each in found.visits] == ["e1", "e2"]


def test_versions_of_a_history_are_given_in_the_order_in_which_they_were_made():
    versions = [
        encounter(made="12:00", meta={"lastUpdated": time("12:00"), "versionId": "10"}),
        encounter(made="12:00", meta={"lastUpdated": time("12:00"), "versionId": "9"}),
        encounter(made="11:00"),
    ]
    found = read(bundle("history", *versions))
    assert [(each.recorded_at.hour, each.version) for each in found.visits] == [(11, 0), (12, 9), (12, 10)]


def test_a_deleted_encounter_is_a_visit_of_which_nothing_stands():
    entry = {
        "request": {"method": "DELETE", "url": "Encounter/e1"},
        "response": {"lastModified": time("19:00")},
    }
    [found] = read({"resourceType": "Bundle", "type": "history", "entry": [entry]}).visits
    assert (found.key, found.events) == ("e1", [])


def test_an_entry_that_cannot_be_used_does_not_spoil_the_others():
    found = read(
        bundle("collection", encounter(subject={}), encounter(id="e2"), {"resourceType": "Patient", "id": 7})
    )
    assert [each.key for each in found.visits] == ["e2"]
    assert [(each.reason, each.field) for each in found.rejects] == [
        ("not-fhir", "Bundle.entry[2].resource.id"),
        ("no-patient", "Encounter.subject"),
    ]


def test_a_message_says_where_it_comes_from():
    header = {
        "resourceType": "MessageHeader",
        "eventCoding": {"code": "notification-transfer"},
        "source": {"name": "PAS", "endpoint": "https://pas"},
    }
    document = bundle("message", header, encounter())
    assert read(document).visits[0].source == "PAS"
    assert read(document, "given").visits[0].source == "given"


@pytest.mark.parametrize("resource", [PATIENT, {"resourceType": "Observation", "status": {"any": "thing"}}])
def test_what_says_nothing_of_a_visit_is_in_order(resource):
    found = read(resource)
    assert (found.visits, found.rejects, found.kind) == ([], [], "events")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not-json"),
        (b"{", "not-json"),
        (b"{}", "not-fhir"),
        (b"[]", "not-fhir"),
        (b'{"resourceType": 7}', "not-fhir"),
        (b'{"resourceType": "Encounter", "status": ["x"]}', "not-fhir"),
        (b'{"resourceType": "Bundle", "entry": {}}', "not-fhir"),
        (b'{"resourceType": "Encounter", "x": ' + b"[" * 100_000, "not-json"),
    ],
)
def test_what_is_no_fhir_is_a_reject(content, reason):
    found = decode(content, HOSPITAL)
    assert isinstance(found, Reject)
    assert found.reason == reason


def test_a_reject_says_where_and_nothing_of_the_patient():
    found = read(encounter(status=["Mrs Doe"]))
    assert found == Reject("not-fhir", "Expected `str`, got `array`", field="Encounter.status")


# --- subscriptions ----------------------------------------------------------------------------------------------


def backported(kind, *numbers, since="9"):
    """A SubscriptionStatus as the backport to R4 sends it."""
    events = [
        {"name": "notification-event", "part": [{"name": "event-number", "valueString": str(number)}]}
        for number in numbers
    ]
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "subscription", "valueReference": {"reference": "https://h/Subscription/adm"}},
            {"name": "type", "valueCode": kind},
            {"name": "events-since-subscription-start", "valueString": since},
            *events,
        ],
    }


def status(kind, *numbers):
    """A SubscriptionStatus of R4B and R5."""
    return {
        "resourceType": "SubscriptionStatus",
        "type": kind,
        "subscription": {"reference": "https://h/Subscription/adm"},
        "eventsSinceSubscriptionStart": "9",
        "notificationEvent": [
            {"eventNumber": str(number), "focus": {"reference": "Encounter/e1"}} for number in numbers
        ],
    }


@pytest.mark.parametrize(
    "document",
    [
        bundle("history", backported("event-notification", 4, 5), encounter()),
        bundle("history", status("event-notification", 4, 5), encounter()),
        bundle("subscription-notification", status("event-notification", 4, 5), encounter()),
    ],
)
def test_a_notification_brings_encounters_and_says_their_numbers(document):
    found = read(document)
    assert [each.key for each in found.visits] == ["e1"]
    assert (found.kind, found.subscription, found.numbers) == ("events", "https://h/Subscription/adm", (4, 5))


def test_a_notification_that_numbers_no_events_says_how_many_there_were():
    assert read(bundle("history", backported("event-notification"), encounter())).numbers == (9, 9)


@pytest.mark.parametrize(
    ("kind", "found_as"),
    [("heartbeat", "heartbeat"), ("handshake", "handshake"), ("query-status", "heartbeat")],
)
@pytest.mark.parametrize("made", [backported, status])
def test_a_heartbeat_proves_that_its_source_lives(made, kind, found_as):
    found = read(bundle("history", made(kind), timestamp=time("18:00")), "subscribed")
    assert (found.kind, found.visits, found.rejects, found.numbers) == (found_as, [], [], None)
    [event] = found.heartbeat()
    assert (event.type, event.source, event.occurred_at.hour) == ("heartbeat", "subscribed", 18)


def test_a_heartbeat_that_does_not_say_when_gives_no_event():
    assert read(bundle("history", status("heartbeat"))).heartbeat() == []


def test_a_notification_of_ids_alone_is_a_reject_that_says_what_to_do():
    found = read(bundle("history", status("event-notification", 4)))
    assert [each.reason for each in found.rejects] == ["no-resource"]
    assert "full-resource" in found.rejects[0].detail
