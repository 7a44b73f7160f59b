"""What the table of a partition holds, by key: the facts of journeys, where they have moved, what was told of visits, how far it is.

A value is facts as `Engine.dump` packs them (compressed where they are many), or the key of the patient to whom they have moved.
Before the facts there may be a head: how they stood when they were written, so that whoever begins need not live them again.
"""

from __future__ import annotations

import zlib
from datetime import datetime
from typing import Final

import msgspec

from monitor.core.engine import Standing
from monitor.core.event import Event
from monitor.formats.fhir import Visit

STATE: Final = b"c"
FEEDS: Final = b"f"
_JOURNEY: Final = b"p"
_VISIT: Final = b"v"
_MOVED: Final = b">"
_COMPRESSED: Final = b"z"
_HEADED: Final = b"h"
_NAME_LENGTH: Final = 12
_LONG: Final = 8_192
"""Bytes of facts; more are compressed."""

_encode: Final = msgspec.json.Encoder().encode
_facts: Final = msgspec.json.Decoder(list[Event])
_visit: Final = msgspec.json.Decoder(Visit)

Runs = dict[str, list[tuple[datetime, datetime]]]
"""From when to when each source was heard without a gap that could be silence."""


class State(msgspec.Struct):
    """How far a partition is."""

    clock: datetime
    """The engine's, when this was written."""
    digest: str
    """Of the rules by which all journeys have been looked at."""
    generation: int
    told_until: datetime | None = None
    """Until when all is told that time alone brings; not given: until the clock. Journeys that nobody has looked at keep it back."""


class Head(msgspec.Struct, array_like=True, gc=False):
    """How a journey stood that hangs together with no other, when its facts were written, and all that came of them was told."""

    rules: str
    """By which it was judged: the beginning of their digest."""
    clock: datetime
    """When that was."""
    due: tuple[datetime, int] | None
    """When the clock alone may change something next."""
    in_place: bool
    waiting: list[tuple[str, str, datetime | None]]
    alerts: list[tuple[str, str, int, str | None, datetime, int]]
    """Both as of `Engine.standing`."""

    def is_by(self, digest: str) -> bool:
        """Whether it was judged by rules of a digest."""
        return self.rules == digest[:_NAME_LENGTH]


_head: Final = msgspec.json.Decoder(Head)


def journey_key(patient: str) -> bytes:
    return _JOURNEY + patient.encode()


def patient_of(key: bytes) -> str | None:
    """The patient of a journey's key; None: it is that of something else."""
    return key[1:].decode() if key.startswith(_JOURNEY) else None


def visit_key(visit: Visit) -> bytes:
    return _VISIT + _encode([visit.source, visit.key])


def pack(packed: bytes) -> bytes:
    """The value of facts that are packed as `Engine.dump` does it."""
    return packed if len(packed) < _LONG else _COMPRESSED + zlib.compress(packed, 1)


def pack_moved(home: str) -> bytes:
    return _MOVED + home.encode()


def headed(value: bytes, standing: Standing, digest: str, clock: datetime) -> bytes:
    """The same facts, beneath a new head."""
    _, due, in_place, waiting, alerts = standing
    head = Head(digest[:_NAME_LENGTH], clock, due, in_place, waiting, alerts)
    return _HEADED + _encode(head) + b"\n" + beheaded(value)


def beheaded(value: bytes) -> bytes:
    """The facts alone, as they lie in the value."""
    return value.partition(b"\n")[2] if value[:1] == _HEADED else value


def head_of(value: bytes) -> Head | None:
    """Raises `msgspec.DecodeError` or `msgspec.ValidationError`."""
    return _head.decode(value[1:].partition(b"\n")[0]) if value[:1] == _HEADED else None


def home_of(value: bytes) -> str | None:
    """To whom the facts have moved; None: they are here."""
    return value[1:].decode() if value[:1] == _MOVED else None


def unpack(value: bytes) -> bytes:
    """Facts as `Engine.load` takes them; none, where they have moved. Raises `zlib.error`."""
    value = beheaded(value)
    match value[:1]:
        case b">":
            return b"[]"
        case b"z":
            return zlib.decompress(value[1:])
    return value


def facts_of(packed: bytes) -> list[Event]:
    return _facts.decode(packed)


def pack_facts(facts: list[Event]) -> bytes:
    return _encode(facts)


def pack_visit(told: Visit) -> bytes:
    return _encode(told)


def unpack_visit(value: bytes) -> Visit:
    return _visit.decode(value)


def pack_state(state: State) -> bytes:
    return _encode(state)


def unpack_state(value: bytes) -> State:
    return msgspec.json.decode(value, type=State)


def pack_runs(runs: Runs) -> bytes:
    return _encode(runs)


def unpack_runs(value: bytes) -> Runs:
    return msgspec.json.decode(value, type=Runs)
