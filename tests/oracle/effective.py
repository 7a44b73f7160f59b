"""From the events that have arrived to the effective timeline of each journey (contract, section 2).

Written to be read beside the contract, not to be fast: everything is derived anew from the whole set.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from match import kind_of, place_of

from monitor.core.event import Event, Ref, canonical_bytes, is_cancel, rank, same_instant

Clock = tuple[datetime, int]
"""An instant, and 0 for the moment at it (what arrives, what becomes effective) or 1 for just after it (what is due)."""

Key = tuple[str, str]
"""Source and id of an event; of a fact, those of its root."""

OPENING = {"register", "admit", "transfer", "arrive", "return"}


@dataclass(eq=False)
class Fact:
    """An event and all that replaces it: the id of the root, the content of the member last recorded."""

    key: Key
    content: Event
    members: list[Key]
    arrived_at: datetime
    """When the first of its copies did."""
    order: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.order = (self.content.occurred_at, rank(self.content.type), *self.key)


@dataclass(eq=False)
class Effective:
    """A fact in its place in a journey."""

    fact: Fact
    patient: str
    encounter: str | None
    stay_key: tuple[str | None, str | None]
    """Tells encounters of one journey apart; unnamed ones by the patient under whom they were sent."""
    from_: str | None
    to: str | None
    place: str | None
    """Where the encounter is just after it."""

    @property
    def key(self) -> Key:
        return self.fact.key

    @property
    def event(self) -> Event:
        return self.fact.content

    @property
    def at(self) -> datetime:
        return self.fact.content.occurred_at

    @property
    def order(self) -> tuple[Any, ...]:
        return self.fact.order


def effective(events: Iterable[Event], clock: Clock, registry: dict[str, Any]) -> dict[str, list[Effective]]:
    """The effective events of each surviving patient, in order, as known at the clock."""
    instant = clock[0]
    known = [event for event in events if event.arrived_at <= instant and event.type != "heartbeat"]
    journeys: dict[str, list[Effective]] = {}
    for chart in charts(known):
        for patient, facts in journeys_of(chart, instant).items():
            journeys[patient] = timeline(patient, facts, registry)
    return journeys


def charts(known: list[Event]) -> list[list[Event]]:
    """The events by patient key, those of keys that any merge links together (decision 1)."""
    chart_of = {event.patient: {event.patient} for event in known}
    for event in known:
        into = event.attributes.get("into")
        if event.type == "merge" and isinstance(into, str):
            joined = chart_of[event.patient] | chart_of.get(into, {into})
            for patient in joined:
                chart_of[patient] = joined
    keys = {id(patients): patients for patients in chart_of.values()}
    return [[event for event in known if event.patient in patients] for patients in keys.values()]


def facts_of(chart: list[Event]) -> list[Fact]:
    """Duplicates and replacements resolved (2.2, 2.3)."""
    copies: dict[Key, list[Event]] = {}
    for event in chart:
        copies.setdefault((event.source, event.id), []).append(event)
    standing = {
        key: min(same, key=lambda e: (e.recorded_at, canonical_bytes(e))) for key, same in copies.items()
    }

    members: dict[Key, list[Key]] = {}
    for key in standing:
        members.setdefault(root_of(key, standing), []).append(key)
    return [
        Fact(
            root,
            standing[max(keys, key=lambda key: by_recording(standing[key]))],
            keys,
            min(copy.arrived_at for key in keys for copy in copies[key]),
        )
        for root, keys in members.items()
    ]


def by_recording(event: Event) -> tuple[Any, ...]:
    return (event.recorded_at, event.source, event.id)


def named(reference: str | Ref | None, source: str) -> Key | None:
    """A bare id is of the same source."""
    if reference is None:
        return None
    return (reference.source, reference.id) if isinstance(reference, Ref) else (source, reference)


def root_of(key: Key, standing: dict[Key, Event]) -> Key:
    path = [key]
    while True:
        event = standing[path[-1]]
        target = named(event.replaces, event.source)
        if target not in standing:  # replaces nothing, or what is not known yet
            return path[-1]
        if target in path:  # a cycle: the first of the events on it
            return min(path[path.index(target) :], key=lambda each: by_recording(standing[each]))
        path.append(target)


def journeys_of(chart: list[Event], instant: datetime) -> dict[str, list[tuple[Fact, str | None]]]:
    """The facts of each surviving patient that stand, in order, each with its encounter (as renamed by merges)."""
    facts = sorted(
        (fact for fact in facts_of(chart) if fact.content.occurred_at <= instant), key=lambda fact: fact.order
    )
    removed = removed_by_name(facts)
    for patient in {fact.content.patient for fact in facts}:
        sent = [fact for fact in facts if fact.content.patient == patient]
        written = {fact: fact.content.encounter for fact in sent}
        cancels = [fact for fact in inferring(written, removed) if fact.content.type == "cancel_merge"]
        removed |= removed_by_inference(cancels, written, removed)

    merges = standing_merges([f for f in facts if f.content.type == "merge" and f not in removed])
    journeys: dict[str, list[tuple[Fact, str | None]]] = {}
    for fact in facts:
        patient, encounter = survivor((fact.content.patient, fact.content.encounter), merges)
        journeys.setdefault(patient, []).append((fact, encounter))

    for patient, journey in journeys.items():
        own = dict(journey)
        once = inferring(own, removed)
        repeats = [fact for fact in own if infers(fact) and fact not in removed and fact not in once]
        cancels = [fact for fact in once if fact.content.type != "cancel_merge"]
        gone = removed | removed_by_inference(cancels, own, removed)
        journeys[patient] = [pair for pair in journey if pair[0] not in gone and pair[0] not in repeats]
    return journeys


# -- cancels (2.4) -----------------------------------------------------------------------------------------


def removed_by_name(facts: list[Fact]) -> set[Fact]:
    """What the explicit cancels remove; one acts unless one that acts removes it (decision 5)."""
    fact_of = {member: fact for fact in facts for member in fact.members}
    names: dict[Fact, Fact] = {}
    for cancel in facts:
        target = fact_of.get(named(cancel.content.cancels, cancel.content.source))
        if target is not None and cancel not in followed(target, names):
            names[cancel] = target

    def acts(cancel: Fact) -> bool:
        return not any(target is cancel and acts(other) for other, target in names.items())

    return {target for cancel, target in names.items() if acts(cancel)}


def followed(fact: Fact, names: dict[Fact, Fact]) -> list[Fact]:
    path = [fact]
    while path[-1] in names:
        path.append(names[path[-1]])
    return path


def infers(fact: Fact) -> bool:
    return is_cancel(fact.content) and fact.content.cancels is None


def inferring(facts: dict[Fact, str | None], removed: set[Fact]) -> list[Fact]:
    """The cancels without `cancels`, in order; of those that agree, the first. Each fact comes with its encounter."""
    first: dict[Any, Fact] = {}
    for fact, encounter in facts.items():
        if infers(fact) and fact not in removed:
            event = fact.content
            first.setdefault((event.type, encounter, event.occurred_at, event.from_, event.to), fact)
    return list(first.values())


def removed_by_inference(cancels: list[Fact], facts: dict[Fact, str | None], removed: set[Fact]) -> set[Fact]:
    found: set[Fact] = set()
    for cancel in cancels:
        target = inferred_target(cancel, facts, removed | found)
        if target is not None:
            found.add(target)
    return found


def inferred_target(cancel: Fact, facts: dict[Fact, str | None], removed: set[Fact]) -> Fact | None:
    """The fact that a cancel without `cancels` means (decision 6)."""
    cancelled = cancel.content.type.removeprefix("cancel_")
    types = ["admit", "register"] if cancelled == "admit" else [cancelled]
    candidates = [
        [
            fact
            for fact, encounter in facts.items()
            if fact.content.type == each
            and not is_cancel(fact.content)
            and facts[cancel] in (None, encounter)
        ]
        for each in types
    ]
    for of_type in candidates:
        equal = [fact for fact in of_type if same_instant(fact.content, cancel.content)]
        if equal:
            return ([fact for fact in equal if same_places(cancel.content, fact.content)] or equal)[-1]
    for of_type in candidates:
        before = [fact for fact in of_type if fact.order < cancel.order and fact not in removed]
        if before:
            return before[-1]
    return None


def same_places(cancel: Event, other: Event) -> bool:
    """Whether the places that the cancel gives are those of the other, as written."""
    return cancel.from_ in (None, other.from_) and cancel.to in (None, other.to)


# -- merges ------------------------------------------------------------------------------------------------

Node = tuple[str, str | None]
"""A patient (None), or one encounter of a patient."""


def standing_merges(merges: list[Fact]) -> dict[Node, Node]:
    """Where each retired patient or encounter went (decision 12)."""
    last: dict[Node, Node] = {}
    for merge in merges:  # in order
        move = moved(merge.content)
        if move is not None:
            last.pop(move[0], None)
            last[move[0]] = move[1]
    standing: dict[Node, Node] = {}
    for retired, into in last.items():
        if leads_to(into, retired, standing):
            del standing[into if into in standing else (into[0], None)]
        standing[retired] = into
    return standing


def moved(merge: Event) -> tuple[Node, Node] | None:
    into = merge.attributes.get("into")
    renamed = merge.attributes.get("encounter_into")
    patient = into if isinstance(into, str) else merge.patient
    if merge.attributes.get("moves") == "encounter" or isinstance(renamed, str):
        if merge.encounter is None:
            return None
        retired: Node = (merge.patient, merge.encounter)
        survives: Node = (patient, renamed if isinstance(renamed, str) else merge.encounter)
    else:
        retired, survives = (merge.patient, None), (patient, None)
    return None if retired == survives else (retired, survives)


def step(node: Node, merges: dict[Node, Node]) -> Node | None:
    """The move of the encounter comes before the move of the patient."""
    if node in merges:
        return merges[node]
    if (node[0], None) in merges:
        return (merges[node[0], None][0], node[1])
    return None


def leads_to(start: Node, goal: Node, merges: dict[Node, Node]) -> bool:
    return goal in walked(start, merges)


def walked(start: Node, merges: dict[Node, Node]) -> list[Node]:
    path = [start]
    while (after := step(path[-1], merges)) is not None and after not in path:
        path.append(after)
    return path


def survivor(node: Node, merges: dict[Node, Node]) -> Node:
    return walked(node, merges)[-1]


# -- encounter and place -----------------------------------------------------------------------------------


def timeline(patient: str, facts: list[tuple[Fact, str | None]], registry: dict[str, Any]) -> list[Effective]:
    """The facts of one journey, in order, each with the encounter it belongs to and the places it moves between."""
    found: list[Effective] = []
    is_open: set[str] = set()
    places: dict[Any, str | None] = {}
    for fact, written in facts:
        event = fact.content
        encounter = next(iter(is_open)) if written is None and len(is_open) == 1 else written
        stay_key = (encounter, None) if encounter is not None else (None, event.patient)
        before = places.get(stay_key)
        from_ = place_of(event.from_, registry) if event.from_ is not None else before
        to = place_of(event.to, registry)

        if event.type in OPENING:
            places[stay_key] = to if to is not None else before
            if encounter is not None:
                is_open.add(encounter)
        if event.type == "discharge":
            places[stay_key] = None
            is_open.discard(encounter)
        found.append(Effective(fact, patient, encounter, stay_key, from_, to, places.get(stay_key)))
    return found


def stays(events: Iterable[Event], clock: Clock, registry: dict[str, Any]) -> list[dict[str, Any]]:
    """Each stay of each encounter in a microsystem or raw location, as known at the clock (decision 13)."""
    found = []
    for patient, journey in effective(events, clock, registry).items():
        current: dict[Any, dict[str, Any]] = {}
        for each in journey:
            stay = current.get(each.stay_key)
            if each.place == (stay["place"] if stay else None):
                continue
            if stay:
                stay |= {"left_at": each.at, "to": each.to}
                del current[each.stay_key]
            if each.place is not None:
                current[each.stay_key] = {
                    "patient": patient,
                    "encounter": each.encounter,
                    "place": each.place,
                    "kind": kind_of(each.place, registry),
                    "entered_at": each.at,
                    "left_at": None,
                    "from": each.from_,
                    "to": None,
                }
                found.append(current[each.stay_key])
    return found
