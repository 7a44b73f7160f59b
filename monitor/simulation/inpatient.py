"""From the first bed to the discharge: wards, intensive care, operations, leaves."""

from __future__ import annotations

from typing import Final, NamedTuple

from monitor.simulation.after import after_stay, died
from monitor.simulation.chance import NARROW, tickets
from monitor.simulation.clock import DAY, HOUR, MINUTE
from monitor.simulation.course import Course
from monitor.simulation.hospital import (
    AMU,
    ICU,
    LOUNGE,
    MENTAL_HEALTH,
    PACU,
    STROKE_UNIT,
    THEATRE,
    WARD_4W,
    WARD_5S,
    WARD_6E,
    Bed,
    Place,
)
from monitor.simulation.journey import Seconds
from monitor.simulation.sepsis import ask_icu, sepsis
from monitor.simulation.text import moment

_LENGTH: Final = {
    AMU.id: 21 * HOUR,
    WARD_4W.id: 4 * DAY,
    WARD_6E.id: 4 * DAY,
    WARD_5S.id: 50 * HOUR,
    STROKE_UNIT.id: 6 * DAY,
    MENTAL_HEALTH.id: 6 * DAY,
    ICU.id: 44 * HOUR,
}
"""How long one stays, about."""
_LEAVES_AT: Final = tickets(
    {9: 6, 10: 11, 11: 14, 12: 12, 13: 12, 14: 13, 15: 12, 16: 10, 17: 6, 18: 3, 19: 1}
)
"""Hours of the day at which patients go home from a ward."""
_LONG: Final = 7 * DAY


class Stay(NamedTuple):
    """In a bed of a place, from an instant on, with a problem."""

    place: Place
    bed: Bed
    since: Seconds
    problem: str
    fragile: bool = False
    """Just out of intensive care."""
    operated: bool = False


def inpatient(course: Course, stay: Stay) -> Seconds | None:
    """All stays up to the discharge; returns when the patient comes back, if ever."""
    while stay.since < course.clock.end:
        next_stay = _intensive(course, stay) if stay.place is ICU else _on_ward(course, stay)
        if not isinstance(next_stay, Stay):
            return next_stay
        stay = next_stay
    course.leave_bed(stay.place, stay.bed, stay.since)  # nobody looks so far ahead
    return None


def _on_ward(course: Course, stay: Stay) -> Stay | Seconds | None:
    chance = course.chance
    place, since = stay.place, stay.since
    pressed = course.hospital.beds[place.id].wait(since) > 3 * HOUR  # others wait for a bed here
    ready_at = since + max(3 * HOUR, chance.about(_LENGTH[place.id] * (0.7 if pressed else 1)))
    if chance.happens(0.2 if stay.fragile else 0.045):
        worse_at = since + chance.between(3 * HOUR, 75 * HOUR if stay.fragile else 50 * HOUR)
        worse = _deteriorated(course, stay, worse_at) if worse_at < ready_at else None
        if worse is not None:
            return worse
    if place is WARD_5S and not (stay.fragile or stay.operated) and chance.happens(0.5):
        theatre_at = _morning(course, since + 6 * HOUR) + chance.between(0, 7 * HOUR)
        stay = operation(course, stay, theatre_at)
        if stay.place is ICU:
            return stay
        ready_at = max(ready_at, stay.since + 12 * HOUR)
    if ready_at > since + 3 * DAY and chance.happens(0.6 if place is MENTAL_HEALTH else 0.015):
        absconded_at = _leave(course, stay, _morning(course, since + DAY) + chance.between(0, 5 * HOUR))
        if absconded_at is not None:
            return _gone(course, stay, absconded_at, "self")
    if ready_at > since + _LONG - DAY:
        _review(course, since, ready_at)
    if place is AMU and chance.happens(0.45):
        return _moved_on(course, stay, ready_at)
    return _discharged(course, stay, ready_at)


def _deteriorated(course: Course, stay: Stay, at: Seconds) -> Stay | None:
    """To intensive care, or not, if that declines."""
    chance = course.chance
    septic = chance.happens(0.35)
    known_at, accepted = sepsis(course, at) if septic else (at, False)
    if not septic:
        accepted = ask_icu(course, at, "deterioration")
    if not accepted:
        return None
    order_at = known_at + chance.about(15 * MINUTE)
    bed = course.bed(ICU, order_at + 20 * MINUTE, 10 * HOUR)
    course.ask_for("pending_transfer", order_at, ICU)
    return _transferred(course, stay, ICU, bed, bed.at + chance.about(25 * MINUTE))


def _moved_on(course: Course, stay: Stay, ready_at: Seconds) -> Stay | Seconds | None:
    """From assessment to a ward, at daytime if it can be."""
    chance, hospital = course.chance, course.hospital
    wards = [ward for ward in (WARD_4W, WARD_6E) if ward in hospital.wards] or [hospital.wards[0]]
    place = min(wards, key=lambda ward: hospital.beds[ward.id].wait(ready_at))
    if course.clock.is_night(ready_at) and chance.happens(0.7):
        ready_at = _morning(course, ready_at) + chance.between(0, 3 * HOUR)
    bed = course.bed(place, ready_at + HOUR, DAY)
    order = course.ask_for("pending_transfer", ready_at, place)
    if chance.happens(0.06):
        if chance.happens(0.6):
            course.withdrawn.append((order, ready_at + chance.about(40 * MINUTE, NARROW)))
        course.ask_for("pending_transfer", ready_at + 100 * MINUTE, place)
    moved_at = max(bed.at, ready_at + 100 * MINUTE) + chance.about(30 * MINUTE)
    if place is not WARD_6E or not chance.happens(0.8):
        return _transferred(course, stay, place, bed, moved_at)
    course.move("depart", moved_at, bed.location)
    course.leave_bed(stay.place, stay.bed, moved_at)
    if chance.happens(0.015):
        return Stay(place, bed, moved_at + HOUR, stay.problem)  # nobody booked the patient in
    if chance.happens(0.03):  # to another hospital instead
        return _gone(course, stay._replace(place=place, bed=bed), moved_at + 15 * MINUTE, "transferred")
    arrived_at = moved_at + chance.about(18 * MINUTE)
    course.move("arrive", arrived_at, bed.location)
    return Stay(place, bed, arrived_at, stay.problem)


def _transferred(
    course: Course, stay: Stay, place: Place, bed: Bed, at: Seconds, *, fragile: bool = False
) -> Stay:
    course.undo_plans(at)
    course.move("transfer", at, bed.location)
    course.leave_bed(stay.place, stay.bed, at)
    return Stay(place, bed, at, stay.problem, fragile)


def operation(course: Course, stay: Stay, at: Seconds, *, planned_icu: bool = False) -> Stay:
    """Theatre, recovery, and back to the bed, which is kept, or to intensive care."""
    chance, hospital = course.chance, course.hospital
    course.move("transfer", at, hospital.at(THEATRE, "1", "1", point=chance.between(0, len(THEATRE.points))))
    recovery_at = at + chance.about(95 * MINUTE)
    recovery = course.bed(PACU, recovery_at, 2 * HOUR)
    course.move("transfer", recovery_at, recovery.location)
    back_at = recovery_at + chance.about(75 * MINUTE)
    if planned_icu or chance.happens(0.04):
        bed = course.bed(ICU, back_at, 8 * HOUR)
        moved_at = max(bed.at, back_at) + 10 * MINUTE
        course.leave_bed(PACU, recovery, moved_at)
        planned = {"planned": True} if planned_icu else {}
        course.move("transfer", moved_at, bed.location, **planned)
        course.leave_bed(stay.place, stay.bed, moved_at)
        return Stay(ICU, bed, moved_at, "surgical")
    course.leave_bed(PACU, recovery, back_at)
    course.move("transfer", back_at, stay.bed.location)
    return stay._replace(since=back_at, operated=True)


def _intensive(course: Course, stay: Stay) -> Stay | Seconds | None:
    """Until death, another hospital, or fit for a ward: then the handoff is signed, and a ward bed is waited for."""
    chance, hospital = course.chance, course.hospital
    ready_at = stay.since + max(5 * HOUR, chance.about(_LENGTH[ICU.id]))
    if chance.happens(0.12):
        return _gone(course, stay, ready_at, "died" if chance.happens(0.75) else "transferred")
    if chance.happens(0.62):
        ready_at = _morning(course, ready_at) + chance.between(30 * MINUTE, 3 * HOUR)
    course.note("fit_for_discharge", ready_at)
    if chance.happens(0.05):
        return _gone(course, stay, ready_at + chance.between(HOUR, 8 * HOUR), "died")
    surgical = stay.problem in {"surgical", "injury"}
    place = hospital.ward(WARD_5S if surgical else chance.one_of((WARD_4W, WARD_6E)))
    order_at = ready_at + chance.about(20 * MINUTE)
    course.ask_for("pending_transfer", order_at, place)
    bed = course.bed(place, order_at + 45 * MINUTE, DAY)
    moved_at = bed.at + chance.about(75 * MINUTE)
    if course.clock.is_night(moved_at) and chance.happens(0.25):
        moved_at = _morning(course, moved_at) + chance.between(0, 2 * HOUR)
    if not chance.happens(0.07):
        course.note("handoff_signed", moved_at - min(chance.about(50 * MINUTE), moved_at - ready_at - MINUTE))
    return _transferred(course, stay, place, bed, moved_at, fragile=True)


def _leave(course: Course, stay: Stay, at: Seconds) -> Seconds | None:
    """On leave and back, mostly as agreed; returns when one who does not come back is given up."""
    chance = course.chance
    expected_at = at + chance.between(4, 60 if chance.happens(0.2) else 30) * HOUR
    course.order("leave", at, expected_return=moment(expected_at))
    if chance.happens(0.12):
        return expected_at + chance.between(12, 30) * HOUR
    course.order("return", expected_at + chance.between(-90 * MINUTE, 80 * MINUTE), stay.bed.location)
    return None


def _review(course: Course, since: Seconds, ready_at: Seconds) -> None:
    """A long stay is reviewed about when it has lasted a week."""
    chance = course.chance
    reviewed_at = since + _LONG + chance.between(-DAY, 5 * HOUR)
    if reviewed_at < ready_at and not chance.happens(0.1):
        course.note("long_stay_reviewed", reviewed_at)


def _discharged(course: Course, stay: Stay, ready_at: Seconds) -> Seconds | None:
    """Home by day, perhaps through the lounge; some die, some go on to other hospitals."""
    chance, clock = course.chance, course.clock
    if chance.happens(0.025):
        return _gone(course, stay, ready_at, "died")
    left_at = _at_hour(course, ready_at)
    _announce(course, stay, left_at)
    lounge = 10 * HOUR < clock.time_of_day(left_at) < 18 * HOUR and chance.happens(0.22)
    if lounge:
        waited_from = left_at - chance.between(45 * MINUTE, 3 * HOUR)
        waited_from = max(waited_from, stay.since + HOUR)
        course.undo_plans(waited_from)
        course.move("transfer", waited_from, course.hospital.at(LOUNGE, "CHAIR", str(chance.between(1, 13))))
        course.leave_bed(stay.place, stay.bed, waited_from)
        course.move("discharge", left_at, disposition="home")
        return after_stay(course, left_at, psychiatric=False)
    return _gone(course, stay, left_at, "transferred" if chance.happens(0.04) else "home")


def _announce(course: Course, stay: Stay, left_at: Seconds) -> None:
    """The discharge is planned the day before, or in the morning."""
    chance = course.chance
    if chance.happens(0.1):
        return
    planned = [left_at - chance.about(4 * HOUR, NARROW)]
    if chance.happens(0.55):
        planned = [left_at - chance.between(18, 25) * HOUR, *(planned if chance.happens(0.15) else ())]
    if chance.happens(0.04):
        planned = [left_at - chance.between(38, 50) * HOUR]  # it took a day longer
    for planned_at in planned:
        if planned_at > stay.since + HOUR:
            course.order("pending_discharge", planned_at)


def _gone(course: Course, stay: Stay, at: Seconds, disposition: str) -> Seconds | None:
    """Out of the bed, and out of the hospital."""
    course.undo_plans(at)
    course.move("discharge", at, disposition=disposition)
    course.leave_bed(stay.place, stay.bed, at)
    if disposition == "died":
        died(course, at)
        return None
    return after_stay(course, at, psychiatric=stay.place is MENTAL_HEALTH)


def _at_hour(course: Course, ready_at: Seconds) -> Seconds:
    """An hour at which patients go home, at or after an instant."""
    clock, chance = course.clock, course.chance
    day = clock.day(ready_at)
    left_at = clock.midnights[day] + chance.one_of(_LEAVES_AT) * HOUR + chance.between(0, HOUR)
    return left_at if left_at >= ready_at else left_at + DAY


def _morning(course: Course, at: Seconds) -> Seconds:
    """07:30 of that day, or of the next where that has passed."""
    clock = course.clock
    half_past_seven = clock.midnights[clock.day(at)] + 7 * HOUR + 30 * MINUTE
    return half_past_seven if half_past_seven >= at else half_past_seven + DAY
