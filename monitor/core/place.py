"""The registry: which microsystems there are, which locations they own, and how each source writes.

The models below are the definition of `microsystems.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, Tag, model_validator

from monitor.core.text import (
    Complaint,
    Date,
    Day,
    Duration,
    Flag,
    Hours,
    Maybe,
    Model,
    TimeZone,
    by_shape,
    found,
    globbed,
    refuse,
)

PARTS = ("point_of_care", "room", "bed", "facility", "status", "type", "building", "floor")
"""The components of an HL7 PL (person location), in order."""


class LocationParts(Model):
    """A location by the parts of an HL7 PL; each is a text that may hold `*`, and those left out match anything."""

    point_of_care: Maybe[str] = None
    """PL-1: the ward or department."""
    room: Maybe[str] = None
    """PL-2."""
    bed: Maybe[str] = None
    """PL-3."""
    facility: Maybe[str] = None
    """PL-4: the hospital or site."""
    status: Maybe[str] = None
    """PL-5."""
    type: Maybe[str] = None
    """PL-6: person location type."""
    building: Maybe[str] = None
    """PL-7."""
    floor: Maybe[str] = None
    """PL-8."""

    def globs(self) -> list[str]:
        return [getattr(self, part) or "*" for part in PARTS]


Location = Annotated[
    Annotated[str, Tag("|one|")] | Annotated[LocationParts, Tag("|mapping|")],
    by_shape("a location such as `4W^*`, or its parts such as {point_of_care: 4W}"),
]


class Microsystem(Model):
    """One clinical microsystem: a small team with its own patients, place and processes."""

    id: str = Field(min_length=1)
    """Unique name, used in rules and events."""
    name: Maybe[str] = None
    """What people call it."""
    kind: Maybe[str] = None
    """What it is: `ed`, `icu`, `ward`, ...; rules name it as `kind:icu`."""
    tags: list[str] = []
    """Words by which rules name several microsystems, as `tag:critical-care`."""
    parent: Maybe[str] = None
    """The mesosystem (or microsystem) in which it nests; rules name it as `meso:surgery`."""
    timezone: Maybe[TimeZone] = None
    """Its time zone; by default the registry's."""
    hours: Maybe[str] = None
    """When it is open, for people to read."""
    locations: list[Location] = []
    """The locations that it owns: HL7 PL texts with `*`, or their parts. The first that matches in the file wins."""
    contacts: dict[str, str] = {}
    """Who answers for it, by role."""


class Mesosystem(Model):
    """What microsystems nest in: a department, a service line, a hospital."""

    id: str = Field(min_length=1)
    """Unique name, also among the microsystems."""
    name: Maybe[str] = None
    """What people call it."""
    parent: Maybe[str] = None
    """The mesosystem in which it nests."""
    contacts: dict[str, str] = {}
    """Who answers for it, by role."""


class PatientIdChoice(Model):
    """Which of the repeats of PID-3 is the patient's key: its assigning authority (CX-4) and type (CX-5)."""

    authority: Maybe[str] = None
    """CX-4."""
    type: Maybe[str] = None
    """CX-5."""


class SilentAfter(Model):
    """A limit of silence that holds when the source was last heard within these local hours and days."""

    after: Duration
    """The limit."""
    hours: Maybe[Hours] = None
    """Local hours in which it holds."""
    days: Maybe[list[Day]] = None
    """Days of the week on which it holds."""


SilenceLimits = Annotated[
    Annotated[Duration, Tag("|one|")] | Annotated[list[SilentAfter], Tag("|list|")],
    by_shape("a duration, or a list of limits such as {after: 15m, hours: 08:00-20:00}"),
]


class Source(Model):
    """The profile of one feed: what it leaves unsaid, and how it differs from the standard."""

    timezone: Maybe[TimeZone] = None
    """The zone of its times that have none."""
    patient_id: PatientIdChoice = PatientIdChoice()
    """Which identifier is the patient's key."""
    classes: dict[str, str] = {}
    """Words for the codes of PV1-2, by code."""
    a12_restored: Literal["PV1-3", "PV1-6"] = "PV1-3"
    """Which field of an A12 holds the place that the cancel restores."""
    event_time: Maybe[list[Literal["EVN-6", "PV1-44", "PV1-45", "EVN-2", "MSH-7"]]] = None
    """Fields tried for `occurred_at`, in order; by default as the standard has it for each trigger."""
    update_moves: Flag = False
    """Whether an A08 with another place is a transfer."""
    test_patients: list[str] = []
    """Texts with `*`; a patient whose key or name (family^given) matches one never pages anyone."""
    grace: Maybe[Duration] = None
    """Delays the alerts of cases that it triggers; never their verdicts."""
    silent_after: Maybe[SilenceLimits] = None
    """How long it may say nothing before it counts as silent; one limit, or several by hours and days."""
    rejects: Literal["AA", "AE"] = "AA"
    """How a message that became a dead letter is acknowledged."""


class CalendarDays(Model):
    """Which days are days off; used by deadlines in business days."""

    weekend: list[Day] = ["sat", "sun"]
    """Days of the week that are off."""
    holidays: list[Date] = []
    """Other days off, such as `2026-12-25`."""
    timezone: Maybe[TimeZone] = None
    """The zone in which the days begin and end."""


class Registry(Model):
    """Everything that `microsystems.yaml` says. Immutable once built."""

    timezone: TimeZone = ZoneInfo("UTC")
    """The zone of everything that has none of its own."""
    calendar: Maybe[str] = None
    """The calendar of rules that name none."""
    calendars: dict[str, CalendarDays] = {}
    """Calendars, by name."""
    microsystems: list[Microsystem] = []
    """The microsystems; of those that own a location the first stands."""
    mesosystems: list[Mesosystem] = []
    """What they nest in."""
    sources: dict[str, Source] = {}
    """Profiles of the feeds, by name (HL7: MSH-3/MSH-4)."""

    _by_id: dict[str, Microsystem] = PrivateAttr(default_factory=dict)
    _above: dict[str, frozenset[str]] = PrivateAttr(default_factory=dict)
    _locations: list[tuple[tuple[str, ...], str]] = PrivateAttr(default_factory=list)
    _places: Places = PrivateAttr()

    @model_validator(mode="after")
    def _index(self) -> Registry:
        refuse(_complaints(self))
        self._places = Places(self)
        nested: list[Microsystem | Mesosystem] = [*self.microsystems, *self.mesosystems]
        parents = {each.id: each.parent for each in nested}
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
        return None if location is None else self._places[location]

    def places(self) -> Places:
        """All locations by name, each with the microsystem that owns it."""
        return self._places

    def is_mapped(self, location: str) -> bool:
        """Whether a location belongs to a microsystem."""
        return self.place(location) in self._by_id

    def within(self, place: str | None, meso: str) -> bool:
        """Whether `place` is a microsystem that nests, at any depth, in the mesosystem or microsystem `meso`."""
        return place is not None and meso in self._above.get(place, ())

    def timezone_of(self, *places: str | None) -> ZoneInfo:
        """The zone of the first of the places that has one, else the registry's."""
        for place in places:
            found = self.microsystem(place)
            if found is not None and found.timezone is not None:
                return found.timezone
        return self.timezone

    def source(self, name: str) -> Source:
        """The profile of a source; one that is not listed follows the standard."""
        return self.sources.get(name, _STANDARD)

    def find(self, location: str) -> str:
        """Look a location up among the patterns, in their order; `place` remembers what it found."""
        if location in self._by_id:
            return location
        parts = location.split("^")
        for globs, microsystem in self._locations:
            if all(globbed(glob, part) for glob, part in _paired(globs, parts)):
                return microsystem
        return location


class Places(dict[str, str]):
    """Locations, and the id of the microsystem that owns each (or their own name); looked up once."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry

    def __missing__(self, location: str) -> str:
        found = self[location] = self._registry.find(location)
        return found


_STANDARD = Source()


def _complaints(registry: Registry) -> list[Complaint]:
    nested: list[tuple[str, int, Microsystem | Mesosystem]] = [
        *(("microsystems", number, each) for number, each in enumerate(registry.microsystems)),
        *(("mesosystems", number, each) for number, each in enumerate(registry.mesosystems)),
    ]
    wrong: list[Complaint] = []
    seen: set[str] = set()
    for key, number, each in nested:
        if each.id in seen:
            wrong.append(
                ((key, number, "id"), f"another microsystem or mesosystem has the id {found(each.id)}")
            )
        seen.add(each.id)
    if registry.calendar is not None and registry.calendar not in registry.calendars:
        wrong.append((("calendar",), f"{found(registry.calendar)} is not among `calendars`"))
    return wrong


@cache
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
