"""The registry: which microsystems there are, which locations they own, and how each source writes.

The models below are the definition of `microsystems.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, model_validator

from monitor.core.text import Day, Duration, Hours, Model, TimeZone, globbed

PARTS = ("point_of_care", "room", "bed", "facility", "status", "type", "building", "floor")
"""The components of an HL7 PL (person location), in order."""


class LocationParts(Model):
    """A location by the parts of an HL7 PL; each is a text that may hold `*`, and those left out match anything."""

    point_of_care: str | None = None
    room: str | None = None
    bed: str | None = None
    facility: str | None = None
    status: str | None = None
    type: str | None = None
    building: str | None = None
    floor: str | None = None

    def globs(self) -> list[str]:
        return [getattr(self, part) or "*" for part in PARTS]


class Microsystem(Model):
    """One clinical microsystem: a small team with its own patients, place and processes."""

    id: str = Field(min_length=1)
    name: str | None = None
    kind: str | None = None
    tags: list[str] = []
    parent: str | None = None
    timezone: TimeZone | None = None
    hours: str | None = None
    locations: list[str | LocationParts] = []
    contacts: dict[str, str] = {}


class Mesosystem(Model):
    """What microsystems nest in: a department, a service line, a hospital."""

    id: str = Field(min_length=1)
    name: str | None = None
    parent: str | None = None
    contacts: dict[str, str] = {}


class PatientIdChoice(Model):
    """Which of the repeats of PID-3 is the patient's key: its assigning authority (CX-4) and type (CX-5)."""

    authority: str | None = None
    type: str | None = None


class SilentAfter(Model):
    """A limit of silence that holds when the source was last heard within these local hours and days."""

    after: Duration
    hours: Hours | None = None
    days: list[Day] | None = None


class Source(Model):
    """The profile of one feed: what it leaves unsaid, and how it differs from the standard."""

    timezone: TimeZone | None = None
    patient_id: PatientIdChoice = PatientIdChoice()
    classes: dict[str, str] = {}
    """Words for the codes of PV1-2, by code."""
    a12_restored: Literal["PV1-3", "PV1-6"] = "PV1-3"
    """Which field of an A12 holds the place that the cancel restores."""
    event_time: list[Literal["EVN-6", "PV1-44", "PV1-45", "EVN-2", "MSH-7"]] | None = None
    """Fields tried for `occurred_at`, in order; by default as the standard has it for each trigger."""
    update_moves: bool = False
    """Whether an A08 with another place is a transfer."""
    test_patients: list[str] = []
    """Texts with `*`; a patient whose key or name (family^given) matches one never pages anyone."""
    grace: Duration | None = None
    silent_after: Duration | list[SilentAfter] | None = None
    rejects: Literal["AA", "AE"] = "AA"
    """How a message that became a dead letter is acknowledged."""


class CalendarDays(Model):
    """Which days are days off; used by deadlines in business days."""

    weekend: list[Day] = ["sat", "sun"]
    holidays: list[date] = []
    timezone: TimeZone | None = None


class Registry(Model):
    """Everything that `microsystems.yaml` says. Immutable once built."""

    timezone: TimeZone = ZoneInfo("UTC")
    calendar: str | None = None
    calendars: dict[str, CalendarDays] = {}
    microsystems: list[Microsystem] = []
    mesosystems: list[Mesosystem] = []
    sources: dict[str, Source] = {}

    _by_id: dict[str, Microsystem] = PrivateAttr(default_factory=dict)
    _above: dict[str, frozenset[str]] = PrivateAttr(default_factory=dict)
    _locations: list[tuple[tuple[str, ...], str]] = PrivateAttr(default_factory=list)
    _mapped: dict[str, str] = PrivateAttr(default_factory=dict)
    _unmapped: set[str] = PrivateAttr(default_factory=set)

    @model_validator(mode="after")
    def _index(self) -> Registry:
        parents = {each.id: each.parent for each in (*self.microsystems, *self.mesosystems)}
        if len(parents) < len(self.microsystems) + len(self.mesosystems):
            raise ValueError("two microsystems or mesosystems have the same id")
        if self.calendar is not None and self.calendar not in self.calendars:
            raise ValueError(f"calendar `{self.calendar}` is not among `calendars`")
        self._by_id = {each.id: each for each in self.microsystems}
        self._above = {each: frozenset(_ancestors(each, parents)) for each in parents}
        self._locations = [
            (_globs(location), each.id) for each in self.microsystems for location in each.locations
        ]
        return self

    def microsystem(self, place: str | None) -> Microsystem | None:
        """The microsystem whose id is `place`, if there is one."""
        return self._by_id.get(place) if place is not None else None

    def place(self, location: str | None) -> str | None:
        """The id of the microsystem that owns a location (an id, or a raw PL); one that maps to none keeps its name."""
        if location is None:
            return None
        mapped = self._mapped.get(location)
        if mapped is None:
            mapped = self._mapped[location] = self._map(location)
        return mapped

    def is_mapped(self, location: str) -> bool:
        """Whether a location belongs to a microsystem."""
        return self.place(location) in self._by_id

    def within(self, place: str | None, meso: str) -> bool:
        """Whether `place` is a microsystem that nests, at any depth, in the mesosystem or microsystem `meso`."""
        return place is not None and meso in self._above.get(place, ())

    def timezone_of(self, *places: str | None) -> ZoneInfo:
        """The zone of the first of the places that has one, itself or by what it nests in; else the registry's."""
        for place in places:
            found = self.microsystem(place)
            if found is not None and found.timezone is not None:
                return found.timezone
        return self.timezone

    def source(self, name: str) -> Source:
        """The profile of a source; one that is not listed follows the standard."""
        return self.sources.get(name, _STANDARD)

    def _map(self, location: str) -> str:
        if location in self._by_id:
            return location
        parts = location.split("^")
        for globs, microsystem in self._locations:
            if all(globbed(glob, part) for glob, part in _paired(globs, parts)):
                return microsystem
        return location


_STANDARD = Source()


@lru_cache(maxsize=None)
def _globs_of_text(location: str) -> tuple[str, ...]:
    return tuple(part or "*" for part in location.split("^"))


def _globs(location: str | LocationParts) -> tuple[str, ...]:
    return _globs_of_text(location) if isinstance(location, str) else tuple(location.globs())


def _paired(globs: tuple[str, ...], parts: list[str]) -> Iterator[tuple[str, str]]:
    for position, glob in enumerate(globs):
        yield glob, parts[position] if position < len(parts) else ""


def _ancestors(each: str, parents: dict[str, str | None]) -> Iterator[str]:
    seen = {each}
    above = parents.get(each)
    while above is not None and above not in seen:
        seen.add(above)
        yield above
        above = parents.get(above)
