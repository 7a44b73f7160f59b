"""A journey as people read it: what was told and what counts of it, where the patient was, which cases came of it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from monitor.board.desk import KnownCase
from monitor.board.shown import Journey, JourneyCase, Stayed, Told, case_fields
from monitor.core import journey as core
from monitor.core.event import Event, rank
from monitor.core.journey import Fact, Name, named
from monitor.core.place import Registry

MOST: Final = 2_000
"""Events of a journey that are shown; of more, the last."""

_Status = Literal["counts", "corrected", "cancelled", "coming"]


def timeline(
    pseudonym: str,
    patient: str,
    events: Sequence[Event],
    cases: Iterable[KnownCase],
    registry: Registry,
    now: datetime,
    *,
    with_patient: bool,
) -> Journey:
    """The journey of a patient at a clock, from all events of those whom merges link, and the cases as they stand."""
    read = core.effective(events, now)
    survivor, _ = core.survivor((patient, None), read.into)
    journey = core.Journey(survivor)
    for fact in read.journeys.get(survivor, ()):
        journey.append(fact, registry.places())
    own = [
        event for event in events if core.survivor((event.patient, event.encounter), read.into)[0] == survivor
    ]
    told = _told(own, journey.facts, now, with_patient=with_patient)
    numbers = {fact.name: told[fact.event.source, fact.event.id].number for fact in journey.facts}
    found = [
        _case(each, numbers, with_patient=with_patient) for each in cases if each.verdict.patient == survivor
    ]
    return Journey(
        journey=pseudonym,
        patient=survivor if with_patient else None,
        events=list(told.values())[-MOST:],
        left_out=max(0, len(told) - MOST),
        stays=[
            _stayed(each, registry, with_patient=with_patient) for each in core.stays(journey.facts, registry)
        ],
        cases=sorted(found, key=lambda case: (case.trigger_at, case.rule, case.case)),
    )


def _told(
    events: Sequence[Event], facts: Sequence[Fact], now: datetime, *, with_patient: bool
) -> dict[Name, Told]:
    """Each event that was told, by its name, in order of care."""
    fact_of = {(fact.event.source, fact.event.id): fact for fact in facts}
    unique = {(event.source, event.id): event for event in events}
    unique |= {name: fact.event for name, fact in fact_of.items()}
    stands_for = _last_words(unique)
    cancelled_by = {
        stands_for[target]: name
        for name, event in unique.items()
        if event.cancels is not None and (target := named(event.cancels, event.source)) in unique
    }
    in_order = sorted(unique, key=lambda name: _order(unique[name], fact_of.get(name)))
    numbers = {name: number for number, name in enumerate(in_order)}
    told = {}
    for name in in_order:
        event, fact = unique[name], fact_of.get(name)
        status: _Status = "counts"
        undone_by = None
        if fact is None and stands_for[name] != name:
            status, undone_by = "corrected", stands_for[name]
        elif fact is None and event.occurred_at > now:
            status = "coming"
        elif fact is None:
            status, undone_by = "cancelled", cancelled_by.get(name)
        told[name] = Told(
            number=numbers[name],
            type=event.type,
            status=status,
            undone_by=None if undone_by is None else numbers[undone_by],
            at=event.occurred_at,
            precision=event.precision,
            recorded_at=event.recorded_at,
            arrived_at=event.arrived_at,
            from_=fact.from_ if fact else event.from_,
            to=fact.to if fact else event.to,
            place=fact.after if fact else None,
            source=event.source,
            id=event.id if with_patient else None,
            encounter=(fact.encounter if fact else event.encounter) if with_patient else None,
            attributes=_attributes(event) if with_patient else None,
        )
    return told


def _last_words(events: dict[Name, Event]) -> dict[Name, Name]:
    """For each event the one that stands for it: the last of all that correct one another (contract, section 2, Facts)."""
    families: dict[Name, list[Name]] = defaultdict(list)
    for name in events:
        families[_root(name, events)].append(name)
    found = {}
    for family in families.values():
        last = max(family, key=lambda name: (events[name].recorded_at, *name))
        found.update(dict.fromkeys(family, last))
    return found


def _root(name: Name, events: dict[Name, Event]) -> Name:
    """The event that others correct and that corrects none; of a cycle the least of its names."""
    path: dict[Name, None] = {}
    while name not in path:
        path[name] = None
        target = events[name].replaces
        if target is None or named(target, events[name].source) not in events:
            return name
        name = named(target, events[name].source)
    walk = list(path)
    return min(walk[walk.index(name) :])


def _order(event: Event, fact: Fact | None) -> core.Order:
    if fact is not None:
        return fact.order
    return (event.occurred_at.astimezone(UTC), rank(event.type), event.source, event.id)


def _attributes(event: Event) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in event.attributes.items() if value is not None}


def _stayed(stay: core.Stay, registry: Registry, *, with_patient: bool) -> Stayed:
    found = registry.microsystem(stay.place)
    return Stayed(
        place=stay.place,
        name=found.name if found else None,
        kind=stay.kind,
        entered_at=stay.entered_at,
        left_at=stay.left_at,
        from_=stay.from_,
        to=stay.to,
        encounter=stay.encounter if with_patient else None,
    )


def _case(known: KnownCase, numbers: dict[Name, int], *, with_patient: bool) -> JourneyCase:
    """A case, with the numbers of the events that count by the names of their facts."""
    case = known.verdict
    return JourneyCase(
        **case_fields(case, known.pseudonym, with_patient=with_patient),
        trigger_event=numbers.get((case.source, case.trigger)),
        evidence_events=[number for (_, id_), number in numbers.items() if id_ in case.evidence],
    )
