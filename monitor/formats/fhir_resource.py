"""FHIR on the wire: the parts of resources that are read (R4 and R5 alike), references between them, and times."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final, NamedTuple

import msgspec

from monitor.core.event import EARLIEST, LATEST, Precision


class Coding(msgspec.Struct):
    system: str = ""
    code: str = ""


class Identifier(msgspec.Struct):
    system: str = ""
    value: str = ""
    type: Concept | None = None

    def is_of(self, code: str) -> bool:
        """Whether one of the codes of its type is this one."""
        return self.type is not None and any(each.code == code for each in self.type.coding)


class Concept(msgspec.Struct):
    """A CodeableConcept, or (as the class of an R4 Encounter) a Coding."""

    coding: list[Coding] = []
    text: str = ""
    code: str = ""
    concept: Concept | None = None
    """Of a CodeableReference (R5): what it is, where it is not a reference."""

    def word(self) -> str | None:
        """Its first code, else its text."""
        codes = [self.code, *(each.code for each in self.coding), self.text]
        return next(filter(None, codes), None) or (self.concept.word() if self.concept else None)


class Reference(msgspec.Struct):
    reference: str = ""
    identifier: Identifier | None = None
    display: str = ""


class Period(msgspec.Struct):
    start: str | None = None
    end: str | None = None


class Meta(msgspec.Struct, rename="camel"):
    last_updated: str | None = None
    version_id: str = ""
    security: list[Coding] = []
    tag: list[Coding] = []


class AtLocation(msgspec.Struct, rename="camel"):
    """`Encounter.location[]`."""

    location: Reference = msgspec.field(default_factory=Reference)
    status: str = ""
    physical_type: Concept | None = None
    form: Concept | None = None
    period: Period | None = None


class StatusPeriod(msgspec.Struct):
    """`Encounter.statusHistory[]` (R4)."""

    status: str = ""
    period: Period = msgspec.field(default_factory=Period)


class ClassPeriod(msgspec.Struct, rename={"class_": "class"}):
    """`Encounter.classHistory[]` (R4)."""

    class_: Concept | None = None
    period: Period = msgspec.field(default_factory=Period)


class Admission(msgspec.Struct, rename="camel"):
    """`Encounter.hospitalization` (R4), `.admission` (R5)."""

    admit_source: Concept | None = None
    discharge_disposition: Concept | None = None
    destination: Reference | None = None


class Encounter(msgspec.Struct, rename={
    "class_": "class", "status_history": "statusHistory", "class_history": "classHistory",
    "subject_status": "subjectStatus", "service_type": "serviceType", "actual_period": "actualPeriod",
    "planned_start": "plannedStartDate",
}):  # fmt: skip
    """What is read of an Encounter."""

    id: str = ""
    meta: Meta = msgspec.field(default_factory=Meta)
    contained: list[msgspec.Raw] = []
    identifier: list[Identifier] = []
    status: str = ""
    status_history: list[StatusPeriod] = []
    class_: Concept | list[Concept] | None = None
    class_history: list[ClassPeriod] = []
    subject: Reference = msgspec.field(default_factory=Reference)
    subject_status: Concept | None = None
    service_type: Concept | list[Concept] | None = None
    period: Period | None = None
    actual_period: Period | None = None
    planned_start: str | None = None
    hospitalization: Admission | None = None
    admission: Admission | None = None
    location: list[AtLocation] = []


class Name(msgspec.Struct):
    family: str = ""
    given: list[str] = []


class Patient(msgspec.Struct):
    """What is read of a Patient."""

    id: str = ""
    meta: Meta = msgspec.field(default_factory=Meta)
    identifier: list[Identifier] = []
    name: list[Name] = []


class Location(msgspec.Struct, rename="camel"):
    """What is read of a Location."""

    id: str = ""
    identifier: list[Identifier] = []
    name: str = ""
    physical_type: Concept | None = None
    form: Concept | None = None
    part_of: Reference | None = None


class Head(msgspec.Struct, rename="camel"):
    """What any resource says of itself."""

    resource_type: str
    id: str = ""


class Request(msgspec.Struct):
    method: str = ""
    url: str = ""


class Response(msgspec.Struct, rename="camel"):
    last_modified: str | None = None


class Entry(msgspec.Struct, rename="camel"):
    """`Bundle.entry[]`."""

    full_url: str = ""
    resource: msgspec.Raw = msgspec.Raw()
    request: Request | None = None
    response: Response | None = None


class Bundle(msgspec.Struct):
    type: str = ""
    timestamp: str | None = None
    meta: Meta = msgspec.field(default_factory=Meta)
    entry: list[Entry] = []


class Sender(msgspec.Struct):
    """`MessageHeader.source`."""

    name: str = ""
    endpoint: str = ""


class MessageHeader(msgspec.Struct):
    source: Sender = msgspec.field(default_factory=Sender)


class Numbered(msgspec.Struct, rename="camel"):
    """`SubscriptionStatus.notificationEvent[]`."""

    event_number: str | int = ""
    timestamp: str | None = None


class SubscriptionStatus(msgspec.Struct, rename="camel"):
    type: str = ""
    subscription: Reference = msgspec.field(default_factory=Reference)
    events_since_subscription_start: str | int = ""
    notification_event: list[Numbered] = []


class Parameter(msgspec.Struct, rename="camel"):
    """`Parameters.parameter[]`, and its parts: by them the backport to R4 sends a SubscriptionStatus."""

    name: str = ""
    value_code: str = ""
    value_string: str = ""
    value_instant: str | None = None
    value_reference: Reference | None = None
    part: list[Parameter] = []


class Parameters(msgspec.Struct):
    parameter: list[Parameter] = []


head_of = msgspec.json.Decoder(Head).decode
encounter_of = msgspec.json.Decoder(Encounter).decode
bundle_of = msgspec.json.Decoder(Bundle).decode
header_of = msgspec.json.Decoder(MessageHeader).decode
status_of = msgspec.json.Decoder(SubscriptionStatus).decode
parameters_of = msgspec.json.Decoder(Parameters).decode
_patient_of = msgspec.json.Decoder(Patient).decode
_location_of = msgspec.json.Decoder(Location).decode


def tail(reference: str) -> str:
    """The id in a reference: of `Patient/12`, `https://.../Patient/12/_history/3` and `urn:uuid:12`."""
    if reference.startswith("urn:"):
        return reference.rpartition(":")[2]
    return reference.partition("/_history/")[0].rstrip("/").rpartition("/")[2]


class Resources:
    """Patients and Locations by the references that lead to them; those inside an Encounter come before all others."""

    def __init__(self, outer: Resources | None = None) -> None:
        self._outer = outer
        self._patients: dict[str, Patient] = {}
        self._locations: dict[str, Location] = {}

    def add(self, kind: str, resource: msgspec.Raw, *names: str) -> None:
        """Keep a resource under names by which it is referred to. Raises one of `canonical.ERRORS`."""
        if kind == "Patient":
            self._patients |= dict.fromkeys(filter(None, names), _patient_of(resource))
        elif kind == "Location":
            self._locations |= dict.fromkeys(filter(None, names), _location_of(resource))

    def patient(self, reference: str) -> Patient | None:
        """The Patient that is meant, if it was sent."""
        for name in _ways(reference):
            if name in self._patients:
                return self._patients[name]
        return self._outer.patient(reference) if self._outer else None

    def location(self, reference: str) -> Location | None:
        """The Location that is meant, if it was sent."""
        for name in _ways(reference):
            if name in self._locations:
                return self._locations[name]
        return self._outer.location(reference) if self._outer else None


def _ways(reference: str) -> Iterator[str]:
    """What a reference may be kept under: as it is, and by its last two parts (a type and an id)."""
    plain = reference.partition("/_history/")[0]
    if not plain:
        return
    yield plain
    yield "/".join(plain.split("/")[-2:])


class Time(NamedTuple):
    """A moment, and how exactly it is known."""

    at: datetime
    precision: Precision = "second"


_TIME = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?"
)
_LEAP_SECOND: Final = 60


def parse_time(text: str, zone: tzinfo) -> Time | None:
    """A FHIR dateTime or instant; `zone` holds where it says none. None when it cannot be read.

    A date, and the first day for a year or a month, is known to the day.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second = (
        int(found[name] or default)
        for name, default in (
            ("year", 0),
            ("month", 1),
            ("day", 1),
            ("hour", 0),
            ("minute", 0),
            ("second", 0),
        )
    )
    micros = int((found["fraction"] or "0")[:6].ljust(6, "0"))
    if second == _LEAP_SECOND:
        second, micros = 59, 999_999
    try:
        at = datetime(year, month, day, hour, minute, second, micros, _offset(found["zone"]) or zone)
        at = at.replace(tzinfo=timezone(at.utcoffset() or timedelta()))
        if not EARLIEST <= at < LATEST:
            return None
    except (ValueError, OverflowError):
        return None
    if found["hour"] is None:
        return Time(at, "day")
    return Time(at, "minute" if found["second"] is None else "second")


def _offset(text: str | None) -> tzinfo | None:
    if text is None or text == "Z":
        return UTC if text else None
    hours, minutes = text[1:].split(":")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if text[0] == "-" else offset)
