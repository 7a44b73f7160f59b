"""Where an Encounter was: one level of its `location[]`, each stay with the text by which the registry knows the place.

The list mixes a hierarchy (ward, room, bed, all of them "active") with history; only its periods tell the two apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Final, NamedTuple

from monitor.core.place import PARTS, Registry
from monitor.formats.fhir_resource import AtLocation, Location, Reference, Resources, tail

_PART: Final = {"wa": 0, "ro": 1, "bd": 2, "si": 3, "bu": 6, "lvl": 7}
"""Which part of an HL7 PL a Location of this `physicalType` or `form` is; any other is a point of care."""
_FOLLOWED: Final = {"ro": 1, "bd": 2, "wi": 3, "lvl": 3, "bu": 3, "si": 3}
"""In which order levels are looked at; first of all wards and whatever else a team may work in."""
_NOT_THERE: Final = frozenset({"planned", "reserved"})
_DEEPEST: Final = 10
"""So many Locations above one are looked at."""
_MOST_BESIDE: Final = 20
"""So many of those that are listed beside one; a hierarchy has fewer, and a document of thousands must not cost minutes."""


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
    beside: dict[str | None, list[_Known]] = {}
    for each in known:
        beside.setdefault(each.since, []).append(each)
    found = [Spot(each.level, _place(each, beside[each.since], registry), each.since) for each in known]
    found = [each for each in found if each.place]
    followed = min((_preference(each, registry) for each in found), default=None)
    found = [each for each in found if followed and _order(each) == followed[1]]
    best: dict[str | None, Spot] = {}
    for spot in sorted(found, key=lambda each: _preference(each, registry)):
        best.setdefault(spot.since, spot)
    return [each for each in found if not _is_beside(each, best[each.since], registry)]


def _order(spot: Spot) -> int:
    return _FOLLOWED.get(spot.level, 0)


def _preference(spot: Spot, registry: Registry) -> tuple[bool, int, bool]:
    """What sorts a place that a microsystem owns before others, then by level."""
    return (not registry.is_mapped(spot.place), _order(spot), spot.level != "wa")


def _is_beside(spot: Spot, best: Spot, registry: Registry) -> bool:
    """Whether the best one since the same time (a date is none) is of another level, and says better where the patient is."""
    if spot.since is None or "T" not in spot.since or spot.level == best.level:
        return False
    return _preference(best, registry) < _preference(spot, registry)


def _since(entry: AtLocation) -> str | None:
    return entry.period.start if entry.period else None


def _is_past(entry: AtLocation) -> bool:
    """Whether the patient has been there and nobody says when."""
    return entry.status == "completed" and _since(entry) is None


def _chain(entry: AtLocation, resources: Resources, registry: Registry) -> tuple[str, list[tuple[str, str]]]:
    """The level of an entry; and levels and names of its Location and of those above it (`partOf`)."""
    said = entry.physical_type or entry.form
    found: list[tuple[str, str]] = []
    reference: Reference | None = entry.location
    while reference is not None and len(found) < _DEEPEST:
        location = resources.location(reference.reference)
        level = _level(location, (said.word() if said else None) if not found else None)
        found.append((level, _name(reference, location, registry.is_mapped)))
        reference = location.part_of if location else None
    return found[0][0], found


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


def _place(spot: _Known, beside: Sequence[_Known], registry: Registry) -> str:
    """The place as an HL7 PL, of what is above it and of what is listed beside it since just the same time.

    Ends do not count: a bed may be left before its ward is, and the stay must not change its name for that. Where
    the registry does not know the whole, but a part of it, nearest first, that part's name.
    """
    parts = [""] * len(PARTS)
    others = (each.chain for each in beside[:_MOST_BESIDE] if each.level != spot.level)
    for level, name in chain(spot.chain, *others):
        part = _PART.get(level, 0)
        parts[part] = parts[part] or name
    whole = "^".join(parts).rstrip("^") if parts[0] else spot.chain[0][1]
    if registry.is_mapped(whole):
        return whole
    return next((name for _, name in spot.chain if registry.is_mapped(name)), whole)
