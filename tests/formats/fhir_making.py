"""Encounters of a hospital with an emergency department and wards, as FHIR says them."""

import json

from monitor.core.place import Registry
from monitor.formats.fhir import decode

HOSPITAL = Registry.model_validate(
    {
        "timezone": "Europe/London",
        "microsystems": [
            {"id": "ed", "kind": "ed", "locations": ["ED^*"]},
            {"id": "ward", "kind": "ward", "locations": ["4W^*", "Ward 4 West"]},
            {"id": "icu", "kind": "icu", "locations": [{"point_of_care": "ICU", "facility": "RGH"}, "ICU"]},
            {"id": "isolation", "kind": "ward", "locations": ["5W^7^*"]},
        ],
        "sources": {
            "profiled": {
                "patient_id": {"authority": "urn:rgh", "type": "MR"},
                "classes": {"IMP": "inpatient", "EMER": "emergency"},
                "test_patients": ["ZZ*"],
            }
        },
    }
)


def time(clock, day=4):
    return f"2024-03-{day:02}T{clock}:00Z"


def period(start=None, end=None):
    return {name: time(clock) for name, clock in (("start", start), ("end", end)) if clock}


def at(place, start=None, end=None, **more):
    """One `location[]`: a place from one clock time of 4 March to another."""
    entry = {"location": {"display": place}} | more
    return entry | ({"period": period(start, end)} if start else {})


def encounter(*locations, made="18:00", began="10:00", ended=None, kind="EMER", **more):
    """An R4 Encounter in a version made at a clock time of 4 March."""
    return {
        "resourceType": "Encounter",
        "id": "e1",
        "meta": {"lastUpdated": time(made)},
        "status": "finished" if ended else "in-progress",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": kind},
        "subject": {"reference": "Patient/p1"},
        "period": period(began, ended),
        "location": list(locations),
    } | more


def bundle(kind, *resources, **more):
    """A Bundle; the full URL of each entry is `https://h/` with its type and id."""
    entries = [
        {"fullUrl": f"https://h/{each['resourceType']}/{each.get('id', 'x')}", "resource": each}
        for each in resources
    ]
    return {"resourceType": "Bundle", "type": kind, "entry": entries} | more


def read(document, source=""):
    return decode(json.dumps(document).encode(), HOSPITAL, source)


def visit(document, source=""):
    found = read(document, source)
    assert found.rejects == []
    [only] = found.visits
    return only


def told(event):
    """An event in few words: its time on 4 March, its type, and where it leads."""
    return f"{event.occurred_at:%H:%M} {event.type}" + (f" {event.to}" if event.to else "")


def story(document, source=""):
    return [told(event) for event in visit(document, source).events]
