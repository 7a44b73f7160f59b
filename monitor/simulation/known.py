"""What is known of a journey at the end: the facts that stand, in order, and where the patient was.

The truth's own reading of a simulated journey. It is written apart from the monitor and shares nothing with it, so
that the two can be compared; it is simple because a journey says of each message which fact it is about.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Final, NamedTuple

from msgspec import Struct

from monitor.simulation.journey import Attribute, Fact, Journey, Seconds, Telling


class Place(NamedTuple):
    """A microsystem and its kind. A location that no microsystem owns has its own name, and no kind."""

    id: str | None
    kind: str | None


NOWHERE: Final = Place(None, None)
Where = Callable[[str], Place]
"""The place of a raw location."""

_IN_ORDER: Final = (
    *("pre_admit", "register", "pending_admit", "admit", "return", "MILESTONE"),
    *("pending_transfer", "pending_discharge", "depart", "arrive", "transfer"),
    *("update", "leave", "discharge", "merge"),
)
"""Which of several facts of one second comes first."""
_RANK: Final = {name: rank for rank, name in enumerate(_IN_ORDER)}
_MILESTONE: Final = _RANK["MILESTONE"]

BRINGS: Final = frozenset({"register", "admit", "transfer", "arrive", "return"})
"""Types of facts that open a visit, and bring the patient to their `to`."""


def finder(owners: Mapping[tuple[str, str], tuple[str, str]]) -> Where:
    """Find places by the point of care and the facility of a location; `owners` has the id and kind for each."""

    @cache
    def where(location: str) -> Place:
        point, _, _, facility = location.split("^")[:4]
        return Place(*owners.get((point, facility), (location, None)))

    return where


class KnownFact(Struct, eq=False, gc=False):
    """A fact as it stands at the end.

    `number` is where it comes among the facts of its journey. `unit` says how exactly `at` is known: 60 is to the minute.
    `key` tells visits apart, also those without a number. `before` and `after` say where the patient of that visit is
    just before it, and from it on.
    """

    number: int
    at: Seconds
    unit: Seconds
    type: str
    id: str
    visit: str | None
    key: str
    attributes: dict[str, Attribute]
    from_: Place
    to: Place
    before: Place
    after: Place


class KnownJourney(Struct, eq=False):
    """What is known under one patient's key at the end, in order."""

    patient: str
    end: Seconds
    facts: list[KnownFact]
    moves: list[KnownFact]
    """Those of the facts that brought the patient to another place, or out."""
    types: set[str]

    def each(self, types: Collection[str]) -> list[KnownFact]:
        """The facts of these types, in order."""
        return [fact for fact in self.facts if fact.type in types]


def known(journey: Journey, end: Seconds, where: Where) -> list[KnownJourney]:
    """The journeys that are known at the end: several while merges between the patient's keys have not been told."""
    said: list[tuple[Seconds, int, str, str, Fact, Telling]] = []
    merges: list[Fact] = []
    for fact in journey.facts:
        last = last_word(fact, end)
        if last is None:
            continue
        root, telling = last
        if telling.at > end:
            continue
        if fact.type == "merge":
            merges.append(fact)
        said.append((telling.at, _RANK.get(fact.type, _MILESTONE), fact.source, root, fact, telling))
    said.sort()
    merged = {fact.patient: str(fact.attributes["into"]) for fact in merges if "into" in fact.attributes}
    renamed = {
        fact.visit: str(fact.attributes["encounter_into"])
        for fact in merges
        if "encounter_into" in fact.attributes
    }
    journeys: dict[str, list[tuple[Seconds, int, str, str, Fact, Telling]]] = defaultdict(list)
    for each in said:
        patient = each[4].patient
        while patient in merged:
            patient = merged[patient]
        journeys[patient].append(each)
    return [_timeline(patient, each, renamed, end, where) for patient, each in journeys.items()]


def last_word(fact: Fact, end: Seconds) -> tuple[str, Telling] | None:
    """The id under which a fact is known at the end, and what was last said of it; None when nothing was, or it was cancelled."""
    told = fact.told
    if len(told) == 1:
        return (told[0].id, told[0]) if told[0].delivered_at <= end else None
    reached = {telling.id for telling in told if telling.delivered_at <= end}
    said = [telling for telling in told if telling.id in reached and telling.kind != "copy"]
    if not said or any(telling.kind == "cancel" for telling in said):
        return None
    return said[0].id, max(said, key=_recorded)


def _recorded(telling: Telling) -> tuple[Seconds, str]:
    return telling.recorded_at, telling.id


def _timeline(
    patient: str,
    said: Iterable[tuple[Seconds, int, str, str, Fact, Telling]],
    renamed: dict[str | None, str],
    end: Seconds,
    where: Where,
) -> KnownJourney:
    """Follow one patient from place to place, visit by visit."""
    is_in: dict[str, Place] = {}
    open_visits: set[str] = set()
    facts: list[KnownFact] = []
    for number, (at, _, _, root, fact, telling) in enumerate(said):
        kind = fact.type
        visit = renamed.get(fact.visit, fact.visit)
        if visit is None and len(open_visits) == 1:
            (visit,) = open_visits
        key = visit if visit is not None else f"none of {fact.patient}"
        before = after = is_in.get(key, NOWHERE)
        to = NOWHERE if telling.to is None else where(telling.to)
        if kind in BRINGS:
            if visit is not None:
                open_visits.add(visit)
            if telling.to is not None:
                after = is_in[key] = to
        elif kind == "discharge":
            open_visits.discard(key)
            after = is_in[key] = NOWHERE
        from_ = before if telling.from_ is None else where(telling.from_)
        facts.append(
            KnownFact(
                number, at, telling.unit, kind, root, visit, key, fact.attributes, from_, to, before, after
            )
        )
    moves = [fact for fact in facts if fact.after != fact.before]
    return KnownJourney(patient, end, facts, moves, {fact.type for fact in facts})


def together(one: KnownFact, other: KnownFact) -> bool:
    """Whether two facts happened at one instant, as exactly as the less exact of them says."""
    unit = max(one.unit, other.unit)
    return one.at // unit == other.at // unit


def same_visit(one: KnownFact, other: KnownFact) -> bool:
    """Whether two facts are of one visit, as far as both have one."""
    return one.visit is None or other.visit is None or one.visit == other.visit


def anywhere(_one: KnownFact, _other: KnownFact) -> bool:
    """Two facts of one patient, whatever the visits."""
    return True


def stays(journey: KnownJourney, inside: Callable[[Place], bool]) -> list[tuple[KnownFact, KnownFact | None]]:
    """Each unbroken time in places that are `inside`: the fact that began it, and the one that ended it, if any."""
    entered: dict[str, KnownFact] = {}
    found: list[tuple[KnownFact, KnownFact | None]] = []
    for fact in journey.moves:
        is_inside = inside(fact.after)
        if is_inside and fact.key not in entered:
            entered[fact.key] = fact
        elif not is_inside and fact.key in entered:
            found.append((entered.pop(fact.key), fact))
    return found + [(fact, None) for fact in entered.values()]
