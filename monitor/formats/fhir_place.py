"""Where an Encounter was: one level of its `location[]`, each stay with the text by which the registry knows the place.

The list mixes a hierarchy (ward, room, bed, all of them "active") with history; only its periods tell the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from monitor.core.place import PARTS, Registry
from monitor.formats.fhir_resource import AtLocation, Location, Reference, Resources, tail

_PART: Final = {"wa": 0, "ro": 1, "bd": 2, "si": 3, "bu": 6, "lvl": 7}
"""Which part of an HL7 PL a Location of this `physicalType` or `form` is; any other is a point of care."""
_FOLLOWED: Final = {"ro": 1, "bd": 2, "wi": 3, "lvl": 3, "bu": 3, "si": 3}
"""In which order levels are looked at; first of all wards and whatever else a team may work in."""
_NOT_THERE: Final = frozenset({"planned", "reserved"})
_DEEPEST: Final = 10


class Spot(NamedTuple):
    """One entry of `location[]`: what it is called, where it lies, since when."""

    level: str
    place: str
    since: str | None


class _Known(NamedTuple):
    """A Location with what is above it, the nearest first: each with its level and its name."""

    level: str
    chain: list[tuple[str, str]]
    since: str | None


def spots(
    entries: Sequence[AtLocation], resources: Resources, registry: Registry, *, planned: bool = False
) -> list[Spot]:
    """The stays of one level, in the order in which they are listed; or, if `planned`, where the patient is to come."""
    known = [
        _Known(*_chain(each, resources, registry), _since(each))
        for each in entries
        if (each.status in _NOT_THERE) == planned and not _is_past(each)
    ]
    found = [Spot(each.level, _place(each, known, registry), each.since) for each in known]
    found = [each for each in found if each.place]
    followed = min((_preference(each, registry) for each in found), default=None)
    found = [each for each in found if followed and _order(each) == followed[1]]
    return [each for each in found if not _is_beside(each, found, registry)]


def _order(spot: Spot) -> int:
    return _FOLLOWED.get(spot.level, 0)


def _preference(spot: Spot, registry: Registry) -> tuple[bool, int, bool]:
    """What sorts a place that a microsystem owns before others, then by level."""
    return (not registry.is_mapped(spot.place), _order(spot), spot.level != "wa")


def _is_beside(spot: Spot, found: Sequence[Spot], registry: Registry) -> bool:
    """Whether one of another level, since just the same time (a date is none), says better where the patient is."""
    if spot.since is None or "T" not in spot.since:
        return False
    own = _preference(spot, registry)
    return any(
        each.level != spot.level and each.since == spot.since and _preference(each, registry) < own
        for each in found
    )


def _since(entry: AtLocation) -> str | None:
    return entry.period.start if entry.period else None


def _is_past(entry: AtLocation) -> bool:
    """Whether the patient has been there and nobody says when."""
    return entry.status == "completed" and _since(entry) is None


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
    names.append(location.id if location and location.id else tail(reference.reference).removeprefix("#"))
    given = [name for each in names if (name := each.strip())]
    return next(filter(is_mapped, given), given[0] if given else "")


def _place(spot: _Known, listed: Sequence[_Known], registry: Registry) -> str:
    """The place as an HL7 PL, of what is above it and of what is listed beside it since just the same time.

    Ends do not count: a bed may be left before its ward is, and the stay must not change its name for that. Where the registry does not know the whole, but a part of it, nearest first, that part's name.
    """
    parts = [""] * len(PARTS)
    beside = [each for each in listed if each.since == spot.since]
    for chain in (spot.chain, *(each.chain for each in beside if each.level != spot.level)):
        for level, name in chain:
            part = _PART.get(level, 0)
            parts[part] = parts[part] or name
    own = spot.chain[0][1]
    whole = "^".join(parts).rstrip("^") if parts[0] else own
    if registry.is_mapped(whole):
        return whole
    return next((name for _, name in spot.chain if registry.is_mapped(name)), whole)
