"""The canonical event: its times, its order, and the bytes by which copies are compared (contract, section 2)."""

import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from timeline import NOON, at, moment

from monitor.core.event import Event, Ref, canonical_bytes, is_cancel, rank, same_instant

PARIS = timezone(timedelta(hours=1))


def event(occurred_at=NOON, **fields):
    return Event(**{"id": "e", "type": "x", "patient": "p", "occurred_at": occurred_at} | fields)


# -- times -------------------------------------------------------------------------------------------------


def test_recorded_at_is_occurred_at_unless_it_is_given():
    assert event().recorded_at == moment(0)
    assert event(recorded_at=moment(5)).recorded_at == moment(5)


def test_times_with_an_offset_are_one_instant():
    local = datetime(2024, 3, 4, 13, 0, tzinfo=PARIS)
    assert event(local).occurred_at == moment(0)


@pytest.mark.parametrize("field", ["occurred_at", "recorded_at", "arrived_at"])
def test_a_time_without_an_offset_is_refused(field):
    with pytest.raises(ValueError, match=field):
        event(**{field: datetime(2024, 3, 4, 12, 0)})


@pytest.mark.parametrize("field", ["occurred_at", "recorded_at", "arrived_at"])
@pytest.mark.parametrize("year", [999, 9000])
def test_a_time_outside_the_years_1000_to_8999_is_refused(field, year):
    with pytest.raises(ValueError, match=field):
        event(**{field: datetime(year, 6, 1, tzinfo=UTC)})


@pytest.mark.parametrize("year", [1000, 8999])
def test_the_first_and_the_last_year_are_taken(year):
    assert event(datetime(year, 6, 1, tzinfo=UTC)).occurred_at.year == year


@pytest.mark.parametrize("field", ["id", "type", "patient"])
def test_what_identifies_an_event_must_not_be_empty(field):
    with pytest.raises(ValueError, match="must not be empty"):
        event(**{field: ""})


def test_an_attribute_that_is_null_is_none():
    assert event(attributes={"a": None, "b": 0}).attributes == {"b": 0}


# -- equal instants ----------------------------------------------------------------------------------------


def clock(text, precision="second", zone=UTC):
    return event(datetime.fromisoformat(f"2024-03-04 {text}").replace(tzinfo=zone), precision=precision)


@pytest.mark.parametrize(
    ("one", "other", "holds"),
    [
        (("12:00:00",), ("12:00:00",), True),
        (("12:00:00",), ("12:00:01",), False),
        (("12:00:00.2",), ("12:00:00.9",), True),
        (("12:00:00.9",), ("12:00:01",), False),
        (("12:00", "minute"), ("12:00:59",), True),
        (("12:00", "minute"), ("12:01:00",), False),
        (("12:00", "minute"), ("11:59:59",), False),
        (("12:00:30", "minute"), ("12:00:10",), True),
        (("12:00", "minute"), ("12:01", "minute"), False),
        (("12:00", "hour"), ("12:59:59",), True),
        (("12:00", "hour"), ("12:30", "minute"), True),
        (("12:00", "hour"), ("13:00", "minute"), False),
        (("00:00", "day"), ("23:59:59",), True),
        (("00:00", "day"), ("12:00", "hour"), True),
        (("12:00", "hour"), ("12:30", "hour"), True),
    ],
)
def test_instants_are_equal_at_the_coarser_precision(one, other, holds):
    assert same_instant(clock(*one), clock(*other)) is holds
    assert same_instant(clock(*other), clock(*one)) is holds


def test_a_day_is_that_of_its_own_offset():
    day = clock("00:00", "day", PARIS)
    assert same_instant(day, event(datetime(2024, 3, 3, 23, 30, tzinfo=UTC)))
    assert not same_instant(day, event(datetime(2024, 3, 4, 23, 30, tzinfo=UTC)))


def test_an_hour_is_that_of_its_own_offset():
    half_past = timezone(timedelta(hours=5, minutes=30))
    hour = clock("12:00", "hour", half_past)
    assert same_instant(hour, event(datetime(2024, 3, 4, 7, 29, tzinfo=UTC)))
    assert not same_instant(hour, event(datetime(2024, 3, 4, 7, 31, tzinfo=UTC)))


# -- types -------------------------------------------------------------------------------------------------


def test_any_word_that_is_no_core_type_ranks_as_a_milestone():
    assert rank("triage") == rank("handoff_signed") == rank("Admit")
    assert rank("return") < rank("triage") < rank("pending_transfer")


def test_every_cancel_ranks_last():
    assert rank("cancel_admit") == rank("cancel_triage") > rank("merge")


def test_a_cancel_is_what_names_another_or_is_called_so():
    assert is_cancel(event(type="cancel_triage"))
    assert is_cancel(event(type="regret", cancels="other"))
    assert not is_cancel(event(type="cancelled"))


# -- canonical bytes ---------------------------------------------------------------------------------------

WHOLE = {
    "id": "e",
    "type": "transfer",
    "patient": "p",
    "encounter": "v",
    "occurred_at": datetime(2024, 3, 4, 13, 0, tzinfo=PARIS),
    "precision": "minute",
    "recorded_at": datetime(2024, 3, 4, 12, 0, 0, 250_000, tzinfo=UTC),
    "from_": "ED",
    "to": "ICU^1",
    "cancels": Ref(source="s", id="c"),
    "replaces": "r",
    "source": "lab",
    "attributes": {"b": True, "a": 1.5},
}


def test_canonical_bytes_are_json_with_sorted_keys_and_times_in_utc():
    assert canonical_bytes(Event(**WHOLE)) == (
        b'{"attributes":{"a":1.5,"b":true},"cancels":{"id":"c","source":"s"},"encounter":"v","from":"ED","id":"e",'
        b'"occurred_at":"2024-03-04T12:00:00.000000Z","patient":"p","precision":"minute",'
        b'"recorded_at":"2024-03-04T12:00:00.250000Z","replaces":"r","source":"lab","to":"ICU^1","type":"transfer"}'
    )


def test_canonical_bytes_hold_neither_nulls_nor_the_arrival():
    fields = json.loads(canonical_bytes(at(0, "x", attributes={"a": None})))
    assert "arrived_at" not in fields
    assert None not in fields.values()
    assert "a" not in fields.get("attributes", {})


def test_copies_that_arrive_at_two_times_are_equal():
    assert canonical_bytes(at(0, "x", arrived=5)) == canonical_bytes(at(0, "x", arrived=9))


def test_the_order_of_attributes_makes_no_difference():
    one, other = event(attributes={"a": 1, "b": 2}), event(attributes={"b": 2, "a": 1})
    assert canonical_bytes(one) == canonical_bytes(other)


@pytest.mark.parametrize("change", [{"to": "icu"}, {"precision": "minute"}, {"attributes": {"a": 1}}])
def test_copies_that_differ_have_other_bytes(change):
    assert canonical_bytes(event()) != canonical_bytes(event(**change))


# -- on the wire -------------------------------------------------------------------------------------------


def test_on_the_wire_the_places_are_from_and_to():
    wire = b'{"id":"e","type":"x","patient":"p","occurred_at":"2024-03-04T12:00:00Z","from":"ED","to":"ICU"}'
    decoded = msgspec.json.decode(wire, type=Event)
    assert (decoded.from_, decoded.to, decoded.source, decoded.precision) == ("ED", "ICU", "", "second")


def test_a_reference_may_name_its_source():
    wire = b'{"id":"e","type":"x","patient":"p","occurred_at":"2024-03-04T12:00:00Z","cancels":{"source":"s","id":"i"}}'
    assert msgspec.json.decode(wire, type=Event).cancels == Ref(source="s", id="i")
