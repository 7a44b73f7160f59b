"""What travels on `handoff.events`: what was put in comes out, whatever comes out is an envelope or a reject, and keys meet
where Kafka's own partitioner would put them."""

import warnings
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.event import Event, Ref
from monitor.formats.envelope import (
    Heard,
    Linked,
    Moved,
    Told,
    Visited,
    decode,
    encode,
    key_of,
    murmur2,
    partition_of,
    patient_key,
)
from monitor.formats.fhir_visit import Course, Stay, Visit, When
from monitor.formats.reject import Reject

with warnings.catch_warnings():
    # It reads its protocol by functions of the standard library that Python 3.11 and 3.12 call deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka.partitioner.default import murmur2 as murmur2_of_kafka

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVENT = Event(
    id="1",
    type="transfer",
    patient="Müller-7",
    encounter="V1",
    occurred_at=NOON.astimezone(timezone(timedelta(hours=2))),
    precision="hour",
    recorded_at=NOON,
    to="ICU^1^2",
    replaces=Ref("A", "0"),
    source="B",
    attributes={"acuity": 2, "late": True, "share": 0.5, "class": "E"},
)
VISIT = Visit(
    source="fhir",
    key="E1",
    recorded_at=NOON,
    version=3,
    events=[EVENT],
    course=Course(patient="Müller-7", began=When(NOON), stays=[Stay("ICU", When(NOON))]),
)


@pytest.mark.parametrize(
    "envelope",
    [
        Told(EVENT),
        Visited(VISIT),
        Heard("ADT/north"),
        Linked("p1", "p2"),
        Moved(
            "p2", "p1", [EVENT, Event(id="2", type="admit", patient="p2", occurred_at=NOON, arrived_at=NOON)]
        ),
    ],
)
def test_what_was_put_in_comes_out(envelope):
    assert decode(encode(envelope)) == envelope


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "no-content"),
        (b"", "no-content"),
        (b"{", "not-json"),
        (b"\xff", "not-json"),
        (b'{"type":"told"}', "not-an-envelope"),
        (b'{"type":"sold","event":{}}', "not-an-envelope"),
        (
            b'{"type":"told","event":{"id":"1","type":"admit","patient":"p","occurred_at":"noon"}}',
            "not-an-envelope",
        ),
        (b'{"type":"heard","x":' + b"[" * 100_000, "not-json"),
    ],
)
def test_what_is_no_envelope_is_a_reject(value, reason):
    found = decode(value)

    assert isinstance(found, Reject)
    assert found.reason == reason


@given(st.binary())
def test_no_bytes_raise(value):
    assert decode(value) is not None


def test_a_reject_says_where_and_holds_nothing_of_the_patient():
    found = decode(
        b'{"type":"told","event":{"id":"1","type":"admit","patient":"SECRET","occurred_at":"SECRET"}}'
    )

    assert found.field == "event.occurred_at"
    assert "SECRET" not in repr(found)
    assert "SECRET" not in repr(decode(b'{"type":"SECRET"}'))


def test_all_that_concerns_a_patient_has_one_key():
    of_patient = "Müller-7".encode()

    assert key_of(Told(EVENT)) == of_patient
    assert key_of(Linked("Müller-7", "a")) == of_patient
    assert key_of(Moved("b", "Müller-7", [])) == of_patient
    assert patient_key("Müller-7") == of_patient


def test_a_visit_keeps_its_key_when_its_patient_changes_and_no_patient_has_it():
    other = Visit(source="fhir", key="E1", recorded_at=NOON, course=Course(patient="somebody else"))
    same_text = Visit(source="fhir,", key="E1", recorded_at=NOON)

    assert key_of(Visited(other)) == key_of(Visited(VISIT)) != key_of(Visited(same_text))
    with pytest.raises(UnicodeDecodeError):
        key_of(Visited(VISIT)).decode()


# The vectors of Kafka's own UtilsTest.testMurmur2, signed there.
@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_kafka(data, signed):
    assert murmur2(data) == signed % 2**32


@given(st.binary(max_size=100), st.integers(1, 1000))
def test_a_key_lies_where_a_kafka_client_puts_it(key, partitions):
    assert murmur2(key) == murmur2_of_kafka(key) % 2**32
    assert partition_of(key, partitions) == (murmur2_of_kafka(key) & 0x7FFFFFFF) % partitions
