"""Canonical events as JSON lines: what goes out comes back, and any bytes are an event or a reject."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.core.event import Event, Ref
from monitor.formats import canonical
from monitor.formats.reject import Reject

LINE = {"id": "1", "type": "admit", "patient": "p", "occurred_at": "2024-01-01T10:00:00+01:00"}


def read(**changed):
    fields = {name: value for name, value in (LINE | changed).items() if value is not ...}
    found = canonical.read(json.dumps(fields))
    return found if isinstance(found, Reject) else found[0]


def test_what_is_left_out_has_its_default():
    found = read()
    assert found.recorded_at == found.occurred_at == datetime(2024, 1, 1, 9, tzinfo=UTC)
    assert (found.encounter, found.precision, found.source, found.attributes) == (None, "second", "", {})


def test_the_offset_of_a_coarse_time_is_kept_for_it_says_which_day_was_meant():
    found = read(precision="day", occurred_at="2024-01-01T00:00:00+01:00")
    assert found.occurred_at.utcoffset().total_seconds() == 3600


def test_an_attribute_without_a_value_is_not_there():
    assert read(attributes={"a": None, "b": 1, "c": True, "d": 1.5, "e": "x"}).attributes == {
        "b": 1,
        "c": True,
        "d": 1.5,
        "e": "x",
    }


@pytest.mark.parametrize(
    ("changed", "reason", "field"),
    [
        ({"id": ...}, "not-an-event", None),
        ({"id": ""}, "not-an-event", None),
        ({"patient": None}, "not-an-event", "patient"),
        ({"type": 3}, "not-an-event", "type"),
        ({"occurred_at": "2024-01-01T10:00:00"}, "not-an-event", "occurred_at"),
        ({"occurred_at": "yesterday"}, "not-an-event", "occurred_at"),
        ({"occurred_at": "0999-01-01T10:00:00Z"}, "not-an-event", None),
        ({"precision": "week"}, "not-an-event", "precision"),
        ({"attributes": {"a": [1]}}, "not-an-event", "attributes[...]"),
        ({"cancels": 7}, "not-an-event", "cancels"),
    ],
)
def test_a_line_that_is_no_event_says_which_field_is_wrong(changed, reason, field):
    found = read(**changed)
    assert (found.reason, found.field) == (reason, field)


def test_a_reject_holds_nothing_of_the_line():
    found = read(precision="Jane Doe 1950")
    assert (found.field, found.detail) == ("precision", "must be one of second, minute, hour, day")
    for name in [*LINE, "recorded_at", "arrived_at", "encounter", "cancels", "attributes", "source", "from"]:
        for wrong in ("Jane Doe 1950", {"Jane Doe": "1950"}, ["Jane Doe"]):
            found = read(**{name: wrong})
            assert not isinstance(found, Reject) or "Jane" not in str(found)


@pytest.mark.parametrize("line", [b"", b"{", b"nonsense", b'"\xff"', b"[" * 100_000])
def test_a_line_that_is_no_json_says_so(line):
    assert canonical.read(line).reason in {"not-json", "not-an-event"}


texts = st.text(max_size=8)
moments = st.datetimes(datetime(1000, 1, 2), datetime(8999, 1, 1), timezones=st.just(UTC))
references = st.none() | texts | st.builds(Ref, source=texts, id=texts)
events = st.builds(
    Event,
    id=texts.filter(bool),
    type=texts.filter(bool),
    patient=texts.filter(bool),
    occurred_at=moments,
    encounter=st.none() | texts,
    precision=st.sampled_from(["second", "minute", "hour", "day"]),
    recorded_at=moments,
    arrived_at=st.none() | moments,
    from_=st.none() | texts,
    to=st.none() | texts,
    cancels=references,
    replaces=references,
    source=texts,
    attributes=st.dictionaries(
        texts,
        texts
        | st.integers(-(2**60), 2**60)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.booleans(),
    ),
)


@given(events)
def test_an_event_that_goes_out_comes_back_the_same(event):
    assert canonical.decode(canonical.encode(event)) == event


@given(st.binary(max_size=60) | st.text(max_size=60))
@example(b'{"id":"1","type":"a","patient":"p","occurred_at":"9999-12-31T23:59:59-23:59"}')
def test_any_bytes_are_an_event_or_a_reject(line):
    found = canonical.read(line)
    assert isinstance(found, Reject) or isinstance(found[0], Event)
