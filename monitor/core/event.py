"""The canonical event: one fact about one patient, as it was told to us.

HL7 v2, FHIR, CloudEvents and tables all decode to this type. It is decoded from JSON straight into the
struct below; nothing else in the core knows about the wire.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from sys import intern
from typing import Annotated, Any, Final, Literal

import msgspec

Precision = Literal["second", "minute", "hour", "day"]
Value = str | int | float | bool
"""What an attribute may hold."""

UNIT: Final[dict[str, timedelta]] = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
}

# Far enough from the ends of `datetime` that adding any duration a rule may have (at most 100 years) is safe.
EARLIEST: Final = datetime(1000, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)

HEARTBEAT: Final = "heartbeat"
"""An event of this type only proves that its source lives; it belongs to no journey."""

_encoder = msgspec.json.Encoder(order="sorted")

_ORDER = [
    "pre_admit",
    "register",
    "pending_admit",
    "admit",
    "return",
    "MILESTONE",
    "pending_transfer",
    "pending_discharge",
    "depart",
    "arrive",
    "transfer",
    "update",
    "leave",
    "discharge",
    "merge",
    "CANCEL",
]
_RANK: Final = {name: rank for rank, name in enumerate(_ORDER)}
_MILESTONE_RANK: Final = _RANK.pop("MILESTONE")
_CANCEL_RANK: Final = _RANK.pop("CANCEL")
CORE_TYPES: Final = frozenset(_RANK)
"""Types with a meaning of their own (contract, section 2), but for their cancels; any other is a milestone."""
MERGE_RANK: Final = _RANK["merge"]
"""Facts of this rank and above, merges and cancels, change what came before them."""

CANCEL_PREFIX: Final = "cancel_"
STATEFUL: Final = frozenset(
    {"register", "admit", "transfer", "arrive", "return", "leave", "discharge", "merge"}
)
"""Types that change what follows them in a journey, whether a rule asks for them or not."""
OPENS_ENCOUNTER: Final = frozenset({"register", "admit", "transfer", "arrive", "return"})
"""Types that open an encounter and, with a `to`, put the patient in a place (section 2, Encounter and place)."""


class Ref(msgspec.Struct, frozen=True, gc=False):
    """An event of another source, named by `source` and `id`."""

    source: str
    id: str


Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Event(msgspec.Struct, kw_only=True, gc=False, omit_defaults=True, rename={"from_": "from"}):
    """One canonical event (contract, section 2). Treat it as immutable.

    Times are aware. They are normalised to UTC, except where the precision is an hour or a day: there the
    offset says which hour or day was meant. `from_` and `to` hold what was sent, a microsystem's id or a raw
    location; the registry maps them when journeys are derived, so that a changed registry applies to the past.

    Raises `ValueError` on a time outside the years 1000 to 8999 or an empty `id`, `type` or `patient`.
    """

    id: str
    type: str
    patient: str
    occurred_at: Moment
    encounter: str | None = None
    precision: Precision = "second"
    recorded_at: Moment = None  # type: ignore[assignment]  # filled in below; absent means `occurred_at`
    arrived_at: Moment | None = None
    from_: str | None = None
    to: str | None = None
    cancels: str | Ref | None = None
    replaces: str | Ref | None = None
    source: str = ""
    attributes: dict[str, Value | None] = {}

    def __post_init__(self) -> None:
        if not (self.id and self.type and self.patient):
            raise ValueError("id, type and patient must not be empty")
        # few different ones occur, again and again: one text for all is found faster
        self.type, self.source = intern(self.type), intern(self.source)
        occurred_at, recorded_at = self.occurred_at, self.recorded_at
        if occurred_at.tzinfo is not UTC:
            occurred_at = self.occurred_at = self._normalised("occurred_at", occurred_at)
        if recorded_at is None:
            recorded_at = self.recorded_at = occurred_at  # type: ignore[unreachable]  # absent on the wire
        elif recorded_at.tzinfo is not UTC:
            recorded_at = self.recorded_at = self._normalised("recorded_at", recorded_at)
        if not (EARLIEST <= occurred_at < LATEST and EARLIEST <= recorded_at < LATEST):
            raise ValueError("occurred_at and recorded_at must lie in the years 1000 to 8999")
        if self.arrived_at is not None:
            self.arrived_at = self._normalised("arrived_at", self.arrived_at)
            if not EARLIEST <= self.arrived_at < LATEST:
                raise ValueError("arrived_at must lie in the years 1000 to 8999")
        if self.attributes and None in self.attributes.values():
            self.attributes = {name: v for name, v in self.attributes.items() if v is not None}

    def _normalised(self, field: str, moment: datetime) -> datetime:
        if moment.tzinfo is None:
            raise ValueError(f"{field} has no offset")
        if field == "occurred_at" and self.precision in ("hour", "day"):
            return moment
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            raise ValueError(f"{field} must lie in the years 1000 to 8999") from None


def is_cancel(event: Event) -> bool:
    """Whether the event undoes another: by naming it, or by its type."""
    return event.cancels is not None or event.type.startswith(CANCEL_PREFIX)


def rank(event_type: str) -> int:
    """Place of a type among events of one instant (contract, section 2, Order)."""
    found = _RANK.get(event_type)
    if found is not None:
        return found
    return _CANCEL_RANK if event_type.startswith(CANCEL_PREFIX) else _MILESTONE_RANK


def same_instant(one: Event, other: Event) -> bool:
    """Whether two events happened at one instant, at the coarser precision of the two.

    The coarser of the two covers the whole second, minute, hour or day (of its own offset) in which it lies.
    """
    unit, other_unit = UNIT[one.precision], UNIT[other.precision]
    apart = abs(one.occurred_at - other.occurred_at)
    if not apart:
        return True
    if apart >= unit and apart >= other_unit:
        return False
    if unit > other_unit:
        return _covers(one, other)
    if unit < other_unit:
        return _covers(other, one)
    return _covers(one, other) or _covers(other, one)


def _covers(coarse: Event, other: Event) -> bool:
    start = _floor(coarse)
    return start <= other.occurred_at < start + UNIT[coarse.precision]


def _floor(event: Event) -> datetime:
    moment = event.occurred_at
    match event.precision:
        case "second":
            return moment.replace(microsecond=0)
        case "minute":
            return moment.replace(second=0, microsecond=0)
        case "hour":
            return moment.replace(minute=0, second=0, microsecond=0)
        case "day":
            return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def canonical_bytes(event: Event) -> bytes:
    """The bytes by which two copies of an event are compared (contract, section 2, Duplicates).

    JSON with sorted keys, no spaces, no nulls, no `arrived_at`, times in UTC to the microsecond.
    """
    return _encoder.encode(canonical_fields(event))


def moment_text(value: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def canonical_fields(event: Event) -> dict[str, Any]:
    """The event as plain JSON values, without `arrived_at`; what is unknown is left out."""
    fields = {
        "id": event.id,
        "type": event.type,
        "patient": event.patient,
        "encounter": event.encounter,
        "occurred_at": moment_text(event.occurred_at),
        "precision": event.precision,
        "recorded_at": moment_text(event.recorded_at),
        "from": event.from_,
        "to": event.to,
        "cancels": _reference(event.cancels),
        "replaces": _reference(event.replaces),
        "source": event.source,
        "attributes": event.attributes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _reference(target: str | Ref | None) -> str | dict[str, str] | None:
    return {"source": target.source, "id": target.id} if isinstance(target, Ref) else target
