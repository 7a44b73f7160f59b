"""From the events that are known to the timeline that counts: who, where, in which encounter (contract, section 2).

`effective` reads the contract from scratch over all events of a chart. A `Journey` takes the facts of one patient in
order and keeps what the rules make of them; appending to it gives what `effective` would give.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from monitor.core.event import (
    CANCEL_PREFIX,
    OPENS_ENCOUNTER,
    UNIT,
    Event,
    Ref,
    canonical_bytes,
    is_cancel,
    rank,
    same_instant,
)
from monitor.core.place import Registry

if TYPE_CHECKING:
    from monitor.core.verdict import Case

Name = tuple[str, str]
"""An event's name: (`source`, `id`)."""
Order = tuple[datetime, int, str, str]
"""The total order of facts: (`occurred_at`, rank of type, `source`, `id`)."""
Key = tuple[str, str | None]
"""What a merge retires: a patient, or one encounter of a patient."""


class Fact(msgspec.Struct, eq=False, gc=False):
    """An event that counts, with what follows from its place in the journey."""

    order: Order
    at: datetime
    event: Event
    """The content: the last correction of the event."""
    arrived_at: datetime
    """When the first event of the fact arrived."""
    patient: str
    """The patient to whose journey it belongs, after merges."""
    encounter: str | None = None
    visit: str = ""
    """The encounter, or a name that keeps the unnamed encounters of merged patients apart."""
    from_: str | None = None
    to: str | None = None
    before: str | None = None
    """Where the encounter's patient was just before it."""
    after: str | None = None
    """Where the encounter's patient is from it on."""
    shape: Any = None

    @property
    def name(self) -> Name:
        """Source and id of the fact."""
        return self.order[2:]

    @property
    def source(self) -> str:
        return self.order[2]

    @property
    def id(self) -> str:
        """The id of the fact: that of its first event, whatever has corrected it since."""
        return self.order[3]


class Stay(NamedTuple):
    """One effective stay of an encounter in one place."""

    patient: str
    encounter: str | None
    place: str
    kind: str | None
    entered_at: datetime
    left_at: datetime | None
    from_: str | None
    to: str | None


def plain_fact(event: Event, arrived_at: datetime) -> Fact:
    """The fact of an event that nothing corrects, cancels or moves."""
    at = event.occurred_at
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    order = (at, rank(event.type), event.source, event.id)
    return Fact(order, at, event, arrived_at, event.patient, event.encounter)


class Journey:
    """One patient's effective timeline, in order, and what the rules have made of it so far."""

    __slots__ = ("cases", "coarsest", "facts", "live", "open", "patient", "places", "seen")

    def __init__(self, patient: str) -> None:
        self.patient = patient
        self.facts: list[Fact] = []
        self.coarsest: timedelta = UNIT["second"]
        """The coarsest precision of its facts: how far apart two equal instants can be."""
        self.open: dict[str, None] = {}
        self.places: dict[str, str | None] = {}
        self.cases: list[Case] = []
        self.live: dict[Any, list[Case]] = {}
        """For each form, the cases that a coming fact can still change."""
        self.seen: dict[Any, Any] = {}
        """For each form, what it must remember of the past."""

    def append(self, fact: Fact, places: Mapping[str, str]) -> None:
        """Take the next fact in order: assign its encounter, its `from` and the place after it.

        `places` maps every location to the id of its microsystem, or to itself.
        """
        event = fact.event
        kind = event.type
        encounter = fact.encounter
        if encounter is not None:
            visit = encounter
        elif len(self.open) == 1:
            visit = encounter = fact.encounter = next(iter(self.open))
        else:
            visit = "\0" + event.patient
        fact.visit = visit
        before = fact.before = fact.after = self.places.get(visit)
        fact.from_ = before if event.from_ is None else places[event.from_]
        if event.to is not None:
            fact.to = places[event.to]
        if kind in OPENS_ENCOUNTER:
            if encounter is not None:
                self.open[visit] = None
            if fact.to is not None:
                self.places[visit] = fact.after = fact.to
        elif kind == "discharge":
            self.open.pop(visit, None)
            self.places[visit] = fact.after = None
        if event.precision != "second":
            self.coarsest = max(self.coarsest, UNIT[event.precision])
        self.facts.append(fact)

    def around(self, start: Fact) -> Sequence[Fact]:
        """The facts that can be at the same instant as `start`, at the coarser precision, and all later ones, in order.

        None where `start` stands alone at the end of the journey.
        """
        facts = self.facts
        earliest = start.at - self.coarsest
        if facts[-1] is start and (len(facts) == 1 or facts[-2].at <= earliest):
            return ()
        low = len(facts)
        while low and facts[low - 1].at > earliest:
            low -= 1
        return facts[low:]


def stays(facts: Iterable[Fact], registry: Registry) -> Iterator[Stay]:
    """The stays of one journey, from its facts in order; each ends before the encounter's next begins."""
    inside: dict[str, Fact] = {}
    for fact in facts:
        if fact.before == fact.after:
            continue
        entered = inside.pop(fact.visit, None)
        if entered is not None:
            yield _stay(entered, fact, registry)
        if fact.after is not None:
            inside[fact.visit] = fact
    for entered in inside.values():
        yield _stay(entered, None, registry)


def _stay(entered: Fact, left: Fact | None, registry: Registry) -> Stay:
    place = entered.after or ""
    found = registry.microsystem(place)
    return Stay(
        entered.patient,
        entered.encounter,
        place,
        found.kind if found else None,
        entered.at,
        left.at if left else None,
        entered.from_,
        left.to if left else None,
    )


class Effective(NamedTuple):
    """What counts of a chart at one clock."""

    journeys: dict[str, list[Fact]]
    """For each surviving patient the facts in order, not yet appended to a journey."""
    next_at: datetime | None
    """When the next fact, which still lies in the future, takes part."""
    awaited: frozenset[Name]
    """Events that are named by a correction or a cancel and are not known yet."""
    guard: datetime | None
    """A coming fact earlier than this may be what a known cancel meant."""
    into: dict[Key, Key]
    """What merges have retired, and what it became."""


def effective(events: Iterable[Event], clock: datetime) -> Effective:
    """What counts, at a clock, of all the events of a chart (contract, section 2, points 2 to 5 and Merge).

    `events` are those that have arrived, each with its arrival, in any order.
    """
    standing = _standing(events)
    facts, members, awaited = _facts(standing)
    present = sorted((fact for fact in facts if fact.at <= clock), key=lambda fact: fact.order)
    coming = [fact.at for fact in facts if fact.at > clock]
    removed = _explicitly_removed(present, members)
    inferring = [fact for fact in present if _infers(fact) and id(fact) not in removed]
    present = _without_undone_merges(present, inferring, removed)
    into = _merged([fact for fact in present if fact.event.type == "merge" and id(fact) not in removed])
    for fact in present if into else ():
        fact.patient, fact.encounter = survivor((fact.event.patient, fact.event.encounter), into)
    journeys: dict[str, list[Fact]] = defaultdict(list)
    for fact in present:
        journeys[fact.patient].append(fact)
    for patient, timeline in journeys.items():
        journeys[patient] = _without_cancelled(timeline, removed)
    guard = max((fact.at + UNIT[fact.event.precision] for fact in inferring), default=None)
    return Effective(dict(journeys), min(coming, default=None), frozenset(awaited), guard, into)


def _standing(events: Iterable[Event]) -> dict[Name, tuple[Event, datetime]]:
    """Of the copies of each event the one that stands, with the arrival of the first (point 2)."""
    copies: dict[Name, list[Event]] = defaultdict(list)
    for event in events:
        copies[event.source, event.id].append(event)
    return {
        name: (
            min(same, key=lambda event: (event.recorded_at, canonical_bytes(event)))
            if len(same) > 1
            else same[0],
            min(event.arrived_at or event.recorded_at for event in same),
        )
        for name, same in copies.items()
    }


def named(target: str | Ref, source: str) -> Name:
    """The name that a reference in an event of `source` means; a bare id is of the same source."""
    return (target.source, target.id) if isinstance(target, Ref) else (source, target)


def _facts(standing: dict[Name, tuple[Event, datetime]]) -> tuple[list[Fact], dict[Name, Fact], set[Name]]:
    """Events and their corrections as facts; which fact each event belongs to; which names are awaited (point 3)."""
    corrected: dict[Name, Name] = {}
    awaited: set[Name] = set()
    for name, (event, _) in standing.items():
        for target in (event.replaces, event.cancels):
            if target is not None and named(target, event.source) not in standing:
                awaited.add(named(target, event.source))
        if event.replaces is not None and named(event.replaces, event.source) in standing:
            corrected[name] = named(event.replaces, event.source)
    if not corrected:
        alone = {name: _fact(name, event, arrived_at) for name, (event, arrived_at) in standing.items()}
        return list(alone.values()), alone, awaited
    families: dict[Name, list[Name]] = defaultdict(list)
    roots: dict[Name, Name] = {}
    for name in standing:
        families[_root(name, corrected, standing, roots)].append(name)
    facts: list[Fact] = []
    members: dict[Name, Fact] = {}
    for root, family in families.items():
        content = max((standing[name][0] for name in family), key=_correction_order)
        fact = _fact(root, content, min(standing[name][1] for name in family))
        facts.append(fact)
        members.update(dict.fromkeys(family, fact))
    return facts, members, awaited


def _correction_order(event: Event) -> tuple[datetime, str, str]:
    return (event.recorded_at, event.source, event.id)


def _root(
    name: Name,
    corrected: dict[Name, Name],
    standing: dict[Name, tuple[Event, datetime]],
    roots: dict[Name, Name],
) -> Name:
    """The event that all of a fact's members correct; of a cycle the first by (`recorded_at`, `source`, `id`)."""
    path: dict[Name, None] = {}
    while name not in roots and name not in path and name in corrected:
        path[name] = None
        name = corrected[name]
    if name in path:
        walk = list(path)
        cycle = walk[walk.index(name) :]
        root = min(cycle, key=lambda each: _correction_order(standing[each][0]))
    else:
        root = roots.get(name, name)
    roots.update(dict.fromkeys((*path, name), root))
    return root


def _fact(root: Name, content: Event, arrived_at: datetime) -> Fact:
    at = content.occurred_at.astimezone(UTC)
    return Fact((at, rank(content.type), *root), at, content, arrived_at, content.patient, content.encounter)


def _infers(fact: Fact) -> bool:
    return fact.event.cancels is None and fact.event.type.startswith(CANCEL_PREFIX)


def _explicitly_removed(present: list[Fact], members: dict[Name, Fact]) -> set[int]:
    """Identities of the facts removed by cancels that name them (point 4)."""
    target: dict[int, Fact] = {}
    cancelled_by: dict[int, int] = defaultdict(int)
    visible = {id(fact) for fact in present}
    cancels = [fact for fact in present if fact.event.cancels is not None]
    for cancel in cancels:
        name = named(cancel.event.cancels or "", cancel.event.source)
        found = members.get(name)
        if found is None or id(found) not in visible or _leads_to(found, cancel, target):
            continue
        target[id(cancel)] = found
        cancelled_by[id(found)] += 1
    removed: set[int] = set()
    ready = [id(cancel) for cancel in cancels if id(cancel) in target and not cancelled_by[id(cancel)]]
    while ready:
        cancel_id = ready.pop()
        found = target[cancel_id]
        if cancel_id not in removed:
            removed.add(id(found))
        cancelled_by[id(found)] -= 1
        if not cancelled_by[id(found)] and id(found) in target:
            ready.append(id(found))
    return removed


def _leads_to(fact: Fact | None, cancel: Fact, target: dict[int, Fact]) -> bool:
    while fact is not None:
        if fact is cancel:
            return True
        fact = target.get(id(fact))
    return False


def _without_undone_merges(present: list[Fact], inferring: list[Fact], removed: set[int]) -> list[Fact]:
    """Apply the cancels of merges that name none, each among the merges of its own patient key."""
    undoing = [fact for fact in inferring if fact.event.type == "cancel_merge"]
    if not undoing:
        return present
    repeats: set[int] = set()
    seen: set[object] = set()
    for cancel in undoing:
        if _repeated(cancel, cancel.event.patient, seen):
            repeats.add(id(cancel))
            continue
        pool = [fact for fact in present if fact.event.patient == cancel.event.patient]
        found = _meant(cancel, pool, removed)
        if found is not None:
            removed.add(id(found))
    return [fact for fact in present if id(fact) not in repeats]


def _without_cancelled(timeline: list[Fact], removed: set[int]) -> list[Fact]:
    """Apply the cancels of one journey that name nothing; repeats of a cancel are one event (point 4)."""
    repeats: set[int] = set()
    seen: set[object] = set()
    for cancel in timeline:
        if not _infers(cancel) or id(cancel) in removed or cancel.event.type == "cancel_merge":
            continue
        if _repeated(cancel, "", seen):
            repeats.add(id(cancel))
            continue
        found = _meant(cancel, timeline, removed)
        if found is not None:
            removed.add(id(found))
    return [fact for fact in timeline if id(fact) not in removed and id(fact) not in repeats]


def _repeated(cancel: Fact, patient: str, seen: set[object]) -> bool:
    event = cancel.event
    sign = (event.type, patient, cancel.encounter, cancel.at, event.from_, event.to)
    if sign in seen:
        return True
    seen.add(sign)
    return False


def _meant(cancel: Fact, pool: Sequence[Fact], removed: set[int]) -> Fact | None:
    """The fact that a cancel without `cancels` undoes, removed already or not (point 4)."""
    wanted = cancel.event.type.removeprefix(CANCEL_PREFIX)
    kinds = ("admit", "register") if wanted == "admit" else (wanted,)
    pool = [
        fact
        for fact in pool
        if fact.event.type in kinds
        and not is_cancel(fact.event)
        and (cancel.encounter is None or fact.encounter == cancel.encounter)
    ]
    for kind in kinds:
        equal = [fact for fact in pool if fact.event.type == kind and same_instant(fact.event, cancel.event)]
        if equal:
            return ([fact for fact in equal if _agrees(fact.event, cancel.event)] or equal)[-1]
    for kind in kinds:
        before = [
            fact
            for fact in pool
            if fact.event.type == kind and id(fact) not in removed and fact.order < cancel.order
        ]
        if before:
            return before[-1]
    return None


def _agrees(event: Event, cancel: Event) -> bool:
    return (cancel.from_ is None or cancel.from_ == event.from_) and (
        cancel.to is None or cancel.to == event.to
    )


def _merged(merges: list[Fact]) -> dict[Key, Key]:
    """What the merges in effect, given in order, retire, and what each becomes (section 2, Merge)."""
    last: dict[Key, tuple[Fact, Key]] = {}
    for merge in merges:
        for key, became in retirements(merge.event):
            last.pop(key, None)  # so that the walk below meets it at the place of its last merge
            last[key] = (merge, became)
    into: dict[Key, Key] = {}
    for key, (_, became) in last.items():
        if key in _path(became, into):
            into.pop(became if became in into else (became[0], None), None)
        into[key] = became
    return into


def survivor(key: Key, into: dict[Key, Key]) -> Key:
    """The patient and encounter that events sent under a key belong to, after merges."""
    return next(reversed(_path(key, into)))


def retirements(merge: Event) -> Iterator[tuple[Key, Key]]:
    """What a merge retires, and what survives it: the patient, one encounter, or an encounter's name."""
    into = merge.attributes.get("into")
    renamed = merge.attributes.get("encounter_into")
    patient = into if isinstance(into, str) and into else merge.patient
    encounter = renamed if isinstance(renamed, str) and renamed else merge.encounter
    if merge.attributes.get("moves") != "encounter" and patient != merge.patient:
        yield (merge.patient, None), (patient, None)
    if merge.encounter is not None and (
        encounter != merge.encounter
        or (merge.attributes.get("moves") == "encounter" and patient != merge.patient)
    ):
        yield (merge.patient, merge.encounter), (patient, encounter)


def _path(key: Key, into: dict[Key, Key]) -> dict[Key, None]:
    """The keys through which merges lead from a key, itself first and its survivor last."""
    path = {key: None}
    while True:
        patient, encounter = key
        if encounter is not None and key in into:
            key = into[key]
        elif (patient, None) in into:
            key = (into[patient, None][0], encounter)
        else:
            return path
        if key in path:
            return path
        path[key] = None
