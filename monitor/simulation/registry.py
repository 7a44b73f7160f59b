"""The registry of the simulated hospitals, as the monitor is given it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from monitor.simulation.clock import HOLIDAYS, ZONE
from monitor.simulation.hospital import ELSEWHERE, WARDS, Options, Place

SIGNATURE: Final = "# The registry of the simulated hospital, written by `handoff simulate`.\n"
"""Its first line."""
_HEAD: Final = f"""\
{SIGNATURE}timezone: {ZONE}
calendar: england

calendars:
  england:
    weekend: [sat, sun]
    holidays: [{", ".join(map(str, sorted(HOLIDAYS)))}]

mesosystems:
  - {{id: community, name: Primary care}}
"""
_MESOSYSTEMS: Final = {
    "medicine": "Medicine",
    "surgery": "Surgery and anaesthesia",
    "psychiatry": "Psychiatry",
}


def registry_text(options: Options, profile: Sequence[str] = ()) -> str:
    """`microsystems.yaml`: the microsystems of all hospitals, and their feeds, of which `profile` says the rest."""
    return "".join(_lines(options, profile))


def named(options: Options) -> Iterator[tuple[str, str]]:
    """The facility code of each hospital, and what the ids of its microsystems begin with."""
    if options.hospitals == 1:
        yield "RGH", ""
        return
    for number in range(1, options.hospitals + 1):
        yield f"H{number}", f"h{number}-"


def places(options: Options) -> tuple[Place, ...]:
    """The microsystems that one hospital has."""
    return (*WARDS[: options.wards], *ELSEWHERE)


def owners(options: Options) -> dict[tuple[str, str], tuple[str, str]]:
    """The id and the kind of the microsystem that owns each point of care of each facility."""
    return {
        (point, facility): (prefix + place.id, place.kind)
        for facility, prefix in named(options)
        for place in places(options)
        for point in place.points
    }


def _lines(options: Options, profile: Sequence[str]) -> Iterator[str]:
    yield _HEAD
    for facility, prefix in named(options):
        yield f"  - {{id: {prefix}riverside, name: Riverside General Hospital {facility}}}\n"
        for id_, name in _MESOSYSTEMS.items():
            yield f"  - {{id: {prefix}{id_}, name: {name}, parent: {prefix}riverside}}\n"
    yield "\nmicrosystems:\n"
    for facility, prefix in named(options):
        for place in places(options):
            yield from _microsystem(place, facility, prefix)
    yield "\nsources:\n"
    for facility, _ in named(options):
        yield f"  PAS/{facility}:\n    timezone: {ZONE}\n    patient_id: {{authority: {facility}, type: MR}}\n"
        yield from (f"    {line}\n" for line in profile)


def _microsystem(place: Place, facility: str, prefix: str) -> Iterator[str]:
    parent = place.parent if place.parent == "community" else prefix + place.parent
    yield f"  - id: {prefix}{place.id}\n    name: {place.name}\n    kind: {place.kind}\n    parent: {parent}\n"
    if place.tags:
        yield f"    tags: [{place.tags}]\n"
    if place.hours:
        yield f"    hours: {place.hours}\n"
    locations = ", ".join(f"{{point_of_care: {point}, facility: {facility}}}" for point in place.points)
    yield f"    locations: [{locations}]\n"
