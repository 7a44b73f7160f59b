"""What travels on the topic `handoff.events` between the ways in and the workers, and by which key.

Every record of the topic holds one envelope as JSON. Its key decides its partition, as Kafka itself would (murmur2), so all that
concerns a patient is read in order by one worker.
"""

from __future__ import annotations

from typing import Final

import msgspec

from monitor.core.event import Event
from monitor.formats import canonical
from monitor.formats.fhir_visit import Visit
from monitor.formats.reject import Reject


class Told(msgspec.Struct, tag="told", omit_defaults=True):
    """One event, sent to its patient. `arrived_at` is absent, for the broker's time of the record says when it arrived; an event
    that a worker sends on carries its first arrival.
    """

    event: Event
    more: list[Event] = []
    """Others about the patient that arrived with it, and are to be judged with it."""


class Visited(msgspec.Struct, tag="visited"):
    """The state of a FHIR Encounter. It is sent to the visit, not to the patient: whoever reads it compares it with what
    was told of the visit before, which may have been about another patient, and sends each change to its patient.
    """

    visit: Visit


class Heard(msgspec.Struct, tag="heard"):
    """The source lives. Sent to every partition, for cases anywhere may depend on it; it has no key."""

    source: str


class Linked(msgspec.Struct, tag="linked"):
    """A merge links two patients; sent to one of them."""

    patient: str
    """Who is told."""
    other: str
    """With whom it is linked."""


class Moved(msgspec.Struct, tag="moved"):
    """Facts that are moved to the patient with whose others they are to be read; each with its first arrival."""

    patient: str
    """From whom they are moved."""
    home: str
    """To whom."""
    facts: list[Event]
    alerts: list[msgspec.Raw] = []
    """The alerts of all that moves together as they were last told, each a notice as on the topic of alerts."""
    cases: list[str] = []
    """The cases of which verdicts were told; with the last record of what moves together."""
    goes_on: bool = False
    """Whether more follows that moves together with it: until then its receiver says nothing of these alerts."""


Envelope = Told | Visited | Heard | Linked | Moved

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Envelope] = msgspec.json.Decoder(Envelope)
_NO_CONTENT: Final = Reject("no-content", "the record has no value, so it says nothing")
_VISIT: Final = b"\xff"
"""No text in UTF-8 has this byte, so no patient's key is that of a visit."""


def encode(envelope: Envelope) -> bytes:
    """The value of its record."""
    return _encoder.encode(envelope)


def decode(value: bytes | None) -> Envelope | Reject:
    """The envelope in the value of a record, or why there is none. Never raises."""
    if not value:
        return _NO_CONTENT
    try:
        return _decoder.decode(value)
    except canonical.ERRORS as error:
        said = canonical.reject(error)
    if said.reason == "not-json":
        return said
    # msgspec shows the tag that it does not know, which may be anything
    detail = "no such type of envelope" if said.field == "type" else said.detail
    return Reject("not-an-envelope", detail, field=said.field)


def key_of(envelope: Told | Visited | Linked | Moved) -> bytes:
    """The key of its record: the patient to whom it goes, or the visit."""
    match envelope:
        case Told(event=event):
            return patient_key(event.patient)
        case Visited(visit=visit):
            return _VISIT + msgspec.json.encode([visit.source, visit.key])
        case Linked(patient=patient):
            return patient_key(patient)
        case Moved(home=home):
            return patient_key(home)


def patient_key(patient: str) -> bytes:
    """The key of records for a patient."""
    return patient.encode()


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, from 0 on, as Kafka's default partitioner has it."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """The 32-bit hash of Kafka's clients: MurmurHash2 by Austin Appleby, with Kafka's seed."""
    length = len(data)
    whole = length - length % 4
    mixed = _SEED ^ length
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _FACTOR & _BITS
        word = (word ^ word >> 24) * _FACTOR & _BITS
        mixed = (mixed * _FACTOR & _BITS) ^ word
    if whole < length:
        mixed = (mixed ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _BITS
    mixed = (mixed ^ mixed >> 13) * _FACTOR & _BITS
    return mixed ^ mixed >> 15


_SEED: Final = 0x9747B28C
_FACTOR: Final = 0x5BD1E995
_BITS: Final = 0xFFFFFFFF
