"""What one Encounter resource, R4 or R5, says of its course."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final, NamedTuple

import msgspec

from monitor.core.event import LATEST
from monitor.core.place import PatientIdChoice, Registry, Source
from monitor.core.text import globbed
from monitor.formats import canonical
from monitor.formats.fhir_place import Spot, spots
from monitor.formats.fhir_resource import (
    Admission,
    Concept,
    Encounter,
    Identifier,
    Patient,
    Period,
    Reference,
    Resources,
    Time,
    head_of,
    parse_time,
    tail,
)
from monitor.formats.fhir_visit import Course, Leave, Span, Stay, Visit, When, continued, events_of
from monitor.formats.reject import Reject

_VOID: Final = frozenset({"cancelled", "entered-in-error"})
_ENDED: Final = frozenset({"finished", "discharged", "completed", "discontinued"})
_ON_LEAVE: Final = frozenset({"onleave", "on-leave"})
_INPATIENT: Final = frozenset({"IMP", "ACUTE", "NONAC", "SS", "I", "INPATIENT"})
"""v3 ActCode, and how HL7 v2 and people say it."""
_ACT_CODES: Final = "v3-ActCode"
_VISIT_NUMBER: Final = "VN"
_TEST: Final = "HTEST"
"""v3 ActReason: test health data."""
_LONGEST_NUMBER: Final = 18


class Unusable(Exception):  # noqa: N818  # it is an answer on its way out of nested calls, not an error to report
    """Ends the reading of one Encounter; caught where entries are read."""

    def __init__(self, reason: str, detail: str, field: str) -> None:
        super().__init__(reason)
        self.reject = Reject(reason, detail, "Encounter", field)


class Around(NamedTuple):
    """What decides how an Encounter is read, beside itself."""

    registry: Registry
    source: str
    resources: Resources
    dates: Sequence[str | None]
    """Times at which this version may have been made, if it does not say itself; the first that can be read holds."""
    full_url: str = ""

    @property
    def profile(self) -> Source:
        return self.registry.source(self.source)

    @property
    def zone(self) -> tzinfo:
        return self.profile.timezone or self.registry.timezone


def visit_of(encounter: Encounter, around: Around) -> Visit:
    """The visit that an Encounter tells of. Raises `Unusable`."""
    key = encounter.id or _identified(encounter) or tail(around.full_url)
    if not key:
        raise Unusable("no-encounter", "it has no id and no identifier", "Encounter.id")
    inside = _with_contained(encounter, around.resources)
    around = around._replace(resources=inside)
    course = _course(encounter, around)
    made = next(_times([encounter.meta.last_updated, *around.dates], around.zone), None)
    recorded = made or _latest(course)
    if recorded is None:
        raise Unusable("no-time", "nothing in it has a time", "Encounter.period")
    visit = Visit(
        source=around.source,
        key=key,
        recorded_at=recorded.at.astimezone(UTC),
        is_dated=made is not None,
        version=_version(encounter.meta.version_id),
        course=course,
    )
    visit.events = events_of(visit, continued(course, Course(), When(visit.recorded_at)))
    return visit


def deleted(key: str, around: Around) -> Visit:
    """The visit of an Encounter that its sender has deleted. Raises `Unusable`."""
    made = next(_times(around.dates, around.zone), None)
    if made is None:
        raise Unusable("no-time", "nothing says when it was deleted", "Bundle.entry.response.lastModified")
    return Visit(
        source=around.source, key=key, recorded_at=made.at.astimezone(UTC), course=Course(is_void=True)
    )


def _identified(encounter: Encounter) -> str:
    """A name for an Encounter without an id, which a sender may leave out of a message."""
    return next((f"{each.system}|{each.value}" for each in encounter.identifier if each.value), "")


def _with_contained(encounter: Encounter, outer: Resources) -> Resources:
    inside = Resources(outer)
    for resource in encounter.contained:
        try:
            head = head_of(resource)
            inside.add(head.resource_type, resource, f"#{head.id}")
        except canonical.ERRORS as error:
            detail = canonical.reject(error).detail
            raise Unusable("not-fhir", detail, "Encounter.contained") from None
    return inside


def _course(encounter: Encounter, around: Around) -> Course:
    subject = encounter.subject
    patient = around.resources.patient(subject.reference)
    key, is_chosen = _patient_key(subject, patient, around.profile)
    read = _Read(encounter, around)
    course = Course(
        patient=key,
        is_patient_chosen=is_chosen,
        subject=subject.reference,
        encounter=_visit_number(encounter),
        is_void=encounter.status in _VOID,
        is_planned=encounter.status == "planned",
        is_ended=encounter.status in _ENDED,
        planned_at=next((when for status, when, _ in read.statuses() if status == "planned"), None),
        planned_for=read.time(encounter.planned_start, "plannedStartDate"),
        classes=read.classes(),
        marks={"test": True} if _is_test(encounter, patient, key, around.profile) else {},
    )
    period = encounter.actual_period or encounter.period or Period()
    began, ended = read.time(period.start, "period.start"), read.time(period.end, "period.end")
    if course.is_planned:
        course.planned_for = course.planned_for or began
        course.planned_place = next((each.place for each in read.spots(planned=True)), None)
        return course
    course.began = began
    course.ended = ended if course.is_ended else None
    course.stays = read.stays()
    course.leaves, course.is_on_leave = read.leaves()
    admission = encounter.admission or encounter.hospitalization or Admission()
    course.arrival = {"admit_source": _word(admission.admit_source)}
    course.departure = {
        "disposition": _word(admission.discharge_disposition),
        "discharged_to": _called(admission.destination),
    }
    return course


class _Read:
    """The parts of an Encounter that have times."""

    def __init__(self, encounter: Encounter, around: Around) -> None:
        self._encounter = encounter
        self._around = around

    def time(self, text: str | None, field: str) -> When | None:
        """A time, if one was sent. Raises `Unusable` if it cannot be read."""
        if text is None:
            return None
        time = parse_time(text, self._around.zone)
        if time is None:
            raise Unusable(
                "bad-time", "it is no FHIR dateTime of the years 1000 to 8999", f"Encounter.{field}"
            )
        return When(time.at, time.precision)

    def spots(self, *, planned: bool = False) -> list[Spot]:
        return spots(self._encounter.location, self._around.resources, self._around.registry, planned=planned)

    def stays(self) -> list[Stay]:
        """The stays with a time, in order; where none has one, the last place alone."""
        service = _word(self._encounter.service_type)
        found = [
            Stay(spot.place, self.time(spot.since, "location.period.start"), service) for spot in self.spots()
        ]
        timed = [stay for stay in found if stay.since]
        return sorted(timed, key=lambda stay: _at(stay.since)) if timed else found[-1:]

    def classes(self) -> list[Span]:
        """The classes with their times; where nothing tells the past, that of now without a time."""
        now = self._span(self._encounter.class_)
        spans: list[Span] = []
        latest: list[When] = []
        for each in self._encounter.class_history:
            since = self.time(each.period.start, "classHistory.period.start")
            until = self.time(each.period.end, "classHistory.period.end")
            if since and each.class_:
                spans.append(msgspec.structs.replace(self._span(each.class_), since=since))
                latest += [since, until or since]
        spans.sort(key=lambda span: _at(span.since))
        if self._encounter.class_ is None or (spans and spans[-1].word == now.word):
            return spans
        since = max(latest, key=_at, default=None)
        return [*spans, msgspec.structs.replace(now, since=since)]

    def _span(self, said: Concept | list[Concept] | None) -> Span:
        code = _class_code(said)
        word = self._around.profile.classes.get(code, code) if code else None
        is_inpatient = code.upper() in _INPATIENT or (word or "").upper() in _INPATIENT
        return Span(word, is_inpatient)

    def statuses(self) -> Iterator[tuple[str, When, When | None]]:
        """The statuses of `statusHistory` that have a time, and when each ended."""
        for each in self._encounter.status_history:
            since = self.time(each.period.start, "statusHistory.period.start")
            if since is not None:
                yield each.status, since, self.time(each.period.end, "statusHistory.period.end")

    def leaves(self) -> tuple[list[Leave], bool | None]:
        """The leaves with their times, and None; where nothing tells the past, whether there is one now."""
        subject_status = _word(self._encounter.subject_status)
        is_on_leave = self._encounter.status in _ON_LEAVE or subject_status in _ON_LEAVE
        told = list(self.statuses())
        if not told:
            return [], is_on_leave
        leaves = [Leave(since, until) for status, since, until in told if status in _ON_LEAVE]
        leaves.sort(key=lambda leave: leave.since.at)
        if is_on_leave and not any(leave.until is None for leave in leaves):
            leaves.append(Leave(max((until or since for _, since, until in told), key=_at)))
        return leaves, None


def _at(when: When | None) -> datetime:
    return when.at if when else LATEST


def _times(texts: Sequence[str | None], zone: tzinfo) -> Iterator[Time]:
    """The times among texts that can be read."""
    for text in texts:
        time = parse_time(text, zone) if text else None
        if time is not None:
            yield time


def _latest(course: Course) -> When | None:
    """The last time that a course tells of; plans do not count."""
    spans = [span.since for span in course.classes] + [stay.since for stay in course.stays]
    leaves = [when for leave in course.leaves for when in (leave.since, leave.until)]
    told = [when for when in (course.began, course.ended, course.planned_at, *spans, *leaves) if when]
    return max(told, key=_at, default=None)


def _version(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < _LONGEST_NUMBER else 0


# --- codes, keys and names ---------------------------------------------------------------------------------------


def _word(said: Concept | list[Concept] | None) -> str | None:
    if isinstance(said, list):
        return next(filter(None, (each.word() for each in said)), None)
    return said.word() if said else None


def _class_code(said: Concept | list[Concept] | None) -> str:
    """The code of a class: one of v3 ActCode if there is any, else the first."""
    for each in said if isinstance(said, list) else [said] if said else []:
        for coding in each.coding:
            if coding.code and coding.system.endswith(_ACT_CODES):
                return coding.code
    return _word(said) or ""


def _called(reference: Reference | None) -> str | None:
    if reference is None:
        return None
    number = reference.identifier.value if reference.identifier else ""
    return number or reference.display or tail(reference.reference) or None


def _visit_number(encounter: Encounter) -> str | None:
    numbers = [each.value for each in encounter.identifier if each.is_of(_VISIT_NUMBER)]
    return next(filter(None, numbers), None) or encounter.id or None


def _patient_key(subject: Reference, patient: Patient | None, profile: Source) -> tuple[str, bool]:
    """The key of the patient, and whether it is one that the profile asks for. Raises `Unusable`."""
    wanted = profile.patient_id
    sent = [subject.identifier] if subject.identifier else []
    sent += patient.identifier if patient else []
    if wanted.authority or wanted.type:
        for each in sent:
            if each.value and _fits(each, wanted):
                return each.value, True
    own = patient.id if patient else ""
    key = own or _referred(subject.reference) or next((each.value for each in sent if each.value), "")
    if not key:
        raise Unusable(
            "no-patient", "its subject is no patient with an id or an identifier", "Encounter.subject"
        )
    return key, not (wanted.authority or wanted.type)


def _fits(identifier: Identifier, wanted: PatientIdChoice) -> bool:
    return (not wanted.authority or identifier.system == wanted.authority) and (
        not wanted.type or identifier.is_of(wanted.type)
    )


def _referred(reference: str) -> str:
    """The id of the patient that a reference leads to outside of the document; none where it leads to something else."""
    path = reference.partition("/_history/")[0].split("/")
    is_patient = ("Patient" in path[:-1] and path[-1]) or reference.startswith("urn:")
    return tail(reference) if is_patient else ""


def _is_test(encounter: Encounter, patient: Patient | None, key: str, profile: Source) -> bool:
    metas = [encounter.meta, patient.meta] if patient else [encounter.meta]
    if any(each.code == _TEST for meta in metas for each in (*meta.security, *meta.tag)):
        return True
    names = [f"{name.family}^{' '.join(name.given)}" for name in patient.name] if patient else []
    return any(globbed(glob, text) for glob in profile.test_patients for text in (key, *names))
