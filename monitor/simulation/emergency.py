"""A visit to the emergency department."""

from __future__ import annotations

from typing import Final, NamedTuple

from monitor.simulation.after import after_attendance, died
from monitor.simulation.chance import NARROW, WIDE, tickets
from monitor.simulation.clock import HOUR, MINUTE
from monitor.simulation.course import Course
from monitor.simulation.hospital import (
    AMU,
    ED,
    ICU,
    MENTAL_HEALTH,
    STROKE_UNIT,
    WARD_4W,
    WARD_5S,
    WARD_6E,
    Bed,
    Place,
)
from monitor.simulation.inpatient import Stay, inpatient
from monitor.simulation.journey import Attribute, Fact, Seconds
from monitor.simulation.sepsis import sepsis

_ACUITY: Final = tickets({1: 1, 2: 14, 3: 40, 4: 38, 5: 7})
_BY_AMBULANCE: Final = (0.95, 0.70, 0.40, 0.12, 0.05)
_ADMITTED: Final = (0.90, 0.55, 0.26, 0.08, 0.02)
_WORK_UP: Final = (75, 115, 115, 90, 52)
"""By acuity, 1 first: the share that comes by ambulance, and is admitted; minutes from the cubicle to the decision."""
_PROBLEM: Final = tickets(
    {"medical": 48, "injury": 27, "surgical": 14, "sepsis": 4, "stroke": 2, "mental": 5}
)
_ALWAYS_ADMITTED: Final = frozenset({"sepsis", "stroke"})
_MENTAL_ADMITTED: Final = 0.35
_FIRST_WARD: Final = {
    "medical": AMU,
    "sepsis": AMU,
    "injury": WARD_5S,
    "surgical": WARD_5S,
    "stroke": STROKE_UNIT,
    "mental": MENTAL_HEALTH,
}
_OUTLIERS: Final = (AMU, WARD_4W, WARD_6E, WARD_5S)
_PATIENCE: Final = 9 * HOUR
"""How long a bed on the right ward is waited for, before one on another is looked for."""


class _Attendance(NamedTuple):
    """Who came, with what, and how much slower the night makes all."""

    acuity: int
    problem: str
    registered_at: Seconds
    slow: float


def emergency(course: Course, arrived_at: Seconds) -> Seconds | None:
    """From the arrival to the end of the visit, wherever that is; returns when the patient comes back, if ever."""
    chance = course.chance
    course.open_visit()
    acuity, problem = chance.one_of(_ACUITY), chance.one_of(_PROBLEM)
    if problem in _ALWAYS_ADMITTED:
        acuity = min(acuity, 2)
    if acuity == 1 and chance.happens(0.12):
        _dies_at_once(course, arrived_at)
        return None
    registered_at = _arrival(course, arrived_at, acuity)
    if acuity >= 4 and chance.happens(0.012):
        return _leaves(course, registered_at + chance.between(4 * MINUTE, 16 * MINUTE))
    slow = 1.25 if course.clock.is_night(arrived_at) else 1.0
    who = _Attendance(acuity, problem, registered_at, slow)
    triaged_at = _triage(course, who)
    if acuity >= 3 and chance.happens(0.03):
        return _leaves(course, triaged_at + chance.between(40 * MINUTE, 4 * HOUR))
    return _treated(course, who, _cubicle(course, who, triaged_at))


def _triage(course: Course, who: _Attendance) -> Seconds:
    minutes = 3 if who.acuity <= 2 else 7
    triaged_at = who.registered_at + course.chance.about(minutes * MINUTE * who.slow, NARROW) + 2 * MINUTE
    course.note("triage", triaged_at, acuity=who.acuity)
    return triaged_at


def _cubicle(course: Course, who: _Attendance, triaged_at: Seconds) -> Bed:
    """A cubicle when one is free; the sickest are in the resuscitation room at once."""
    chance, urgent = course.chance, who.acuity <= 2
    cubicle = course.bed(ED, triaged_at + chance.about((3 if urgent else 10) * MINUTE), 3 * HOUR)
    course.note("roomed", cubicle.at)
    if who.acuity == 1 or (urgent and chance.happens(0.3)):
        room = course.hospital.at(ED, "1", chance.one_of("AB"), point=1)
        course.move("transfer", cubicle.at + 3 * MINUTE, room)
    return cubicle


def _treated(course: Course, who: _Attendance, cubicle: Bed) -> Seconds | None:
    """Worked up until it is clear where the patient goes."""
    chance, problem = course.chance, who.problem
    decided_at = cubicle.at + chance.about(_WORK_UP[who.acuity - 1] * MINUTE * who.slow)
    critical = who.acuity == 1 and chance.happens(0.6)
    if problem == "sepsis":
        known_at, critical = sepsis(course, cubicle.at + chance.about(25 * MINUTE))
        decided_at = max(decided_at, known_at)
    if problem == "stroke":
        problem, decided_at = _stroke(course, who.registered_at, cubicle.at)
    if chance.happens(0.02):
        decided_at = max(decided_at, _to_annex(course, cubicle) + 5 * MINUTE)
    share = _MENTAL_ADMITTED if problem == "mental" else _ADMITTED[who.acuity - 1]
    if problem in _ALWAYS_ADMITTED or chance.happens(share):
        return _admitted(course, cubicle, decided_at, problem, critical=critical)
    return _sent_home(course, cubicle, decided_at, who.registered_at)


def _dies_at_once(course: Course, at: Seconds) -> None:
    """Brought in under resuscitation, which fails."""
    hospital = course.hospital
    course.note_outside(hospital.ambulance, "ambulance_arrived", at, hospital.at(ED, "AMB"))
    course.move("register", at + 3 * MINUTE, hospital.at(ED, "1", "A", point=1))
    died_at = at + course.chance.between(8 * MINUTE, 40 * MINUTE)
    course.move("discharge", died_at, disposition="died")
    died(course, died_at)


def _leaves(course: Course, at: Seconds) -> Seconds | None:
    """The patient leaves without being seen."""
    course.move("discharge", at, disposition="self")
    return after_attendance(course, at)


def _arrival(course: Course, at: Seconds, acuity: int) -> Seconds:
    """By ambulance, or on foot; returns when the patient is registered."""
    chance, hospital = course.chance, course.hospital
    waiting_room = hospital.at(ED, "WR")
    if not chance.happens(_BY_AMBULANCE[acuity - 1]):
        course.move("register", at, waiting_room)
        return at
    course.note_outside(hospital.ambulance, "ambulance_arrived", at, hospital.at(ED, "AMB"))
    registered_at = at + chance.about(5 * MINUTE, NARROW)
    course.move("register", registered_at, waiting_room)
    queue = min(hospital.beds[ED.id].wait(at), 2 * HOUR)
    taken_over_at = at + queue + chance.about(13 * MINUTE)
    if not chance.happens(0.02):
        course.note_outside(hospital.ambulance, "ambulance_handover", taken_over_at, waiting_room)
    return registered_at


def _stroke(course: Course, registered_at: Seconds, roomed_at: Seconds) -> tuple[str, Seconds]:
    """Suspected when seen, told as of the arrival; returns what it was, and when that was known."""
    chance = course.chance
    course.note("stroke_arrival", registered_at)
    known_at = roomed_at + chance.about(65 * MINUTE, NARROW)
    if chance.happens(0.3):
        course.note("stroke_ruled_out", known_at)
        return "medical", known_at + chance.about(40 * MINUTE)
    return "stroke", known_at


def _to_annex(course: Course, cubicle: Bed) -> Seconds:
    """To the X-ray annex and back: a place that the monitor was never told of. Returns when the patient is back."""
    went_at = cubicle.at + course.chance.between(8 * MINUTE, 25 * MINUTE)
    course.move("transfer", went_at, course.hospital.annex)
    back_at = went_at + course.chance.between(10 * MINUTE, 30 * MINUTE)
    course.move("transfer", back_at, cubicle.location)
    return back_at


def _sent_home(course: Course, cubicle: Bed, decided_at: Seconds, registered_at: Seconds) -> Seconds | None:
    chance = course.chance
    left_at = decided_at + chance.about(22 * MINUTE)
    nearly_late = 230 * MINUTE < left_at - registered_at < 290 * MINUTE
    if nearly_late and chance.happens(0.55):  # the last minutes before four hours are busy
        left_at = registered_at + chance.between(205 * MINUTE, 239 * MINUTE)
    course.leave_bed(ED, cubicle, left_at)
    disposition = "died" if chance.happens(0.003) else "transferred" if chance.happens(0.01) else "home"
    course.undo_plans(left_at)
    course.move("discharge", left_at, disposition=disposition)
    return None if disposition == "died" else after_attendance(course, left_at)


def _admitted(
    course: Course, cubicle: Bed, decided_at: Seconds, problem: str, *, critical: bool
) -> Seconds | None:
    """A bed is ordered and waited for; the patient leaves for it, and goes on from there."""
    chance, hospital = course.chance, course.hospital
    course.note("decision_to_admit", decided_at)
    critical = critical or chance.happens(0.08 if problem == "stroke" else 0.015)
    place = ICU if critical else hospital.ward(_FIRST_WARD[problem])
    ordered_at = decided_at + chance.about(12 * MINUTE)
    if chance.happens(0.03):
        return _not_admitted(course, cubicle, place, ordered_at)
    ready_at = ordered_at + chance.about(45 * MINUTE)
    if hospital.beds[place.id].wait(ready_at) > _PATIENCE and place is not ICU:
        place, ordered_at = _outlier(course, place, ordered_at)
        ready_at = max(ready_at, ordered_at + 30 * MINUTE)
    _order(course, place, ordered_at)
    bed = course.bed(place, ready_at, 2 * _PATIENCE)
    moved_at = bed.at + chance.about(20 * MINUTE)
    _admit(course, decided_at, moved_at, bed)
    course.leave_bed(ED, cubicle, moved_at)
    return inpatient(course, Stay(place, bed, moved_at, problem))


def _not_admitted(course: Course, cubicle: Bed, place: Place, ordered_at: Seconds) -> Seconds | None:
    """Better, or dead, before there was a bed."""
    chance = course.chance
    _order(course, place, ordered_at)
    left_at = ordered_at + chance.about(150 * MINUTE)
    course.leave_bed(ED, cubicle, left_at)
    course.undo_plans(left_at)
    if chance.happens(0.15):
        course.move("discharge", left_at, disposition="died")
        died(course, left_at)
        return None
    course.move("discharge", left_at, disposition="home")
    return after_attendance(course, left_at)


def _admit(course: Course, decided_at: Seconds, moved_at: Seconds, bed: Bed) -> None:
    """Mostly on leaving for the ward; some are admitted at the decision and moved later, some under another number."""
    chance = course.chance
    inpatient_class: dict[str, Attribute] = {"class": "inpatient"}
    if chance.happens(0.02):
        course.new_number(moved_at + chance.about(70 * MINUTE, WIDE))
    elif chance.happens(0.2) and moved_at > decided_at + HOUR:
        course.move("admit", decided_at + 15 * MINUTE, course.location, **inpatient_class)
        course.move("transfer", moved_at, bed.location)
        return
    course.move("admit", moved_at, bed.location, **inpatient_class)


def _outlier(course: Course, wanted: Place, ordered_at: Seconds) -> tuple[Place, Seconds]:
    """A bed is ordered, waited for in vain, and ordered again on the ward that has one first; returns that."""
    chance, hospital = course.chance, course.hospital
    order = _order(course, wanted, ordered_at)
    again_at = ordered_at + chance.between(_PATIENCE // 2, _PATIENCE)
    if chance.happens(0.8):
        course.withdrawn.append((order, again_at - chance.between(10 * MINUTE, 40 * MINUTE)))
    others = [place for place in _OUTLIERS if place in hospital.wards]
    return min(others, key=lambda place: hospital.beds[place.id].wait(again_at)), again_at


def _order(course: Course, place: Place, at: Seconds) -> Fact:
    return course.ask_for("pending_transfer", at, None if course.chance.happens(0.07) else place)
