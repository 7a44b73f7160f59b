"""Charts: all that is known under one patient key, or under several that a merge has ever linked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from monitor.core.clock import Clock
from monitor.core.event import UNIT, Event, canonical_bytes
from monitor.core.journey import Effective, Fact, Journey, Key, Name, retirements, survivor
from monitor.core.verdict import Case

CaseKey = tuple[str, str | None, str, str, str, str]
"""What makes a case the same case when its journey is read again."""


class Chart:
    """The events of one chart, and what has been derived from them."""

    __slots__ = ("_names", "awaited", "events", "guard", "into", "is_plain", "is_wary", "journey", "journeys", "keys", "linked", "lost", "next_at", "to_read")  # fmt: skip

    def __init__(self, patient: str) -> None:
        self.keys = {patient}
        """The patient keys that lead to it."""
        self.events: list[Event] = []
        """Every event that differs from those before it, in order of arrival."""
        self._names: set[Name] | None = None
        self.journey = Journey(patient)
        """The patient's journey; the first of several once a merge links them."""
        self.journeys = [self.journey]
        self.lost: dict[CaseKey, Case] = {}
        """Cases that are gone but had an alert: it may fire again under the same id."""
        self.linked = False
        """Whether it holds a merge."""
        self.to_read = False
        """Whether what is derived from it is out of date."""
        self.is_plain = True
        """Whether a next event can just be appended to its journey: nothing waits to be read."""
        self.is_wary = False
        """Whether it has cancels or corrections that a coming event might concern."""
        self.into: dict[Key, Key] = {}
        """What merges have retired, and what it became."""
        self.next_at: Clock | None = None
        """When a fact of a time to come will count."""
        self.awaited: frozenset[Name] = frozenset()
        self.guard: datetime | None = None

    @property
    def names(self) -> set[Name]:
        """The names of its events; only gathered when a next event may repeat one."""
        if self._names is None:
            self._names = {(event.source, event.id) for event in self.events}
        return self._names

    def has_copy_of(self, event: Event) -> bool:
        """Whether an event with the same content is here already."""
        content = canonical_bytes(event)
        return any(
            content == canonical_bytes(other)
            for other in self.events
            if other.id == event.id and other.source == event.source
        )

    def concerns(self, event: Event) -> bool:
        """Whether a cancel or correction that is here may mean this event."""
        return (event.source, event.id) in self.awaited or (
            self.guard is not None and event.occurred_at - UNIT[event.precision] < self.guard
        )

    def journey_of(self, fact: Fact) -> Journey:
        """The journey to which a next fact belongs, after merges."""
        if not self.linked:
            return self.journey
        fact.patient, fact.encounter = survivor((fact.patient, fact.encounter), self.into)
        for journey in self.journeys:
            if journey.patient == fact.patient:
                return journey
        self.journeys.append(Journey(fact.patient))
        return self.journeys[-1]

    def take_over(self, other: Chart) -> None:
        """Hold all that another chart held: a merge has linked the two."""
        for key, case in other.cases().items():
            case.gone = True
            self.lost[key] = case
        self.events = sorted(self.events + other.events, key=arrival)
        self._names = None
        self.keys |= other.keys
        other.journeys = []

    def begin_again(self, read: Effective, patient: str) -> None:
        """Forget what was derived, for what counts now."""
        self.awaited, self.guard, self.into = read.awaited, read.guard, read.into
        self.is_wary = bool(read.awaited) or read.guard is not None
        self.next_at = None if read.next_at is None else (read.next_at, 0)
        self.journeys = [Journey(each) for each in read.journeys] or [Journey(patient)]
        self.journey = self.journeys[0]
        self.lost = {}
        self.to_read = False
        self.is_plain = True

    def is_in_place(self) -> bool:
        """Whether any of its patients is somewhere, as far as is known."""
        return any(place is not None for journey in self.journeys for place in journey.places.values())

    def cases(self) -> dict[CaseKey, Case]:
        """The cases by what identifies them; those that are gone but had an alert are there too."""
        return {**self.lost, **{key_of(case): case for journey in self.journeys for case in journey.cases}}


def key_of(case: Case) -> CaseKey:
    trigger, first = case.trigger, case.first
    pair = ("", "") if first is None else (first.source, first.id)
    return (case.form.rule.id, case.form.step_name(case), trigger.source, trigger.id, *pair)


def arrival(event: Event) -> datetime:
    """When an event arrived; one that does not say arrived when it was recorded."""
    return event.arrived_at or event.recorded_at


def linked_keys(events: Iterable[Event]) -> set[str]:
    """The patient keys that merges among the events have to do with."""
    return {
        key
        for event in events
        if event.type == "merge"
        for (retired, _), (survivor, _) in retirements(event)
        for key in (retired, survivor)
    }


def unique(charts: Iterable[Chart]) -> Iterator[Chart]:
    """Each chart once, however many patient keys lead to it."""
    yield from {id(chart): chart for chart in charts}.values()
