"""An Encounter as a course in time, and the events that tell it.

What an Encounter says with a time is its state: it may be told again at any time, and a later version corrects it.
What it says only of its present (a class, a leave, a place without a period) is known from the version in which it was
first seen, and stays known when a later version no longer says it: the course of a version is that of the one
before, *continued*.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Final, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from monitor.core.event import EARLIEST, Event, Moment, Precision, Value, moment_text

Attributes = dict[str, Value | None]

T = TypeVar("T")

REPEATED: Final = "~"
"""Separates the id of an event from the number of the statement about it: the first has none."""


class When(msgspec.Struct, frozen=True):
    """A moment, and how exactly it is known."""

    at: Moment
    precision: Precision = "second"


class Stay(msgspec.Struct, frozen=True):
    """A place, and since when the patient is there; None is since the Encounter began, or now."""

    place: str | None
    since: When | None = None
    service: str | None = None


class Span(msgspec.Struct, frozen=True):
    """A class of the Encounter, and since when it has it; None is from its beginning, or now."""

    word: str | None
    is_inpatient: bool
    since: When | None = None


class Leave(msgspec.Struct, frozen=True):
    """A leave of absence; None is not over yet."""

    since: When
    until: When | None = None


class Course(msgspec.Struct, kw_only=True):
    """What is known of the course of an Encounter."""

    patient: str = ""
    is_patient_chosen: bool = True
    """Whether the key is the identifier that the source's profile asks for; else it stands in for it."""
    subject: str = ""
    """The reference to the patient."""
    encounter: str | None = None
    is_void: bool = False
    """Cancelled, entered in error or deleted: there was no such visit."""
    is_planned: bool = False
    """Planned, and nothing more yet."""
    planned_at: When | None = None
    """When it was planned."""
    planned_for: When | None = None
    planned_place: str | None = None
    began: When | None = None
    stays: list[Stay] = []
    """By time; or only one, without a time."""
    classes: list[Span] = []
    """By time; only the first may be without."""
    leaves: list[Leave] = []
    is_on_leave: bool | None = None
    """Whether the patient is on leave now; None where `leaves` says since when."""
    is_ended: bool = False
    ended: When | None = None
    marks: Attributes = {}
    """Attributes of all its events."""
    arrival: Attributes = {}
    """Attributes of its first event."""
    departure: Attributes = {}
    """Attributes of its discharge."""


Number = Annotated[int, msgspec.Meta(ge=0)]


class Visit(msgspec.Struct, kw_only=True):
    """The whole state of one Encounter in one version, as the events that would tell it."""

    source: str
    key: str
    """Names the Encounter within its source."""
    recorded_at: Moment
    """`meta.lastUpdated`; where nothing says when the version was made, the last time that it tells of."""
    is_dated: bool = True
    """Whether something said when the version was made, so that an outdated one can be told."""
    version: Number = 0
    """`meta.versionId`, where it is a number."""
    events: list[Event] = []
    """Of a visit that was decoded: the events of this version, as if it were the first.
    Of one that is kept: what has been told, the last word on each event."""
    course: Course = msgspec.field(default_factory=Course)
    """What the events were made of; of one that is kept, with all that was seen in earlier versions."""


def continued(now: Course, before: Course, seen: When) -> Course:
    """The course of a version made at `seen`, with what earlier versions told and this one leaves unsaid."""
    if now.is_void:
        return replace(before, is_void=True)
    began = now.began or before.began
    course = replace(
        now,
        patient=_patient(now, before),
        began=began,
        stays=_stays(now, before, seen),
        classes=_classes(now, before, seen),
        leaves=_leaves(now, before, seen),
        is_on_leave=None,
        planned_at=now.planned_at or before.planned_at or (seen if now.is_planned else None),
        planned_for=now.planned_for or before.planned_for,
        planned_place=now.planned_place or before.planned_place,
    )
    if now.is_ended:
        course.ended = now.ended or (before.ended if before.is_ended else None) or seen
    return course


def _patient(now: Course, before: Course) -> str:
    """The key that was chosen before, where this version leaves out the identifier from which it was taken."""
    if not now.patient or (
        before.is_patient_chosen and not now.is_patient_chosen and before.subject == now.subject
    ):
        return before.patient or now.patient
    return now.patient


def _stays(now: Course, before: Course, seen: When) -> list[Stay]:
    """The stays that this version lists, after those before them that it says nothing about.

    A sender that lists only where the patient is now has lost nothing: from the beginning of its period to the first
    place that it lists, what was told stands.
    """
    known = {(stay.place, stay.since): stay for stay in before.stays}
    here = now.stays[0] if now.stays and now.stays[0].since is None else None
    if here is None:
        listed = [known.get((stay.place, stay.since), stay) for stay in now.stays]
        return [*_unsaid(now, before), *listed]
    if not before.stays:
        return [here if now.began else replace(here, since=seen)]
    if before.stays[-1].place == here.place:
        return before.stays
    return [*before.stays, replace(here, since=seen)]


def _unsaid(now: Course, before: Course) -> Iterator[Stay]:
    if now.began is None:
        return
    first = now.stays[0].since if now.stays else None
    for stay in before.stays:
        since = stay.since or now.began
        if now.began.at <= since.at and (first is None or since.at < first.at):
            yield stay


def _classes(now: Course, before: Course, seen: When) -> list[Span]:
    """The classes with their times; one that has none changed when a next stay began, else when it was seen."""
    if not before.classes or not now.classes or any(span.since for span in now.classes):
        return now.classes or before.classes
    last, span = before.classes[-1], now.classes[0]
    if (last.word, last.is_inpatient) == (span.word, span.is_inpatient):
        return before.classes
    told = {(stay.place, stay.since) for stay in before.stays}
    begun = [when.at for when in (last.since, *(stay.since for stay in before.stays)) if when]
    latest = max(begun, default=EARLIEST)
    moves = [stay.since for stay in now.stays if stay.since and (stay.place, stay.since) not in told]
    since = next((when for when in moves if latest < when.at <= seen.at), seen)
    if last.since and since.at < last.since.at:
        since = last.since
    return [*before.classes, replace(span, since=since)]


def _leaves(now: Course, before: Course, seen: When) -> list[Leave]:
    """The leaves with their times; one that the version only knows of now began or ended when it was seen."""
    if now.is_on_leave is None:
        return now.leaves
    if not before.leaves or before.leaves[-1].until is not None:
        return [*before.leaves, Leave(seen)] if now.is_on_leave else before.leaves
    if now.is_on_leave or now.is_ended:
        return before.leaves
    return [*before.leaves[:-1], replace(before.leaves[-1], until=seen)]


ARRIVALS: Final = {True: "admit", False: "register"}
"""How an Encounter of an inpatient class begins, and one of any other."""


def events_of(visit: Visit, course: Course) -> list[Event]:
    """The events that tell a course (one that is `continued`: everything in it has its time)."""
    if course.is_void:
        return []
    tell = _Teller(visit, course)
    events = [*tell.planned()]
    if not course.is_planned:
        events += [*tell.moves(), *tell.leaves(), *tell.end()]
    return list({event.id: event for event in events}.values())


class _Step(NamedTuple):
    """A moment at which the place or the class of an Encounter may change, with both as they are from then on."""

    since: When
    order: int
    """Its place among the steps of one moment."""
    place: str | None
    service: str | None
    span: Span


class _Teller:
    """Makes the events of one course."""

    def __init__(self, visit: Visit, course: Course) -> None:
        self._visit = visit
        self._course = course
        self._steps = list(_steps(course))

    def planned(self) -> Iterator[Event]:
        course = self._course
        if course.planned_at is not None:
            for_ = moment_text(course.planned_for.at) if course.planned_for else None
            attributes: Attributes = {
                "expected_admit": for_,
                "class": _class_at(course.classes, course.planned_at).word,
            }
            yield self._event("pre_admit", "pre_admit", course.planned_at, course.planned_place, attributes)

    def moves(self) -> Iterator[Event]:
        """Where the place changes, and where the patient becomes an inpatient or no longer is one."""
        before: _Step | None = None
        for step in self._steps:
            attributes: Attributes = {"class": step.span.word, "service": step.service}
            kind = ARRIVALS[step.span.is_inpatient]
            if before is None:
                attributes |= self._course.arrival
            elif step.span.is_inpatient != before.span.is_inpatient:
                attributes["prior_class"] = before.span.word
            elif step.place != before.place:
                kind = "transfer"
            else:
                continue
            name = f"{_instant(step.since)}/{step.order:02}/{_escaped(step.place or '')}"
            yield self._event(name, kind, step.since, step.place, attributes)
            before = step

    def leaves(self) -> Iterator[Event]:
        """A leave that lasts until the end of the Encounter has no return."""
        course = self._course
        for leave in course.leaves:
            yield self._event(f"{_instant(leave.since)}/leave", "leave", leave.since, None, {})
            until = leave.until
            if until and not (course.ended and until.at >= course.ended.at):
                yield self._event(f"{_instant(until)}/return", "return", until, self._place_at(until), {})

    def end(self) -> Iterator[Event]:
        course = self._course
        if course.ended is not None:
            attributes = {"class": _class_at(course.classes, course.ended).word, **course.departure}
            yield self._event("discharge", "discharge", course.ended, None, attributes)

    def _place_at(self, when: When) -> str | None:
        step = _last_at(self._steps, when, lambda step: step.since.at)
        return step.place if step else None

    def _event(self, name: str, kind: str, when: When, to: str | None, attributes: Attributes) -> Event:
        return Event(
            id=f"{_escaped(self._visit.key).replace('/', '%2F')}/{name}",
            type=kind,
            patient=self._course.patient,
            encounter=self._course.encounter,
            occurred_at=when.at,
            precision=when.precision,
            recorded_at=self._visit.recorded_at,
            to=to,
            source=self._visit.source,
            attributes=attributes | self._course.marks,
        )


def _steps(course: Course) -> Iterator[_Step]:
    """The stays, and the changes of class that fall into one of them, by time."""
    stays = [
        (since, stay)
        for stay in course.stays or [Stay(None)]
        if (since := stay.since or course.began) is not None
    ]
    if not stays:
        return
    stays.sort(key=_time_of)
    begun = {since.at for since, _ in stays}
    inside: list[tuple[When, Stay]] = []
    for span in course.classes:
        within = _last_at(stays, span.since, _time_of) if span.since else None
        if span.since and within and span.since.at not in begun:
            inside.append((span.since, within[1]))
    order = 0
    before: datetime | None = None
    for since, stay in sorted(stays + inside, key=_time_of):
        order = order + 1 if since.at == before else 0
        before = since.at
        yield _Step(since, order, stay.place, stay.service, _class_at(course.classes, since))


def _time_of(stay: tuple[When, Stay]) -> datetime:
    return stay[0].at


def _class_at(classes: Sequence[Span], when: When) -> Span:
    if not classes:
        return Span(None, False)
    return _last_at(classes, when, lambda span: span.since.at if span.since else EARLIEST) or classes[0]


def _last_at(begun: Sequence[T], when: When, time_of: Callable[[T], datetime]) -> T | None:
    """The last, of some by time, that has begun at a moment."""
    count = bisect_right(begun, when.at, key=time_of)
    return begun[count - 1] if count else None


def _instant(when: When) -> str:
    """A moment in the id of an event: UTC, without a fraction of a second where there is none."""
    return moment_text(when.at).replace(".000000", "")


def _escaped(text: str) -> str:
    """A part of the id of an event, without the character that separates the number of a repeated one."""
    return text.replace("%", "%25").replace(REPEATED, "%7E")
