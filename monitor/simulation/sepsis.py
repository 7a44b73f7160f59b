"""Sepsis, wherever it is recognised."""

from __future__ import annotations

from monitor.simulation.chance import NARROW
from monitor.simulation.clock import DAY, HOUR, MINUTE
from monitor.simulation.course import Course
from monitor.simulation.journey import Seconds


def sepsis(course: Course, recognised_at: Seconds) -> tuple[Seconds, bool]:
    """Recognised, treated or ruled out; returns when enough is known to decide, and whether the ICU takes the patient."""
    chance = course.chance
    shock = chance.happens(0.15)
    likely = shock or chance.happens(0.6)
    likelihood = "high" if likely else "possible"
    course.note("sepsis_recognised", recognised_at, likelihood=likelihood, shock=shock)
    if not shock and chance.happens(0.08 if likely else 0.45):
        ruled_out_at = recognised_at + chance.about((35 if likely else 100) * MINUTE)
        course.note("sepsis_ruled_out", ruled_out_at)
        _treat(course, recognised_at, ruled_out_at, likely=likely)
        return ruled_out_at, False
    _treat(course, recognised_at, recognised_at + DAY, likely=likely)
    known_at = recognised_at + chance.about(HOUR, NARROW)
    if not chance.happens(0.6 if shock else 0.12):
        return known_at, False
    asked_at = known_at + chance.about(20 * MINUTE)
    return asked_at, ask_icu(course, asked_at, "sepsis")


def ask_icu(course: Course, asked_at: Seconds, reason: str) -> bool:
    """Whether intensive care takes the patient."""
    course.note("icu_requested", asked_at, reason=reason)
    if not course.chance.happens(0.2):
        return True
    course.note("icu_declined", asked_at + course.chance.about(HOUR))
    return False


def _treat(course: Course, recognised_at: Seconds, until: Seconds, *, likely: bool) -> None:
    """Lactate, cultures and the antimicrobial, mostly in that order; what is not given by an instant is not needed."""
    chance = course.chance
    if not chance.happens(0.05):
        course.note("lactate_measured", recognised_at + chance.about(24 * MINUTE))
    given_at = recognised_at + chance.about((38 if likely else 90) * MINUTE)
    if not chance.happens(0.06):
        before = not chance.happens(0.08)
        cultures_at = (recognised_at + given_at) // 2 if before else given_at + chance.about(20 * MINUTE)
        course.note("blood_cultures_taken", cultures_at)
    if given_at < until and not chance.happens(0.03 if likely else 0.15):
        course.note("antimicrobial_given", given_at, indication="sepsis")
