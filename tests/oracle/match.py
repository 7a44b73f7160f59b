"""Places and patterns (contract, sections 2 and 3), over plain values as they stand in YAML."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from monitor.core.event import same_instant

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
FIELDS = {"type", "source", "id", "patient", "from", "to", "encounter"}


@cache
def duration(text: str) -> timedelta:
    sign = -1 if text.startswith("-") else 1
    return sign * timedelta(
        seconds=sum(int(count) * SECONDS[unit] for count, unit in re.findall(r"(\d+)([smhdw])", text))
    )


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def globbed(glob: str, text: str) -> bool:
    """`*` stands for any characters, all others for themselves."""
    return fnmatchcase(text, glob.replace("[", "[[]").replace("?", "[?]"))


# -- the registry ------------------------------------------------------------------------------------------


def microsystem(place: str | None, registry: dict[str, Any]) -> dict[str, Any] | None:
    return next((each for each in registry.get("microsystems", []) if each["id"] == place), None)


def kind_of(place: str | None, registry: dict[str, Any]) -> str | None:
    return (microsystem(place, registry) or {}).get("kind")


def place_of(location: str | None, registry: dict[str, Any]) -> str | None:
    """The microsystem of a location; first match wins, and one that maps to none keeps its raw name."""
    if location is None or microsystem(location, registry):
        return location
    for each in registry.get("microsystems", []):
        for owned in each.get("locations", []):
            if owns(owned, location):
                return each["id"]
    return location


def owns(owned: str, location: str) -> bool:
    """Part by part of an HL7 PL; a part left empty or out matches anything."""
    parts = location.split("^")
    globs = owned.split("^")
    parts += [""] * (len(globs) - len(parts))
    return all(globbed(glob or "*", part) for glob, part in zip(globs, parts, strict=False))


def nests_in(place: str | None, meso: str, registry: dict[str, Any]) -> bool:
    parents = {
        each["id"]: each.get("parent")
        for each in [*registry.get("microsystems", []), *registry.get("mesosystems", [])]
    }
    above = parents.get(place)
    while above is not None:
        if above == meso:
            return True
        above = parents.get(above)
    return False


def zone_of(each: Any, registry: dict[str, Any], own: str | None) -> ZoneInfo:
    """`tz` of the rule or calendar, else that of the microsystem in `from`, else in `to`, else the registry's."""
    for place in (each.from_, each.to):
        own = own or (microsystem(place, registry) or {}).get("timezone")
    return ZoneInfo(own or registry.get("timezone", "UTC"))


# -- patterns ----------------------------------------------------------------------------------------------


def matches(pattern: dict[str, Any], each: Any, registry: dict[str, Any]) -> bool:
    """Whether all keys of a pattern hold for an effective event."""
    return all(holds(key, wanted, each, registry) for key, wanted in pattern.items() if key != "same")


def holds(key: str, wanted: Any, each: Any, registry: dict[str, Any]) -> bool:
    match key:
        case "type" | "encounter" | "source":
            found = value_of(key, each)
            return found is not None and any(globbed(one, found) for one in listed(wanted))
        case "from" | "to":
            return in_place(wanted, value_of(key, each), registry)
        case "where":
            return all(passes(test, each.event.attributes.get(name)) for name, test in wanted.items())
        case "not":
            return not matches(wanted, each, registry)
        case "any":
            return any(matches(one, each, registry) for one in wanted)
        case "at":
            return in_hours(wanted, each.at.astimezone(zone_of(each, registry, wanted.get("tz"))))
    raise ValueError(key)


def in_place(wanted: Any, place: str | None, registry: dict[str, Any]) -> bool:
    return any(is_place(one, place, registry) for one in listed(wanted))


def is_place(wanted: str | None, place: str | None, registry: dict[str, Any]) -> bool:
    if wanted is None or place is None:
        return wanted is place
    what, _, name = wanted.partition(":")
    match what:
        case "kind":
            return kind_of(place, registry) == name
        case "tag":
            return name in (microsystem(place, registry) or {}).get("tags", [])
        case "meso":
            return nests_in(place, name, registry)
    return globbed(wanted, place)


def equal(one: Any, other: Any) -> bool:
    """Typed: 2 is 2.0, and neither "2" nor true."""
    return one is other if isinstance(one, bool) else comparable(one, other) and one == other


def comparable(one: Any, other: Any) -> bool:
    def sort(value: Any) -> Any:
        return None if isinstance(value, bool) else str if isinstance(value, str) else int

    return sort(one) is not None and sort(one) is sort(other)


def passes(test: Any, found: Any) -> bool:
    """An attribute test; `found` is None when the event has no such attribute."""
    if isinstance(test, list):
        return found is not None and any(equal(found, one) for one in test)
    if not isinstance(test, dict):
        return found is not None and equal(found, test)
    return all(compares(how, wanted, found) for how, wanted in test.items())


def compares(how: str, wanted: Any, found: Any) -> bool:
    if found is None:
        return how in ("ne", "not_in") or (how == "exists" and not wanted)
    match how:
        case "exists":
            return bool(wanted)
        case "ne":
            return not equal(found, wanted)
        case "in":
            return any(equal(found, one) for one in wanted)
        case "not_in":
            return not any(equal(found, one) for one in wanted)
    if not comparable(found, wanted):
        return False
    return {"lt": found < wanted, "le": found <= wanted, "gt": found > wanted, "ge": found >= wanted}[how]


def in_hours(at: dict[str, Any], local: datetime) -> bool:
    """The end is excluded; hours that span midnight belong to the day on which they began."""
    day = local.weekday()
    if "hours" in at:
        start, end = (clock_time(text) for text in at["hours"].split("-"))
        now = local.time()
        if end == time(0) or start < end:
            if now < start or (end != time(0) and now >= end):
                return False
        elif now < end:
            day = (day - 1) % 7
        elif now < start:
            return False
    return "days" not in at or DAYS[day] in at["days"]


def clock_time(text: str) -> time:
    hours, minutes = text.split(":")
    return time(int(hours) % 24, int(minutes))


# -- pairs -------------------------------------------------------------------------------------------------


def value_of(name: str, each: Any) -> Any:
    """A field or attribute of an effective event; None when it is not there."""
    if name not in FIELDS:
        return each.event.attributes.get(name)
    return {
        "type": each.event.type,
        "source": each.event.source,
        "id": each.key[1],
        "patient": each.patient,
        "from": each.from_,
        "to": each.to,
        "encounter": each.encounter,
    }[name]


def same(names: list[str] | None, one: Any, other: Any) -> bool:
    """Whether a pair agrees in the named fields; by default in the encounter, when both have one."""
    if names is None:
        return one.encounter is None or other.encounter is None or one.encounter == other.encounter
    return all(
        value_of(name, one) is not None and equal(value_of(name, one), value_of(name, other))
        for name in names
    )


def pairs(
    pattern: dict[str, Any], rule_same: list[str] | None, trigger: Any, each: Any, registry: Any
) -> bool:
    """Whether an event matches a pattern beside a trigger; an event never matches itself."""
    if each is trigger or not matches(pattern, each, registry):
        return False
    own = pattern.get("same")
    return same(rule_same if own is None else own, trigger, each)


def together(one: Any, other: Any) -> bool:
    """Equal in time, at the coarser precision of the two."""
    return same_instant(one.event, other.event)


# -- calendars ---------------------------------------------------------------------------------------------


def calendar_end(limit: str, trigger: Any, calendar: dict[str, Any], registry: dict[str, Any]) -> datetime:
    """The midnight that ends the n-th business (`bd`) or calendar (`cd`) day after the trigger's local day."""
    zone = zone_of(trigger, registry, calendar.get("timezone"))
    day = trigger.at.astimezone(zone).date()
    left = int(limit[:-2])
    while left:
        day += timedelta(days=1)
        if limit.endswith("cd") or not day_off(day, calendar):
            left -= 1
    return datetime.combine(day + timedelta(days=1), time(0), zone).astimezone(UTC)


def day_off(day: date, calendar: dict[str, Any]) -> bool:
    holidays = [str(each) for each in calendar.get("holidays", [])]
    return DAYS[day.weekday()] in calendar.get("weekend", ["sat", "sun"]) or day.isoformat() in holidays
