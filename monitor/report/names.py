"""Words for people: of places, of what happened, of how many, and of patients, who are not named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2s
from typing import Final

from monitor.core.event import Event
from monitor.core.place import Registry

_MOVES: Final = {
    "register": ("registered", "in"),
    "admit": ("admitted", "to"),
    "transfer": ("moved", "to"),
    "arrive": ("arrived", "in"),
    "return": ("came back", "to"),
    "depart": ("departed", "to"),
}
_WORDS: Final = {"pending_transfer": "transfer ordered", "pending_discharge": "discharge planned"}
"""What happened, where the type alone would not read as such."""
_ENDINGS: Final = {
    "died": ("died", "died in"),
    "home": ("home", "discharged home from"),
    "transferred": ("other hospital", "transferred to another hospital from"),
    "self": ("against advice", "left against advice from"),
}
"""How a visit ended, by the `disposition` of its discharge: as a place, and in a sentence before that of the last place."""


def pseudonym(patient: str) -> str:
    """A short name for a patient key, the same in every report; two of 50,000 patients may share one."""
    return blake2s(patient.encode(), digest_size=4).hexdigest()[:7]


def place_name(place: str | None, registry: Registry) -> str:
    """What people call a place, without what stands behind a comma; a raw location stands for itself."""
    found = registry.microsystem(place)
    name = found.name if found is not None and found.name else place or ""
    return name.split(",")[0].replace("^", " ").strip()


def ending_name(disposition: str | None) -> str:
    """Where a patient went who left the hospital; other words of a feed say no more than that."""
    return _ENDINGS.get(disposition or "", ("left the hospital", ""))[0]


def left(place: str, to: str | None, disposition: str | None) -> str:
    """How a patient left a place, all by the names that people call them; `to` is None out of the hospital."""
    if to is not None:
        return f"moved from {place} to {to}"
    return f"{_ENDINGS.get(disposition or '', ('', 'discharged from'))[1]} {place}"


def happened(event: Event, registry: Registry) -> str:
    """What an event says that happened: `moved to Ward 4 West`, `antimicrobial given`."""
    verb, preposition = _MOVES.get(event.type, (_WORDS.get(event.type, event.type.replace("_", " ")), "to"))
    to = registry.place(event.to)
    if event.type in _MOVES and to is not None:
        return f"{verb} {preposition} {place_name(to, registry)}"
    return "discharged" if event.type == "discharge" else verb


def counted(count: int, word: str) -> str:
    """So many of a thing whose plural ends in s."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def unmapped(events: Iterable[Event], registry: Registry) -> Counter[str]:
    """Locations that belong to no microsystem, by how many events name them; nothing where there is no registry."""
    if not registry.microsystems:
        return Counter()
    named = Counter(place for event in events for place in {event.from_, event.to} if place is not None)
    return Counter({place: count for place, count in named.items() if not registry.is_mapped(place)})
