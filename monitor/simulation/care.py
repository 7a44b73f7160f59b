"""Who comes to the hospital, when, and what happens to each: the people of one hospital, in order of their arrival."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from monitor.simulation.after import notify
from monitor.simulation.chance import NARROW, tickets
from monitor.simulation.clock import HOUR, MINUTE
from monitor.simulation.course import Course
from monitor.simulation.emergency import emergency
from monitor.simulation.hospital import WARD_5S, Hospital
from monitor.simulation.inpatient import Stay, inpatient, operation
from monitor.simulation.journey import Seconds

_EMERGENCIES: Final = 146
"""A day, in a hospital with all of its wards."""
_ELECTIVES: Final = 13
"""On a day from Monday to Friday."""
_BY_WEEKDAY: Final = (1.10, 1.02, 1.00, 0.98, 0.98, 0.95, 0.97)
_HOURS: Final = tickets(
    dict(
        enumerate(
            (26, 21, 18, 16, 15, 16, 20, 30, 46, 59, 64, 63, 60, 58, 57, 57, 58, 59, 58, 56, 51, 45, 37, 30)
        )
    )
)
"""Emergencies by local hour: quiet before dawn, busy from ten to eight."""
_BOOKED: Final = 4
"""Days ahead for which operations are booked."""

Way = Callable[[Course, Seconds], Seconds | None]
"""How a visit begins; it returns when the patient comes back through the emergency department, if ever."""


def courses(hospital: Hospital) -> Iterator[Course]:
    """The course of each person who comes within the time of the log, in order of their first facts."""
    clock = hospital.clock
    for day in range(hospital.options.days):
        for at, way in sorted(arrivals(hospital, day), key=_when):
            if at >= clock.midnights[day + 1]:
                continue  # the day that loses an hour has none for them
            course = Course(hospital)
            again_at = way(course, at)
            while again_at is not None and again_at < clock.end:
                again_at = _again(course, again_at)
            notify(course)
            yield course


def _when(arrival: tuple[Seconds, Way]) -> Seconds:
    return arrival[0]


def arrivals(hospital: Hospital, day: int) -> Iterator[tuple[Seconds, Way]]:
    """Emergencies of a day, and operations that are booked on it, or were before the log began."""
    chance, clock = hospital.chance, hospital.clock
    midnight = clock.midnights[day]
    weekday = clock.weekday(day)
    for _ in range(chance.count(_EMERGENCIES * hospital.size * _BY_WEEKDAY[weekday])):
        yield midnight + chance.one_of(_HOURS) * HOUR + chance.between(0, HOUR), emergency
    if day < _BOOKED and not clock.is_day_off(day):  # booked before the log begins
        for _ in range(chance.count(_ELECTIVES * hospital.size)):
            yield _comes_at(hospital, day), elective
    if not clock.is_day_off(day + _BOOKED):
        for _ in range(chance.count(_ELECTIVES * hospital.size)):
            yield midnight + 9 * HOUR + chance.between(0, 8 * HOUR), _booked


def _comes_at(hospital: Hospital, day: int) -> Seconds:
    """The morning of a day, when those who are to be operated on are called."""
    return hospital.clock.midnights[day] + 6 * HOUR + hospital.chance.between(0, 4 * HOUR)


def _booked(course: Course, at: Seconds) -> Seconds | None:
    """An operation is booked some days ahead."""
    course.open_visit()
    course.order("pre_admit", at)
    return _comes(course, _comes_at(course.hospital, course.clock.day(at) + _BOOKED))


def elective(course: Course, at: Seconds) -> Seconds | None:
    """A planned admission for an operation."""
    course.open_visit()
    return _comes(course, at)


def _comes(course: Course, at: Seconds) -> Seconds | None:
    """Called for that morning: admitted and operated on, sent home, or told to come another day."""
    chance = course.chance
    place = course.hospital.ward(WARD_5S)
    order = course.ask_for("pending_admit", at, place)
    if chance.happens(0.06):
        if chance.happens(0.7):
            course.withdrawn.append((order, at + chance.about(HOUR, NARROW)))
        return None
    if chance.happens(0.05):  # no bed today: on another day, with a new order or without one
        if chance.happens(0.5):
            course.ask_for("pending_admit", at + chance.between(2, 9) * HOUR, place)
        at += chance.between(23, 28) * HOUR
    bed = course.bed(place, at + 40 * MINUTE, 9 * HOUR)
    admitted_at = bed.at + chance.about(25 * MINUTE)
    course.move("admit", admitted_at, bed.location, planned=True, **{"class": "inpatient"})
    stay = Stay(place, bed, admitted_at, "surgical")
    to_icu = chance.happens(0.07)
    operated = operation(course, stay, admitted_at + chance.about(150 * MINUTE), planned_icu=to_icu)
    return inpatient(course, operated)


def _again(course: Course, at: Seconds) -> Seconds | None:
    """The patient comes back, mostly as an emergency; some return was planned."""
    if course.chance.happens(0.15):
        return elective(course, _comes_at(course.hospital, course.clock.day(at) + 1))
    return emergency(course, at)
