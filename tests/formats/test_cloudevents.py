"""CloudEvents: the envelope and its data become one canonical event, in all three modes; any bytes an event or a reject."""

import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.event import Event, Ref
from monitor.formats import cloudevents
from monitor.formats.reject import Reject

ENVELOPE = {
    "specversion": "1.0",
    "id": "7",
    "source": "/hospital/adt",
    "type": "adt.transfer",
    "time": "2026-01-05T10:00:00+01:00",
    "recordedtime": "2026-01-05T09:02:00Z",
    "subject": "nobody looks here",
    "data": {"patient": "p1", "encounter": "v1", "from": "ED", "to": "4W", "attributes": {"acuity": 2}},
}
EXPECTED = Event(
    id="7",
    source="/hospital/adt",
    type="transfer",
    patient="p1",
    encounter="v1",
    occurred_at=datetime(2026, 1, 5, 9, tzinfo=UTC),
    recorded_at=datetime(2026, 1, 5, 9, 2, tzinfo=UTC),
    from_="ED",
    to="4W",
    attributes={"acuity": 2},
)

HEADERS = {
    "ce-specversion": "1.0",
    "ce-id": "7%20a%E2%82%AC",
    "ce-source": "/hospital/adt",
    "ce-type": "adt.transfer",
    "ce-time": ENVELOPE["time"],
    "ce-recordedtime": ENVELOPE["recordedtime"],
    "content-type": "application/json; charset=utf-8",
    "authorization": "Bearer x",
}


def enveloped(**changed):
    return json.dumps(
        {name: value for name, value in (ENVELOPE | changed).items() if value is not ...}
    ).encode()


def read(**changed):
    found = cloudevents.read(enveloped(**changed))
    return found if isinstance(found, Reject) else found[0]


def test_structured_mode_gives_the_event():
    assert read() == EXPECTED


def test_data_may_be_in_base64():
    data = base64.b64encode(json.dumps(ENVELOPE["data"]).encode()).decode()
    assert read(data=..., data_base64=data) == EXPECTED


def test_a_batch_gives_each_of_its_events_or_rejects():
    batch = b"[%s,%s]" % (enveloped(), enveloped(id=3))
    first, second = cloudevents.read_batch(batch)
    assert first == [EXPECTED]
    assert (second.reason, second.field) == ("not-a-cloudevent", "id")


def test_an_empty_batch_is_one():
    assert cloudevents.read_batch(b"[]") == []


@pytest.mark.parametrize("content", [b"{}", b"3", b"", b"[1"])
def test_what_is_no_list_is_no_batch(content):
    assert isinstance(cloudevents.read_batch(content), Reject)


def test_binary_mode_reads_percent_encoded_headers():
    (found,) = cloudevents.read(cloudevents.structured(HEADERS, json.dumps(ENVELOPE["data"]).encode()))
    assert found.id == "7 a€"
    found.id = "7"
    assert found == EXPECTED


def test_the_envelope_stands_over_what_the_data_say_too():
    data = ENVELOPE["data"] | {"id": "other", "source": "other", "type": "other"}
    assert read(data=data) == EXPECTED


def test_without_a_time_the_data_say_when_it_happened():
    data = ENVELOPE["data"] | {"occurred_at": "2026-01-05T09:00:00Z", "precision": "minute"}
    found = read(time=..., recordedtime=..., data=data)
    assert (found.occurred_at, found.recorded_at, found.precision) == (
        EXPECTED.occurred_at,
        EXPECTED.occurred_at,
        "minute",
    )


def test_references_may_name_another_source():
    data = ENVELOPE["data"] | {"cancels": {"source": "x", "id": "3"}}
    assert read(data=data).cancels == Ref("x", "3")


@pytest.mark.parametrize(("sent", "event_type"), [("triage", "triage"), ("org.hospital.adt.admit", "admit")])
def test_the_type_is_what_follows_the_last_dot(sent, event_type):
    assert read(type=sent).type == event_type


@pytest.mark.parametrize(
    ("changed", "reason", "field"),
    [
        ({"specversion": "0.3"}, "not-a-cloudevent", "specversion"),
        ({"specversion": ...}, "not-a-cloudevent", None),
        ({"id": ...}, "not-a-cloudevent", None),
        ({"id": ""}, "not-an-event", None),
        ({"source": ""}, "not-a-cloudevent", "source"),
        ({"type": "adt."}, "not-an-event", None),
        ({"time": "yesterday"}, "not-an-event", "time"),
        ({"time": ...}, "not-an-event", None),
        ({"recordedtime": "2026-01-05T10:00:00"}, "not-an-event", "recordedtime"),
        ({"data": ...}, "not-an-event", None),
        ({"data": "patient p1"}, "not-a-cloudevent", "data"),
        ({"data": {"patient": 3}}, "not-an-event", "patient"),
        ({"datacontenttype": "text/xml"}, "not-a-cloudevent", "datacontenttype"),
    ],
)
def test_what_is_wrong_is_said_with_the_field_as_it_was_sent(changed, reason, field):
    found = read(**changed)
    assert (found.reason, found.field) == (reason, field)


@given(
    st.binary(max_size=200)
    | st.dictionaries(st.text(), st.text()).map(lambda each: json.dumps(each).encode())
)
def test_any_bytes_are_an_event_or_a_reject(content):
    assert isinstance(cloudevents.read(content), list | Reject)
    assert isinstance(cloudevents.read_batch(content), list | Reject)
    binary = cloudevents.structured(HEADERS | {"ce-id": "%ff"}, content)
    assert isinstance(cloudevents.read(binary), list | Reject)


@given(
    st.dictionaries(
        st.sampled_from(sorted(ENVELOPE)), st.none() | st.text() | st.integers() | st.lists(st.text())
    )
)
def test_any_values_are_an_event_or_a_reject_that_tells_none_of_them(changed):
    found = cloudevents.read(enveloped(**changed))
    assert isinstance(found, list | Reject)
    if isinstance(found, Reject):
        assert "p1" not in found.detail
