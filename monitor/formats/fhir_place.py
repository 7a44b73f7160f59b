"""Where an Encounter was: one level of its `location[]`, each stay with the text by which the registry knows the place.

The list mixes a hierarchy (ward, room, bed, all of them "active") with history; only its periods tell the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from monitor.core.place import PARTS, Registry
from monitor.formats.fhir_resource import AtLocation, Location, Period, Reference, Resources

_PART: Final = {"wa": 0, "ro": 1, "bd": 2, "si": 3, "bu": 6, "lvl": 7}
"""Which part of an HL7 PL a Location of this `physicalType` or `form` is; any other is a point of care."""
_LEVELS: Final = ("wa", "", "ro", "bd", "wi", "lvl", "bu", "si")
"""Levels in the order in which they are followed, where the registry knows as many places of each."""
_NOT_THERE: Final = frozenset({"planned", "reserved"})
_DEEPEST: Final = 10


class Spot(NamedTuple):
    """One entry of `location[]`: what it is called, where it lies, since when."""

    level: str
    place: str
    period: Period | None


class _Known(NamedTuple):
    """A Location with what is above it, the nearest first: each with its level and its name."""

    level: str
    chain: list[tuple[str, str]]
    period: Period | None


def spots(
    entries: Sequence[AtLocation], resources: Resources, registry: Registry, *, planned: bool = False
) -> list[Spot]:
    """The stays of one level, in the order in which they are listed; or, if `planned`, where the patient is to come."""
    known = [
        _Known(*_chain(each, resources, registry), each.period)
        for each in entries
        if (each.status in _NOT_THERE) == planned and not _is_past(each)
    ]
    found = [Spot(each.level, _place(each, known, registry), each.period) for each in known]
    found = [each for each in found if each.place]
    if not found:
        return []
    level = min({each.level for each in found}, key=lambda level: _preference(level, found, registry))
    return [each for each in found if each.level == level]


def _is_past(entry: AtLocation) -> bool:
    """Whether the patient has been there and nobody says when."""
    return entry.status == "completed" and (entry.period is None or entry.period.start is None)


def _preference(level: str, found: Sequence[Spot], registry: Registry) -> tuple[int, int, str]:
    """The level of most places that a microsystem owns comes first, then the one that stands first in `_LEVELS`."""
    owned = sum(each.level == level and registry.is_mapped(each.place) for each in found)
    return (-owned, _LEVELS.index(level) if level in _LEVELS else 1, level)


def _chain(entry: AtLocation, resources: Resources, registry: Registry) -> tuple[str, list[tuple[str, str]]]:
    """The level of an entry; and levels and names of its Location and of those above it (`partOf`)."""
    said = entry.physical_type or entry.form
    chain: list[tuple[str, str]] = []
    reference: Reference | None = entry.location
    while reference is not None and len(chain) < _DEEPEST:
        location = resources.location(reference.reference)
        level = _level(location, (said.word() if said else None) if not chain else None)
        chain.append((level, _name(reference, location, registry.is_mapped)))
        reference = location.part_of if location else None
    return chain[0][0], chain


def _level(location: Location | None, said: str | None) -> str:
    if said or location is None:
        return said or ""
    kind = location.physical_type or location.form
    return (kind.word() if kind else None) or ""


def _name(reference: Reference, location: Location | None, is_mapped: Callable[[str], bool]) -> str:
    """What a Location is called: the first name that the registry knows, else its identifier, name, display or id."""
    names = [each.value for each in location.identifier] if location else []
    if reference.identifier:
        names.append(reference.identifier.value)
    names += [location.name if location else "", reference.display]
    plain = reference.reference.partition("/_history/")[0]
    names.append(location.id if location and location.id else plain.rpartition("/")[2].removeprefix("#"))
    given = [name for each in names if (name := each.strip())]
    return next(filter(is_mapped, given), given[0] if given else "")


def _place(spot: _Known, listed: Sequence[_Known], registry: Registry) -> str:
    """The place as an HL7 PL, of what is above it and of what is listed beside it for just the same period.

    Where the registry does not know the whole, but a part of it, nearest first, that part's name.
    """
    parts = [""] * len(PARTS)
    beside = [each for each in listed if each.period == spot.period]
    for chain in (spot.chain, *(each.chain for each in beside if each.level != spot.level)):
        for level, name in chain:
            part = _PART.get(level, 0)
            parts[part] = parts[part] or name
    own = spot.chain[0][1]
    whole = "^".join(parts).rstrip("^") if parts[0] else own
    if registry.is_mapped(whole):
        return whole
    return next((name for _, name in spot.chain if registry.is_mapped(name)), whole)
