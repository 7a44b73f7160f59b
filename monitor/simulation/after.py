"""After a visit: the summary, the notices, the practice, and perhaps another visit."""

from __future__ import annotations

from typing import Final

from monitor.simulation.chance import NARROW, WIDE
from monitor.simulation.clock import DAY, HOUR, MINUTE
from monitor.simulation.course import Course
from monitor.simulation.journey import Seconds

_NOTICE: Final = {"register": "registration", "admit": "admission", "discharge": "discharge"}


def notify(course: Course) -> None:
    """The practice is sent a notice of what happened in the hospital, and books the admissions among them."""
    chance, practice = course.chance, course.hospital.practice
    if chance.happens(0.06):
        return  # no practice is known
    for fact in course.facts[:]:
        event = _NOTICE.get(fact.type)
        if event is None or chance.happens(0.03) or fact.attributes.get("disposition") == "died":
            continue
        if fact.attributes.get("disposition") == "transferred":
            event = "transfer"
        delay = chance.about(3 * HOUR) if chance.happens(0.05) else chance.about(3 * MINUTE)
        notice = course.note("notice_sent", fact.at + delay, event=event)
        notice.visit = fact.visit
        if event == "admission" and not chance.happens(0.1):
            read_at = course.clock.at_office_hours(
                notice.at + chance.about(5 * HOUR), chance.between(0, 4 * HOUR)
            )
            course.note_outside(practice, "admission_notice_received", read_at)


def after_attendance(course: Course, left_at: Seconds) -> Seconds | None:
    """A patient goes home from the emergency department; returns when he or she is back, if ever."""
    chance = course.chance
    if left_at >= course.clock.end:
        return None
    _summary(course, left_at, 5 * HOUR)
    if chance.happens(0.05):
        return left_at + 2 * HOUR + chance.about(4 * DAY, WIDE)
    return None


def after_stay(course: Course, left_at: Seconds, *, psychiatric: bool) -> Seconds | None:
    """A patient goes home from a bed; returns when he or she is back, if ever."""
    chance, clock, practice = course.chance, course.clock, course.hospital.practice
    if left_at >= clock.end:
        return None
    _summary(course, left_at, 8 * HOUR)
    if not chance.happens(0.08):
        told_at = clock.at_office_hours(left_at + chance.about(12 * HOUR), chance.between(0, 4 * HOUR))
        course.note_outside(practice, "discharge_information_received", told_at)
    if chance.happens(0.4):
        _transitional_care(course, left_at)
    elif psychiatric and not chance.happens(0.12):
        _visit(
            course,
            left_at + (chance.about(4 * DAY) if chance.happens(0.92) else chance.between(30, 37) * DAY),
        )
    if not chance.happens(0.25):
        reconciled_at = clock.at_office_hours(
            left_at + chance.about(4 * DAY, WIDE), chance.between(0, 8 * HOUR)
        )
        course.note_outside(practice, "medication_reconciled", reconciled_at)
    if not chance.happens(0.2):
        engaged_at = clock.at_office_hours(left_at + chance.about(5 * DAY, WIDE), chance.between(0, 8 * HOUR))
        course.note_outside(practice, "patient_engaged", engaged_at)
    if chance.happens(0.25 if psychiatric else 0.11):
        return left_at + 6 * HOUR + chance.about((3 if psychiatric else 7) * DAY, WIDE)
    return None


def died(course: Course, at: Seconds) -> None:
    """The practice is told, and nothing is owed."""
    _summary(course, at, 10 * HOUR)


def _summary(course: Course, left_at: Seconds, median: Seconds) -> None:
    if not course.chance.happens(0.035):
        course.note("summary_sent", left_at + course.chance.about(median, WIDE))


def _transitional_care(course: Course, left_at: Seconds) -> None:
    """Contact within two working days and a visit within one week or two are owed, and mostly come."""
    chance = course.chance
    complexity = "high" if chance.happens(0.35) else "moderate"
    course.note("tcm_started", left_at + 2 * MINUTE, complexity=complexity)
    if not chance.happens(0.08):
        contact_at = left_at + chance.about(22 * HOUR)
        contact_at = course.clock.at_office_hours(contact_at, chance.between(0, 9 * HOUR))
        course.note_outside(course.hospital.practice, "followup_contact", contact_at)
    if not chance.happens(0.1):
        _visit(course, left_at + chance.about((5 if complexity == "high" else 9) * DAY, NARROW))


def _visit(course: Course, about: Seconds) -> None:
    chance = course.chance
    at = course.clock.at_office_hours(about, chance.between(0, 8 * HOUR))
    course.note_outside(course.hospital.practice, "followup_visit", at)
