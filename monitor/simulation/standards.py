"""The truth of every rule of the packs: each a short reading of its standard, over what is known of one journey.

Written by hand from the standards and the packs' own words, and apart from the monitor: the limits stand here a second
time. A standard is the facts that open its cases, and a function from these to what became of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from monitor.simulation.clock import DAY, HOUR, MINUTE
from monitor.simulation.known import BRINGS, KnownFact, KnownJourney, Place, anywhere
from monitor.simulation.reading import (
    Finding,
    Limit,
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


class Standard(NamedTuple):
    """What opens a case (facts of these types that pass the test), and how such cases are read."""

    types: frozenset[str]
    opens: Test
    read: Reading


def _standard(types: str, opens: Test, read: Reading) -> Standard:
    return Standard(frozenset(types.split()), opens, read)


# -- what facts are ----------------------------------------------------------------------------------------


def _any(_fact: KnownFact) -> bool:
    return True


def _is(*types: str) -> Test:
    return lambda fact: fact.type in types


def _died(fact: KnownFact) -> bool:
    return fact.attributes.get("disposition") == "died"


def _transferred(fact: KnownFact) -> bool:
    """Discharged to another hospital."""
    return fact.attributes.get("disposition") == "transferred"


def _planned(fact: KnownFact) -> bool:
    return fact.attributes.get("planned") is True


def _moves(fact: KnownFact) -> bool:
    return fact.type in ("transfer", "depart", "arrive")


def _comes(fact: KnownFact) -> bool:
    return fact.type in ("admit", "transfer", "arrive")


def _discharge(fact: KnownFact) -> bool:
    return fact.type == "discharge"


# -- ambulance ---------------------------------------------------------------------------------------------


def _ambulance_handover(minutes: int) -> Standard:
    def read(journey: KnownJourney, arrivals: Sequence[KnownFact]) -> Iterator[Finding]:
        return answered(
            journey,
            arrivals,
            _is("ambulance_handover"),
            elapsed(minutes * MINUTE),
            stop=_discharge,
            give_up=6 * HOUR,
            once=True,
            pair=anywhere,
        )

    return _standard("ambulance_arrived", _any, read)


# -- ed ----------------------------------------------------------------------------------------------------


def _into_ed(fact: KnownFact) -> bool:
    return fact.to.kind == "ed"


def _in_ed(fact: KnownFact) -> bool:
    return fact.from_.kind == "ed"


def _out_of_ed(fact: KnownFact) -> bool:
    return fact.from_.kind == "ed" and fact.to.kind != "ed"


def _ed_triage(journey: KnownJourney, arrivals: Sequence[KnownFact]) -> Iterator[Finding]:
    def left(fact: KnownFact) -> bool:
        return _discharge(fact) or (fact.type in ("admit", "transfer") and _out_of_ed(fact))

    return answered(
        journey,
        arrivals,
        _is("triage"),
        elapsed(15 * MINUTE),
        stop=left,
        give_up=4 * HOUR,
        once=True,
    )


def _ed_room(journey: KnownJourney, arrivals: Sequence[KnownFact]) -> Iterator[Finding]:
    def in_a_room(fact: KnownFact) -> bool:
        return fact.type == "roomed" or (_comes(fact) and _out_of_ed(fact))

    return answered(journey, arrivals, in_a_room, elapsed(HOUR), stop=_discharge, once=True)


def _ed_stay(hours: int) -> Standard:
    return _stay(("ed",), hours * HOUR)


def _stay(kinds: tuple[str, ...], limit: int) -> Standard:
    def read(journey: KnownJourney, _brought: Sequence[KnownFact]) -> Iterator[Finding]:
        return stayed(journey, _of_kind(kinds), limit)

    return Standard(BRINGS, _any, read)


def _of_kind(kinds: tuple[str, ...]) -> Callable[[Place], bool]:
    return lambda place: place.kind in kinds


def _ed_bed(hours: int) -> Standard:
    def to_a_bed(fact: KnownFact) -> bool:
        if _discharge(fact):
            return _transferred(fact)
        return (fact.type == "admit" or _moves(fact)) and _out_of_ed(fact)

    def not_owed(fact: KnownFact) -> bool:
        return _discharge(fact) and not _transferred(fact)

    def read(journey: KnownJourney, decisions: Sequence[KnownFact]) -> Iterator[Finding]:
        return answered(journey, decisions, to_a_bed, elapsed(hours * HOUR), stop=not_owed, once=True)

    return _standard("decision_to_admit", _in_ed, read)


# -- sepsis ------------------------------------------------------------------------------------------------


def _likely(fact: KnownFact) -> bool:
    return fact.attributes.get("shock") is True or fact.attributes.get("likelihood") == "high"


def _possible(fact: KnownFact) -> bool:
    return fact.attributes.get("shock") is not True and fact.attributes.get("likelihood") == "possible"


def _no_sepsis_care_owed(fact: KnownFact) -> bool:
    """Ruled out, or out of reach; being sent home ends nothing."""
    if _discharge(fact):
        return fact.attributes.get("disposition") in ("died", "transferred", "self")
    return fact.type == "sepsis_ruled_out"


def _sepsis_care(opens: Test, wanted: str, hours: int) -> Standard:
    def read(journey: KnownJourney, recognised: Sequence[KnownFact]) -> Iterator[Finding]:
        return answered(
            journey, recognised, _is(wanted), elapsed(hours * HOUR), stop=_no_sepsis_care_owed, once=True
        )

    return _standard("sepsis_recognised", opens, read)


def _for_sepsis(fact: KnownFact) -> bool:
    return fact.attributes.get("indication") == "sepsis"


def _cultures_first(journey: KnownJourney, doses: Sequence[KnownFact]) -> Iterator[Finding]:
    return preceded(journey, doses, _is("blood_cultures_taken"))


def _because_of_sepsis(fact: KnownFact) -> bool:
    return fact.attributes.get("reason") == "sepsis"


def _into_icu(fact: KnownFact) -> bool:
    return _comes(fact) and fact.to.kind == "icu"


def _sepsis_icu(journey: KnownJourney, requests: Sequence[KnownFact]) -> Iterator[Finding]:
    return answered(
        journey, requests, _into_icu, elapsed(6 * HOUR), stop=_is("icu_declined", "discharge"), once=True
    )


# -- icu ---------------------------------------------------------------------------------------------------


def _in_icu(fact: KnownFact) -> bool:
    return fact.from_.kind == "icu"


def _to_ward(fact: KnownFact) -> bool:
    return fact.from_.kind == "icu" and fact.to.kind in ("ward", "stroke")


def _icu_night(first: int, last: int) -> Standard:
    """Nobody leaves from the first hour of the night up to the last, in which day begins."""

    def read(_journey: KnownJourney, moves: Sequence[KnownFact]) -> Iterator[Finding]:
        for move in moves:
            if not last <= local_hour(move) < first:
                yield Finding(move, "violated", move.at)

    return _standard("transfer depart", _to_ward, read)


def _icu_step_down(hours: int) -> Standard:
    def left(fact: KnownFact) -> bool:
        if _discharge(fact):
            return not _died(fact)
        return _moves(fact) and fact.from_.kind == "icu" and fact.to.kind not in ("icu", "theatre")

    def not_fit(fact: KnownFact) -> bool:
        if _discharge(fact):
            return _died(fact)
        return _moves(fact) and fact.to.kind == "theatre"

    def read(journey: KnownJourney, fit: Sequence[KnownFact]) -> Iterator[Finding]:
        return answered(journey, fit, left, elapsed(hours * HOUR), stop=not_fit, give_up=48 * HOUR, once=True)

    return _standard("fit_for_discharge", _in_icu, read)


def _icu_handoff(journey: KnownJourney, moves: Sequence[KnownFact]) -> Iterator[Finding]:
    return preceded(journey, moves, _is("handoff_signed"), within=12 * HOUR)


def _icu_readmission(hours: int) -> Standard:
    def back(fact: KnownFact) -> bool:
        return _into_icu(fact) and not _planned(fact)

    def read(journey: KnownJourney, moves: Sequence[KnownFact]) -> Iterator[Finding]:
        return spared(journey, moves, back, hours * HOUR, harm_pair=anywhere)

    return _standard("transfer depart", _to_ward, read)


# -- stroke ------------------------------------------------------------------------------------------------


def _stroke_unit(journey: KnownJourney, arrivals: Sequence[KnownFact]) -> Iterator[Finding]:
    def on_the_unit(fact: KnownFact) -> bool:
        return _comes(fact) and fact.to.kind == "stroke"

    def not_owed(fact: KnownFact) -> bool:
        return fact.type == "stroke_ruled_out" or _discharge(fact) or _into_icu(fact)

    return answered(journey, arrivals, on_the_unit, elapsed(4 * HOUR), stop=not_owed, once=True)


# -- flow --------------------------------------------------------------------------------------------------


def _no_mental_health(fact: KnownFact) -> bool:
    return fact.to.kind != "mental-health"


def _long_stay_review(journey: KnownJourney, admissions: Sequence[KnownFact]) -> Iterator[Finding]:
    return answered(
        journey,
        admissions,
        _is("long_stay_reviewed"),
        elapsed(8 * DAY),
        stop=_discharge,
        give_up=7 * DAY,
        once=True,
    )


def _home_before_midday(journey: KnownJourney, admissions: Sequence[KnownFact]) -> Iterator[Finding]:
    def leaves(fact: KnownFact) -> bool:
        if _discharge(fact):
            return not _died(fact)
        return fact.type in ("transfer", "depart") and fact.to.kind == "lounge"

    def in_the_afternoon(fact: KnownFact) -> bool:
        return leaves(fact) and local_hour(fact) >= 12

    def in_the_morning(fact: KnownFact) -> bool:
        return leaves(fact) and local_hour(fact) < 12

    return spared(journey, admissions, in_the_afternoon, 60 * DAY, until=in_the_morning)


# -- discharge, return -------------------------------------------------------------------------------------


def _not_died(fact: KnownFact) -> bool:
    return not _died(fact)


def _from_ed_not_died(fact: KnownFact) -> bool:
    return fact.from_.kind == "ed" and not _died(fact)


def _from_ward_not_died(fact: KnownFact) -> bool:
    return fact.from_.kind != "ed" and not _died(fact)


def _to_the_community(fact: KnownFact) -> bool:
    return not _died(fact) and not _transferred(fact)


def _from_ward_to_the_community(fact: KnownFact) -> bool:
    return fact.from_.kind != "ed" and _to_the_community(fact)


def _from_mental_health_to_the_community(fact: KnownFact) -> bool:
    return fact.from_.kind == "mental-health" and _to_the_community(fact)


def _discharge_summary(opens: Test) -> Standard:
    def read(journey: KnownJourney, discharges: Sequence[KnownFact]) -> Iterator[Finding]:
        return answered(journey, discharges, _is("summary_sent"), elapsed(24 * HOUR), give_up=3 * DAY)

    return _standard("discharge", opens, read)


def _after_discharge(
    types: str, opens: Test, wanted: Test, limit: Limit, give_up_days: int, *, not_before: int = 0
) -> Standard:
    """Owed by the practice, which knows no visit numbers, until the next admission."""

    def read(journey: KnownJourney, discharges: Sequence[KnownFact]) -> Iterator[Finding]:
        return answered(
            journey,
            discharges,
            wanted,
            limit,
            stop=_is("admit"),
            give_up=give_up_days * DAY,
            pair=anywhere,
            not_before=not_before,
        )

    return _standard(types, opens, read)


def _complexity(wanted: str) -> Test:
    return lambda fact: fact.attributes.get("complexity") == wanted


def _admission_notice(journey: KnownJourney, admissions: Sequence[KnownFact]) -> Iterator[Finding]:
    def not_owed(fact: KnownFact) -> bool:
        return fact.type == "admit" or (_discharge(fact) and _died(fact))

    return answered(
        journey,
        admissions,
        _is("admission_notice_received"),
        calendar_days(2),
        stop=not_owed,
        give_up=3 * DAY,
        pair=anywhere,
    )


def _unplanned_return(journey: KnownJourney, discharges: Sequence[KnownFact]) -> Iterator[Finding]:
    def unplanned(fact: KnownFact) -> bool:
        return fact.type == "admit" and not _planned(fact)

    def planned(fact: KnownFact) -> bool:
        return fact.type == "admit" and _planned(fact)

    return spared(journey, discharges, unplanned, 30 * DAY, until=planned, pair=anywhere)


# -- notify ------------------------------------------------------------------------------------------------


def _notice(types: str, opens: Test, event: str, *, once: bool = False) -> Standard:
    def sent(fact: KnownFact) -> bool:
        return fact.type == "notice_sent" and fact.attributes.get("event") == event

    def read(journey: KnownJourney, triggers: Sequence[KnownFact]) -> Iterator[Finding]:
        return answered(journey, triggers, sent, elapsed(30 * MINUTE), once=once)

    return _standard(types, opens, read)


# -- transit -----------------------------------------------------------------------------------------------


def _placed(fact: KnownFact) -> bool:
    return fact.to.id is not None


def _unplaced(fact: KnownFact) -> bool:
    return fact.to.id is None


def _same_target(one: KnownFact, other: KnownFact) -> bool:
    return one.to.id is not None and one.to.id == other.to.id


def _ordered_move(journey: KnownJourney, orders: Sequence[KnownFact]) -> Iterator[Finding]:
    return answered(
        journey,
        orders,
        _is("transfer", "arrive"),
        elapsed(4 * HOUR),
        stop=_is("pending_transfer", "discharge"),
        answer_pair=_same_target,
    )


def _ordered_move_unnamed(journey: KnownJourney, orders: Sequence[KnownFact]) -> Iterator[Finding]:
    return answered(
        journey,
        orders,
        _is("transfer", "arrive"),
        elapsed(4 * HOUR),
        stop=_is("pending_transfer", "discharge"),
    )


def _planned_admission(journey: KnownJourney, orders: Sequence[KnownFact]) -> Iterator[Finding]:
    return answered(journey, orders, _is("admit"), elapsed(24 * HOUR), stop=_is("pending_admit", "discharge"))


def _ordered_discharge(journey: KnownJourney, orders: Sequence[KnownFact]) -> Iterator[Finding]:
    def gone(fact: KnownFact) -> bool:
        return _discharge(fact) and not _died(fact)

    def not_owed(fact: KnownFact) -> bool:
        return fact.type == "pending_discharge" or (_discharge(fact) and _died(fact))

    return answered(journey, orders, gone, calendar_days(1), stop=not_owed)


def _arrival(journey: KnownJourney, departures: Sequence[KnownFact]) -> Iterator[Finding]:
    return answered(journey, departures, _comes, elapsed(30 * MINUTE), stop=_discharge, give_up=12 * HOUR)


def _leave(journey: KnownJourney, leaves: Sequence[KnownFact]) -> Iterator[Finding]:
    return answered(journey, leaves, _is("return"), elapsed(48 * HOUR), stop=_discharge, give_up=5 * DAY)


# -- data quality ------------------------------------------------------------------------------------------


def _unmapped(fact: KnownFact) -> bool:
    return fact.to.id is not None and fact.to.kind is None


def _each_is_wrong(_journey: KnownJourney, facts: Sequence[KnownFact]) -> Iterator[Finding]:
    for fact in facts:
        yield Finding(fact, "violated", fact.at)


def _two_places(journey: KnownJourney, _brought: Sequence[KnownFact]) -> Iterator[Finding]:
    return apart(journey, _of_kind(("ed", "ward", "stroke", "mental-health", "icu")), HOUR)


def _never_came(journey: KnownJourney, discharges: Sequence[KnownFact]) -> Iterator[Finding]:
    return preceded(journey, discharges, lambda fact: fact.type in BRINGS)


def _order_forgotten(journey: KnownJourney, orders: Sequence[KnownFact]) -> Iterator[Finding]:
    return answered(
        journey, orders, _is("transfer", "arrive", "discharge"), elapsed(24 * HOUR), give_up=7 * DAY
    )


STANDARDS: Final[Mapping[str, Standard]] = {
    "ambulance-handover": _ambulance_handover(15),
    "ambulance-handover-30m": _ambulance_handover(30),
    "ambulance-handover-45m": _ambulance_handover(45),
    "ed-triage": _standard("register", _into_ed, _ed_triage),
    "ed-room": _standard("register", _into_ed, _ed_room),
    "ed-four-hours": _ed_stay(4),
    "ed-eight-hours": _ed_stay(8),
    "ed-twelve-hours": _ed_stay(12),
    "ed-boarding": _ed_bed(4),
    "ed-trolley-wait": _ed_bed(12),
    "sepsis-antimicrobial": _sepsis_care(_likely, "antimicrobial_given", 1),
    "sepsis-antimicrobial-possible": _sepsis_care(_possible, "antimicrobial_given", 3),
    "sepsis-lactate": _sepsis_care(_any, "lactate_measured", 1),
    "sepsis-cultures-first": _standard("antimicrobial_given", _for_sepsis, _cultures_first),
    "sepsis-icu": _standard("icu_requested", _because_of_sepsis, _sepsis_icu),
    "icu-night-discharge": _icu_night(22, 7),
    "icu-night-discharge-anzics": _icu_night(18, 6),
    "icu-night-discharge-london": _icu_night(22, 8),
    "icu-night-discharge-long": _icu_night(16, 8),
    "icu-step-down": _icu_step_down(4),
    "icu-step-down-6h": _icu_step_down(6),
    "icu-handoff": _standard("transfer depart", _to_ward, _icu_handoff),
    "icu-readmission": _icu_readmission(48),
    "icu-readmission-72h": _icu_readmission(72),
    "stroke-unit": _standard("stroke_arrival", _any, _stroke_unit),
    "flow-long-stay-review": _standard("admit", _no_mental_health, _long_stay_review),
    "flow-home-before-midday": _standard("admit", _no_mental_health, _home_before_midday),
    "discharge-summary": _discharge_summary(_from_ward_not_died),
    "discharge-summary-ed": _discharge_summary(_from_ed_not_died),
    "tcm-contact": _after_discharge(
        "tcm_started", _any, _is("followup_contact", "followup_visit"), business_days(2), 5
    ),
    "tcm-visit-high": _after_discharge(
        "tcm_started", _complexity("high"), _is("followup_visit"), calendar_days(7), 7
    ),
    "tcm-visit-moderate": _after_discharge(
        "tcm_started", _complexity("moderate"), _is("followup_visit"), calendar_days(14), 7
    ),
    "trc-admission-notice": _standard("admit", _any, _admission_notice),
    "trc-discharge-information": _after_discharge(
        "discharge",
        _from_ward_to_the_community,
        _is("discharge_information_received"),
        calendar_days(2),
        3,
    ),
    "trc-engagement": _after_discharge(
        "discharge",
        _from_ward_to_the_community,
        _is("patient_engaged", "followup_visit"),
        calendar_days(30),
        7,
        not_before=12 * HOUR,
    ),
    "trc-medication": _after_discharge(
        "discharge", _from_ward_to_the_community, _is("medication_reconciled"), calendar_days(30), 7
    ),
    "psychiatric-followup-7d": _after_discharge(
        "discharge",
        _from_mental_health_to_the_community,
        _is("followup_visit"),
        calendar_days(7),
        7,
        not_before=12 * HOUR,
    ),
    "psychiatric-followup-30d": _after_discharge(
        "discharge",
        _from_mental_health_to_the_community,
        _is("followup_visit"),
        calendar_days(30),
        7,
        not_before=12 * HOUR,
    ),
    "return-30d": _standard("discharge", _from_ward_to_the_community, _unplanned_return),
    "notify-registration": _notice("register", _into_ed, "registration", once=True),
    "notify-admission": _notice("admit", _any, "admission", once=True),
    "notify-discharge": _notice("discharge", _to_the_community, "discharge"),
    "notify-transfer": _notice("discharge", _transferred, "transfer"),
    "transit-ordered-move": _standard("pending_transfer", _placed, _ordered_move),
    "transit-ordered-move-unnamed": _standard("pending_transfer", _unplaced, _ordered_move_unnamed),
    "transit-planned-admission": _standard("pending_admit", _any, _planned_admission),
    "transit-ordered-discharge": _standard("pending_discharge", _any, _ordered_discharge),
    "transit-arrival": _standard("depart", _any, _arrival),
    "transit-leave": _standard("leave", _any, _leave),
    "data-unmapped-place": Standard(BRINGS, _unmapped, _each_is_wrong),
    "data-discharge-missing": _stay(("ed", "lounge"), 48 * HOUR),
    "data-two-places": Standard(BRINGS, _any, _two_places),
    "data-discharge-unknown": _standard("discharge", _any, _never_came),
    "data-order-forgotten": _standard("pending_transfer", _any, _order_forgotten),
}
"""The truth of each rule of the packs, by its id."""


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
