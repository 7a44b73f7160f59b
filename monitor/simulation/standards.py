"""The truth of every rule of the packs: each a short reading of its standard, over what is known of one journey.

Written by hand from the standards and the packs' own words, and apart from the monitor. The names of the functions
are the ids of the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from monitor.simulation.known import KnownFact, KnownJourney, anywhere
from monitor.simulation.reading import (
    HOUR,
    MINUTE,
    Finding,
    Test,
    answered,
    elapsed,
    local,
    preceded,
    spared,
    stayed,
)

Standard = Callable[[KnownJourney], Iterator[Finding]]


def _is(*types: str) -> Test:
    """A fact of one of these types."""
    return lambda fact: fact.type in types


def _in_ed(_place: str | None, kind: str | None) -> bool:
    return kind == "ed"


# -- ed ----------------------------------------------------------------------------------------------------


def _arrivals(journey: KnownJourney) -> list[KnownFact]:
    return [fact for fact in journey.each("register") if fact.to_kind == "ed"]


def _decisions(journey: KnownJourney) -> list[KnownFact]:
    return [fact for fact in journey.each("decision_to_admit") if fact.from_kind == "ed"]


def _out_of_ed(fact: KnownFact) -> bool:
    return fact.from_kind == "ed" and fact.to_kind != "ed"


def _moved_out_of_ed(fact: KnownFact) -> bool:
    return fact.type in ("admit", "transfer", "depart") and _out_of_ed(fact)


def _left_untriaged(fact: KnownFact) -> bool:
    return fact.type == "discharge" or (fact.type in ("admit", "transfer") and _out_of_ed(fact))


def _roomed(fact: KnownFact) -> bool:
    return fact.type == "roomed" or (fact.type in ("admit", "transfer", "arrive") and _out_of_ed(fact))


def _ed_triage(journey: KnownJourney) -> Iterator[Finding]:
    return answered(
        journey,
        _arrivals(journey),
        _is("triage"),
        elapsed(15 * MINUTE),
        stop=_left_untriaged,
        give_up=4 * HOUR,
        once=True,
    )


def _ed_room(journey: KnownJourney) -> Iterator[Finding]:
    return answered(journey, _arrivals(journey), _roomed, elapsed(HOUR), stop=_is("discharge"), once=True)


def _ed_stay(hours: int) -> Standard:
    return lambda journey: stayed(journey, _in_ed, hours * HOUR)


def _ed_bed(hours: int) -> Standard:
    def within(journey: KnownJourney) -> Iterator[Finding]:
        return answered(
            journey,
            _decisions(journey),
            _moved_out_of_ed,
            elapsed(hours * HOUR),
            stop=_is("discharge"),
            once=True,
        )

    return within


# -- icu ---------------------------------------------------------------------------------------------------


def _step_downs(journey: KnownJourney) -> list[KnownFact]:
    return [fact for fact in journey.each("transfer") if fact.from_kind == "icu" and fact.to_kind == "ward"]


def _icu_night_discharge(journey: KnownJourney) -> Iterator[Finding]:
    for move in _step_downs(journey):
        if local(move).hour >= 22 or local(move).hour < 7:
            yield Finding(move, "violated")


def _left_icu(fact: KnownFact) -> bool:
    return (
        fact.type in ("transfer", "depart", "discharge") and fact.from_kind == "icu" and fact.to_kind != "icu"
    )


def _icu_step_down(journey: KnownJourney) -> Iterator[Finding]:
    fit = [fact for fact in journey.each("fit_for_discharge") if fact.from_kind == "icu"]
    return answered(journey, fit, _left_icu, elapsed(4 * HOUR), give_up=48 * HOUR, once=True)


def _icu_handoff(journey: KnownJourney) -> Iterator[Finding]:
    return preceded(journey, _step_downs(journey), _is("handoff_signed"), within=12 * HOUR)


def _back_in_icu(fact: KnownFact) -> bool:
    return (
        fact.type in ("admit", "transfer")
        and fact.to_kind == "icu"
        and fact.attributes.get("planned") is not True
    )


def _icu_readmission(hours: int) -> Standard:
    return lambda journey: spared(
        journey, _step_downs(journey), _back_in_icu, hours * HOUR, harm_pair=anywhere
    )


# -- sepsis ------------------------------------------------------------------------------------------------


def _likely(fact: KnownFact) -> bool:
    return fact.attributes.get("shock") is True or fact.attributes.get("likelihood") == "high"


def _sepsis_antimicrobial(journey: KnownJourney) -> Iterator[Finding]:
    recognised = [fact for fact in journey.each("sepsis_recognised") if _likely(fact)]
    return answered(
        journey,
        recognised,
        _is("antimicrobial_given"),
        elapsed(HOUR),
        stop=_is("sepsis_ruled_out"),
        once=True,
    )


def _sepsis_antimicrobial_possible(journey: KnownJourney) -> Iterator[Finding]:
    recognised = [
        fact
        for fact in journey.each("sepsis_recognised")
        if fact.attributes.get("likelihood") == "possible" and fact.attributes.get("shock") is not True
    ]
    return answered(
        journey,
        recognised,
        _is("antimicrobial_given"),
        elapsed(3 * HOUR),
        stop=_is("sepsis_ruled_out"),
        once=True,
    )


def _sepsis_cultures_first(journey: KnownJourney) -> Iterator[Finding]:
    doses = [
        fact for fact in journey.each("antimicrobial_given") if fact.attributes.get("indication") == "sepsis"
    ]
    return preceded(journey, doses, _is("blood_cultures_taken"), within=24 * HOUR)


def _sepsis_lactate(journey: KnownJourney) -> Iterator[Finding]:
    return answered(
        journey,
        journey.each("sepsis_recognised"),
        _is("lactate_measured"),
        elapsed(HOUR),
        stop=_is("sepsis_ruled_out"),
        once=True,
    )


def _reached_icu(fact: KnownFact) -> bool:
    return fact.type in ("admit", "transfer", "arrive") and fact.to_kind == "icu"


def _sepsis_icu(journey: KnownJourney) -> Iterator[Finding]:
    requests = [fact for fact in journey.each("icu_requested") if fact.attributes.get("reason") == "sepsis"]
    return answered(
        journey,
        requests,
        _reached_icu,
        elapsed(6 * HOUR),
        stop=_is("icu_declined", "discharge"),
        once=True,
    )


STANDARDS: Final[dict[str, Standard]] = {
    "ed-triage": _ed_triage,
    "ed-room": _ed_room,
    "ed-four-hours": _ed_stay(4),
    "ed-eight-hours": _ed_stay(8),
    "ed-twelve-hours": _ed_stay(12),
    "ed-boarding": _ed_bed(4),
    "ed-trolley-wait": _ed_bed(12),
    "icu-night-discharge": _icu_night_discharge,
    "icu-step-down": _icu_step_down,
    "icu-handoff": _icu_handoff,
    "icu-readmission": _icu_readmission(48),
    "icu-readmission-72h": _icu_readmission(72),
    "sepsis-antimicrobial": _sepsis_antimicrobial,
    "sepsis-antimicrobial-possible": _sepsis_antimicrobial_possible,
    "sepsis-cultures-first": _sepsis_cultures_first,
    "sepsis-lactate": _sepsis_lactate,
    "sepsis-icu": _sepsis_icu,
}
"""The truth of each rule of the packs, by its id."""
