"""Whatever is sent is a notification or a reject: never an exception, and the same every time."""

import json

from fhir_making import HOSPITAL, at, bundle, encounter, period
from hypothesis import given
from hypothesis import strategies as st

from monitor.formats.canonical import encode
from monitor.formats.fhir import Notification, changes, decode
from monitor.formats.reject import Reject

WORDS = st.sampled_from(
    ["", "e1", "Patient/p1", "#p1", "urn:uuid:1", "2024-03-04", "2024-03-04T10:00:00Z", "9999-12-31T23:59:59-14:00",
     "0000", "planned", "onleave", "finished", "IMP", "wa", "ED", "\\u0000", "~", "Encounter", "Location", "DELETE"]
)  # fmt: skip
NAMES = st.sampled_from(
    ["resourceType", "id", "meta", "lastUpdated", "versionId", "status", "class", "code", "coding", "subject",
     "reference", "identifier", "value", "period", "actualPeriod", "start", "end", "location", "partOf", "display",
     "contained", "entry", "resource", "fullUrl", "request", "url", "method", "statusHistory", "classHistory",
     "parameter", "name", "valueString", "part", "type", "timestamp", "source", "notificationEvent", "eventNumber"]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=12,
)
RICH = bundle(
    "history",
    encounter(at("ED", "10:00"), contained=[{"resourceType": "Patient", "id": "x"}]),
    encounter(
        at("4W", "12:00"), kind="IMP", statusHistory=[{"status": "onleave", "period": period("12:00")}]
    ),
    {"resourceType": "Location", "id": "l", "partOf": {"reference": "Location/l"}},
    {
        "resourceType": "SubscriptionStatus",
        "type": "event-notification",
        "notificationEvent": [{"eventNumber": 3}],
    },
)


def use(content):
    """All that is done with what was read."""
    found = decode(content, HOSPITAL)
    assert isinstance(found, Notification | Reject)
    told = {}
    for visit in found.visits if isinstance(found, Notification) else []:
        told[visit.key] = changes(visit, told.get(visit.key)).told
        lines = [encode(event) for event in (*visit.events, *told[visit.key].events)]
        assert all(lines)
    return found


@given(st.binary())
def test_any_bytes(content):
    assert use(content) == use(content)


@given(VALUES)
def test_any_json(value):
    use(json.dumps(value).encode())


@given(st.dictionaries(NAMES, VALUES, max_size=8), st.sampled_from(["Encounter", "Bundle", "Patient"]))
def test_any_resource(fields, kind):
    use(json.dumps(fields | {"resourceType": kind}).encode())


@given(st.data())
def test_a_good_bundle_of_which_one_part_is_anything(data):
    document = json.loads(json.dumps(RICH))
    inside = document
    while isinstance(inside, dict | list) and inside:
        key = data.draw(st.sampled_from(sorted(inside) if isinstance(inside, dict) else range(len(inside))))
        if not isinstance(inside[key], dict | list) or data.draw(st.booleans()):
            inside[key] = data.draw(VALUES)
            break
        inside = inside[key]
    use(json.dumps(document).encode())
