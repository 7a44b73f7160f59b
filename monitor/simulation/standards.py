"""The truth of every rule of the packs: each a short reading of its standard, over what is known of one journey.

Written by hand from the standards and the packs' own words, and apart from the monitor: the limits stand here a second
time. A standard says which facts open its cases, and how what became of each is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from monitor.simulation.clock import DAY, HOUR, MINUTE
from monitor.simulation.known import BRINGS, KnownFact, KnownJourney, Place, anywhere
from monitor.simulation.reading import (
    Finding,
    Test,
    answered,
    apart,
    business_days,
    calendar_days,
    elapsed,
    local_hour,
    preceded,
    spared,
    stayed,
)

Reading = Callable[[KnownJourney, Sequence[KnownFact]], Iterator[Finding]]


class Opening(NamedTuple):
    """The facts that open cases: those of these types that pass the test."""

    types: frozenset[str]
    test: Test


def _opening(types: str, test: Test) -> Opening:
    return Opening(frozenset(types.split()), test)


# -- what facts are ----------------------------------------------------------------------------------------


def _any(_fact: KnownFact) -> bool:
    return True


def _is(*types: str) -> Test:
    return lambda fact: fact.type in types


def _says(attribute: str, *values: str) -> Test:
    return lambda fact: fact.attributes.get(attribute) in values


def _discharge(fact: KnownFact) -> bool:
    return fact.type == "discharge"


def _death(fact: KnownFact) -> bool:
    return fact.type == "discharge" and fact.attributes.get("disposition") == "died"


def _alive(fact: KnownFact) -> bool:
    """Discharged to any place."""
    return fact.type == "discharge" and fact.attributes.get("disposition") != "died"


def _to_another_hospital(fact: KnownFact) -> bool:
    return fact.type == "discharge" and fact.attributes.get("disposition") == "transferred"


def _to_the_community(fact: KnownFact) -> bool:
    return fact.type == "discharge" and fact.attributes.get("disposition") not in ("died", "transferred")


def _planned(fact: KnownFact) -> bool:
    return fact.attributes.get("planned") is True


def _moves(fact: KnownFact) -> bool:
    return fact.type in ("transfer", "depart", "arrive")


def _comes(fact: KnownFact) -> bool:
    return fact.type in ("admit", "transfer", "arrive")


def _from(kind: str) -> Test:
    return lambda fact: fact.from_.kind == kind


def _to(kind: str) -> Test:
    return lambda fact: fact.to.kind == kind


def _of_kind(*kinds: str) -> Callable[[Place], bool]:
    return lambda place: place.kind in kinds


# -- emergency department ----------------------------------------------------------------------------------

_ED_ARRIVAL: Final = _opening("register", _to("ed"))
_ED_DECISION: Final = _opening("decision_to_admit", _from("ed"))


def _out_of_ed(fact: KnownFact) -> bool:
    return fact.from_.kind == "ed" and fact.to.kind != "ed"


def _left_untriaged(fact: KnownFact) -> bool:
    return _discharge(fact) or ((fact.type == "admit" or _moves(fact)) and _out_of_ed(fact))


def _in_a_room(fact: KnownFact) -> bool:
    return fact.type == "roomed" or (_comes(fact) and _out_of_ed(fact))


def _in_a_bed(fact: KnownFact) -> bool:
    """Here or in another hospital."""
    return _to_another_hospital(fact) or ((fact.type == "admit" or _moves(fact)) and _out_of_ed(fact))


def _needs_no_bed(fact: KnownFact) -> bool:
    return _discharge(fact) and not _to_another_hospital(fact)


_bedded: Final = partial(answered, answer=_in_a_bed, stop=_needs_no_bed, once=True)
_handed_over: Final = partial(
    answered, answer=_is("ambulance_handover"), stop=_discharge, give_up=6 * HOUR, once=True, pair=anywhere
)
"""Before there is a visit."""


# -- sepsis ------------------------------------------------------------------------------------------------


def _likely(fact: KnownFact) -> bool:
    return fact.attributes.get("shock") is True or fact.attributes.get("likelihood") == "high"


def _possible(fact: KnownFact) -> bool:
    return fact.attributes.get("shock") is not True and fact.attributes.get("likelihood") != "high"


def _no_sepsis_care_owed(fact: KnownFact) -> bool:
    """Ruled out, or out of reach; being sent home ends nothing."""
    if _discharge(fact):
        return fact.attributes.get("disposition") in ("died", "transferred", "self")
    return fact.type == "sepsis_ruled_out"


_treated: Final = partial(answered, stop=_no_sepsis_care_owed, once=True)


# -- intensive care, stroke --------------------------------------------------------------------------------


def _to_ward(fact: KnownFact) -> bool:
    return fact.from_.kind == "icu" and fact.to.kind in ("ward", "stroke")


_ICU_STEP_DOWN: Final = _opening("transfer depart", _to_ward)
_ICU_FIT: Final = _opening("fit_for_discharge", _from("icu"))


def _at_night(first: int, last: int) -> Reading:
    """The night begins with the first hour; with the last one it is day."""

    def read(_journey: KnownJourney, moves: Sequence[KnownFact]) -> Iterator[Finding]:
        for move in moves:
            if not last <= local_hour(move) < first:
                yield Finding(move, "violated", move.at)

    return read


def _left_icu(fact: KnownFact) -> bool:
    return _alive(fact) or (
        _moves(fact) and fact.from_.kind == "icu" and fact.to.kind not in ("icu", "theatre")
    )


def _not_fit_any_more(fact: KnownFact) -> bool:
    return _death(fact) or (_moves(fact) and fact.to.kind == "theatre")


_stepped_down: Final = partial(
    answered, answer=_left_icu, stop=_not_fit_any_more, give_up=48 * HOUR, once=True
)


def _into_icu(fact: KnownFact) -> bool:
    return _comes(fact) and fact.to.kind == "icu"


def _back_in_icu(fact: KnownFact) -> bool:
    return _into_icu(fact) and not _planned(fact)


def _on_stroke_unit(fact: KnownFact) -> bool:
    return _comes(fact) and fact.to.kind == "stroke"


def _needs_no_stroke_unit(fact: KnownFact) -> bool:
    return fact.type == "stroke_ruled_out" or _discharge(fact) or _into_icu(fact)


# -- flow, discharge, return -------------------------------------------------------------------------------


def _not_to_mental_health(fact: KnownFact) -> bool:
    return fact.to.kind != "mental-health"


def _leaves_the_ward(fact: KnownFact) -> bool:
    """For home, another hospital or the lounge."""
    return _alive(fact) or (fact.type in ("transfer", "depart") and fact.to.kind == "lounge")


def _leaves_in_the_morning(fact: KnownFact) -> bool:
    return _leaves_the_ward(fact) and local_hour(fact) < 12


def _leaves_in_the_afternoon(fact: KnownFact) -> bool:
    return _leaves_the_ward(fact) and local_hour(fact) >= 12


def _alive_from_ed(fact: KnownFact) -> bool:
    return fact.from_.kind == "ed" and _alive(fact)


def _alive_from_ward(fact: KnownFact) -> bool:
    return fact.from_.kind != "ed" and _alive(fact)


def _to_the_community_from_ward(fact: KnownFact) -> bool:
    return fact.from_.kind != "ed" and _to_the_community(fact)


def _to_the_community_from_mental_health(fact: KnownFact) -> bool:
    return fact.from_.kind == "mental-health" and _to_the_community(fact)


_FROM_WARD: Final = _opening("discharge", _to_the_community_from_ward)
_FROM_MENTAL_HEALTH: Final = _opening("discharge", _to_the_community_from_mental_health)
_ANY_ADMISSION: Final = _opening("admit", _any)


def _admitted_again_or_dead(fact: KnownFact) -> bool:
    return fact.type == "admit" or _death(fact)


def _unplanned_admission(fact: KnownFact) -> bool:
    return fact.type == "admit" and not _planned(fact)


def _planned_admission(fact: KnownFact) -> bool:
    return fact.type == "admit" and _planned(fact)


_of_the_practice: Final = partial(answered, stop=_is("admit"), pair=anywhere)
"""Owed by the practice, which knows no visit numbers, until the next admission."""


def _notice(event: str) -> Test:
    return lambda fact: fact.type == "notice_sent" and fact.attributes.get("event") == event


# -- transit, data quality ---------------------------------------------------------------------------------


def _placed(fact: KnownFact) -> bool:
    return fact.to.id is not None


def _unplaced(fact: KnownFact) -> bool:
    return fact.to.id is None


def _same_target(one: KnownFact, other: KnownFact) -> bool:
    return one.to.id is not None and one.to.id == other.to.id


def _ordered_again_or_dead(fact: KnownFact) -> bool:
    return fact.type == "pending_discharge" or _death(fact)


def _unmapped(fact: KnownFact) -> bool:
    return fact.to.id is not None and fact.to.kind is None


def _each_is_wrong(_journey: KnownJourney, facts: Sequence[KnownFact]) -> Iterator[Finding]:
    for fact in facts:
        yield Finding(fact, "violated", fact.at)


_BROUGHT: Final = Opening(BRINGS, _any)
_AMBULANCE: Final = _opening("ambulance_arrived", _any)
_SEPSIS: Final = _opening("sepsis_recognised", _any)
_SEPSIS_LIKELY: Final = _opening("sepsis_recognised", _likely)
_SEPSIS_POSSIBLE: Final = _opening("sepsis_recognised", _possible)
_ADMISSION: Final = _opening("admit", _not_to_mental_health)
_TRANSITIONAL_CARE: Final = _opening("tcm_started", _any)


STANDARDS: Final[Mapping[str, tuple[Opening, Reading]]] = {
    "ambulance-handover": (_AMBULANCE, partial(_handed_over, limit=elapsed(15 * MINUTE))),
    "ambulance-handover-30m": (_AMBULANCE, partial(_handed_over, limit=elapsed(30 * MINUTE))),
    "ambulance-handover-45m": (_AMBULANCE, partial(_handed_over, limit=elapsed(45 * MINUTE))),
    "ed-triage": (
        _ED_ARRIVAL,
        partial(
            answered,
            answer=_is("triage"),
            limit=elapsed(15 * MINUTE),
            stop=_left_untriaged,
            give_up=4 * HOUR,
            once=True,
        ),
    ),
    "ed-room": (
        _ED_ARRIVAL,
        partial(answered, answer=_in_a_room, limit=elapsed(HOUR), stop=_discharge, once=True),
    ),
    "ed-four-hours": (_BROUGHT, partial(stayed, inside=_of_kind("ed"), limit=4 * HOUR)),
    "ed-eight-hours": (_BROUGHT, partial(stayed, inside=_of_kind("ed"), limit=8 * HOUR)),
    "ed-twelve-hours": (_BROUGHT, partial(stayed, inside=_of_kind("ed"), limit=12 * HOUR)),
    "ed-boarding": (_ED_DECISION, partial(_bedded, limit=elapsed(4 * HOUR))),
    "ed-trolley-wait": (_ED_DECISION, partial(_bedded, limit=elapsed(12 * HOUR))),
    "sepsis-antimicrobial": (
        _SEPSIS_LIKELY,
        partial(_treated, answer=_is("antimicrobial_given"), limit=elapsed(HOUR)),
    ),
    "sepsis-antimicrobial-possible": (
        _SEPSIS_POSSIBLE,
        partial(_treated, answer=_is("antimicrobial_given"), limit=elapsed(3 * HOUR)),
    ),
    "sepsis-lactate": (_SEPSIS, partial(_treated, answer=_is("lactate_measured"), limit=elapsed(HOUR))),
    "sepsis-cultures-first": (
        _opening("antimicrobial_given", _says("indication", "sepsis")),
        partial(preceded, needed=_is("blood_cultures_taken")),
    ),
    "sepsis-icu": (
        _opening("icu_requested", _says("reason", "sepsis")),
        partial(
            answered,
            answer=_into_icu,
            limit=elapsed(6 * HOUR),
            stop=_is("icu_declined", "discharge"),
            once=True,
        ),
    ),
    "icu-night-discharge": (_ICU_STEP_DOWN, _at_night(22, 7)),
    "icu-night-discharge-anzics": (_ICU_STEP_DOWN, _at_night(18, 6)),
    "icu-night-discharge-london": (_ICU_STEP_DOWN, _at_night(22, 8)),
    "icu-night-discharge-long": (_ICU_STEP_DOWN, _at_night(16, 8)),
    "icu-step-down": (_ICU_FIT, partial(_stepped_down, limit=elapsed(4 * HOUR))),
    "icu-step-down-6h": (_ICU_FIT, partial(_stepped_down, limit=elapsed(6 * HOUR))),
    "icu-handoff": (_ICU_STEP_DOWN, partial(preceded, needed=_is("handoff_signed"), within=12 * HOUR)),
    "icu-readmission": (
        _ICU_STEP_DOWN,
        partial(spared, harm=_back_in_icu, seconds=48 * HOUR, harm_pair=anywhere),
    ),
    "icu-readmission-72h": (
        _ICU_STEP_DOWN,
        partial(spared, harm=_back_in_icu, seconds=72 * HOUR, harm_pair=anywhere),
    ),
    "stroke-unit": (
        _opening("stroke_arrival", _any),
        partial(
            answered, answer=_on_stroke_unit, limit=elapsed(4 * HOUR), stop=_needs_no_stroke_unit, once=True
        ),
    ),
    "flow-long-stay-review": (
        _ADMISSION,
        partial(
            answered,
            answer=_is("long_stay_reviewed"),
            limit=elapsed(8 * DAY),
            stop=_discharge,
            give_up=7 * DAY,
            once=True,
        ),
    ),
    "flow-home-before-midday": (
        _ADMISSION,
        partial(spared, harm=_leaves_in_the_afternoon, seconds=60 * DAY, until=_leaves_in_the_morning),
    ),
    "discharge-summary": (
        _opening("discharge", _alive_from_ward),
        partial(answered, answer=_is("summary_sent"), limit=elapsed(24 * HOUR), give_up=3 * DAY),
    ),
    "discharge-summary-ed": (
        _opening("discharge", _alive_from_ed),
        partial(answered, answer=_is("summary_sent"), limit=elapsed(24 * HOUR), give_up=3 * DAY),
    ),
    "tcm-contact": (
        _TRANSITIONAL_CARE,
        partial(
            _of_the_practice,
            answer=_is("followup_contact", "followup_visit"),
            limit=business_days(2),
            give_up=5 * DAY,
        ),
    ),
    "tcm-visit-high": (
        _opening("tcm_started", _says("complexity", "high")),
        partial(_of_the_practice, answer=_is("followup_visit"), limit=calendar_days(7), give_up=7 * DAY),
    ),
    "tcm-visit-moderate": (
        _opening("tcm_started", _says("complexity", "moderate")),
        partial(_of_the_practice, answer=_is("followup_visit"), limit=calendar_days(14), give_up=7 * DAY),
    ),
    "trc-admission-notice": (
        _ANY_ADMISSION,
        partial(
            answered,
            answer=_is("admission_notice_received"),
            limit=calendar_days(2),
            stop=_admitted_again_or_dead,
            give_up=3 * DAY,
            pair=anywhere,
        ),
    ),
    "trc-discharge-information": (
        _FROM_WARD,
        partial(
            _of_the_practice,
            answer=_is("discharge_information_received"),
            limit=calendar_days(2),
            give_up=3 * DAY,
        ),
    ),
    "trc-engagement": (
        _FROM_WARD,
        partial(
            _of_the_practice,
            answer=_is("patient_engaged", "followup_visit"),
            not_before=12 * HOUR,
            limit=calendar_days(30),
            give_up=7 * DAY,
        ),
    ),
    "trc-medication": (
        _FROM_WARD,
        partial(
            _of_the_practice, answer=_is("medication_reconciled"), limit=calendar_days(30), give_up=7 * DAY
        ),
    ),
    "psychiatric-followup-7d": (
        _FROM_MENTAL_HEALTH,
        partial(
            _of_the_practice,
            answer=_is("followup_visit"),
            not_before=12 * HOUR,
            limit=calendar_days(7),
            give_up=7 * DAY,
        ),
    ),
    "psychiatric-followup-30d": (
        _FROM_MENTAL_HEALTH,
        partial(
            _of_the_practice,
            answer=_is("followup_visit"),
            not_before=12 * HOUR,
            limit=calendar_days(30),
            give_up=7 * DAY,
        ),
    ),
    "return-30d": (
        _FROM_WARD,
        partial(spared, harm=_unplanned_admission, seconds=30 * DAY, until=_planned_admission, pair=anywhere),
    ),
    "notify-registration": (
        _ED_ARRIVAL,
        partial(answered, answer=_notice("registration"), limit=elapsed(30 * MINUTE), once=True),
    ),
    "notify-admission": (
        _ANY_ADMISSION,
        partial(answered, answer=_notice("admission"), limit=elapsed(30 * MINUTE), once=True),
    ),
    "notify-discharge": (
        _opening("discharge", _to_the_community),
        partial(answered, answer=_notice("discharge"), limit=elapsed(30 * MINUTE)),
    ),
    "notify-transfer": (
        _opening("discharge", _to_another_hospital),
        partial(answered, answer=_notice("transfer"), limit=elapsed(30 * MINUTE)),
    ),
    "transit-ordered-move": (
        _opening("pending_transfer", _placed),
        partial(
            answered,
            answer=_comes,
            answer_pair=_same_target,
            limit=elapsed(4 * HOUR),
            stop=_is("pending_transfer", "discharge"),
        ),
    ),
    "transit-ordered-move-unnamed": (
        _opening("pending_transfer", _unplaced),
        partial(
            answered,
            answer=_comes,
            limit=elapsed(4 * HOUR),
            stop=_is("pending_transfer", "discharge"),
        ),
    ),
    "transit-planned-admission": (
        _opening("pending_admit", _any),
        partial(
            answered, answer=_is("admit"), limit=elapsed(24 * HOUR), stop=_is("pending_admit", "discharge")
        ),
    ),
    "transit-ordered-discharge": (
        _opening("pending_discharge", _any),
        partial(answered, answer=_alive, limit=calendar_days(1), stop=_ordered_again_or_dead),
    ),
    "transit-arrival": (
        _opening("depart", _any),
        partial(answered, answer=_comes, limit=elapsed(30 * MINUTE), stop=_discharge, give_up=12 * HOUR),
    ),
    "transit-leave": (
        _opening("leave", _any),
        partial(answered, answer=_is("return"), limit=elapsed(48 * HOUR), stop=_discharge, give_up=5 * DAY),
    ),
    "data-unmapped-place": (Opening(BRINGS, _unmapped), _each_is_wrong),
    "data-discharge-missing": (_BROUGHT, partial(stayed, inside=_of_kind("ed", "lounge"), limit=48 * HOUR)),
    "data-two-places": (
        _BROUGHT,
        partial(apart, inside=_of_kind("ed", "ward", "stroke", "mental-health", "icu"), seconds=HOUR),
    ),
    "data-discharge-unknown": (_opening("discharge", _any), partial(preceded, needed=_is(*BRINGS))),
    "data-order-forgotten": (
        _opening("pending_transfer", _any),
        partial(
            answered,
            answer=_is("transfer", "arrive", "admit", "discharge"),
            limit=elapsed(24 * HOUR),
            give_up=7 * DAY,
        ),
    ),
}
"""For each rule of the packs, by its id, what opens its cases and how these are read."""


class Share(NamedTuple):
    """Of the cases of a rule that were decided in the last so many seconds, a share was met; fewer than `least` are no share."""

    of: str
    over: int
    least: int


SHARES: Final[Mapping[str, Share]] = {
    "ed-four-hours-78": Share("ed-four-hours", 28 * DAY, 100),
    "ed-four-hours-95": Share("ed-four-hours", 28 * DAY, 100),
    "ed-twelve-hours-90": Share("ed-twelve-hours", 28 * DAY, 100),
    "flow-home-before-midday-33": Share("flow-home-before-midday", 7 * DAY, 30),
}
"""The rules about many journeys, by their ids. Of silences there is no truth: they are about the feed, not about care."""
