"""Patterns: which events a rule means (contract, section 3).

A pattern is specialised once for each *shape* of event (type, from, to, source): what is left is yes, no, or a
test of the rest (encounter, attributes, local time). Plans made of these are remembered by shape, so that an event
costs what it concerns and not what rules there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from monitor.core.calendar import inside
from monitor.core.event import Value
from monitor.core.place import Registry
from monitor.core.rule import At, Comparison, Pattern, Places
from monitor.core.text import globbed

if TYPE_CHECKING:
    from monitor.core.journey import Fact


class Shape(NamedTuple):
    """What of an event decides which rules it can concern; places are mapped."""

    type: str
    from_: str | None
    to: str | None
    source: str


_CLASSES: Final = ("kind", "tag", "meso")

Test = Callable[["Fact"], bool]
Pairing = Callable[["Fact", "Fact"], bool]


def specialise(pattern: Pattern, shape: Shape, registry: Registry) -> bool | Test:
    """Whether events of a shape match: always, never, or those that pass the test that is returned."""
    given = pattern.model_fields_set
    if not (
        _named(pattern.type, shape.type)
        and _named(pattern.source, shape.source)
        and ("from_" not in given or place_matches(pattern.from_, shape.from_, registry))
        and ("to" not in given or place_matches(pattern.to, shape.to, registry))
    ):
        return False
    tests: list[Test] = []
    if pattern.encounter is not None:
        tests.append(_encounter_test(pattern.encounter))
    tests += [_attribute_test(name, test) for name, test in pattern.where.items()]
    if pattern.at is not None:
        tests.append(at_test(pattern.at, shape, registry))
    if pattern.not_ is not None:
        inner = specialise(pattern.not_, shape, registry)
        if inner is True:
            return False
        if inner is not False:
            tests.append(_negated(inner))
    if pattern.any_ is not None:
        either = any_of([specialise(each, shape, registry) for each in pattern.any_])
        if either is False:
            return False
        if either is not True:
            tests.append(either)
    return _all_of(tests)


def may_match(pattern: Pattern, event_type: str) -> bool:
    """Whether some event of a type could match."""
    if not _named(pattern.type, event_type):
        return False
    return pattern.any_ is None or any(may_match(each, event_type) for each in pattern.any_)


def may_concern(pattern: Pattern, event_type: str, to: str | None, source: str, registry: Registry) -> bool:
    """Whether some event of a type, location and source could match, wherever it comes from."""
    if not (_named(pattern.type, event_type) and _named(pattern.source, source)):
        return False
    if "to" in pattern.model_fields_set and not place_matches(pattern.to, registry.place(to), registry):
        return False
    return pattern.any_ is None or any(
        may_concern(each, event_type, to, source, registry) for each in pattern.any_
    )


class Reach(NamedTuple):
    """The types and mapped places that events must have to match a pattern; None where they may have any."""

    types: frozenset[str] | None
    from_: frozenset[str | None] | None = None
    to: frozenset[str | None] | None = None


def reach(pattern: Pattern, registry: Registry) -> Reach:
    """What a pattern names, and nothing of its finer tests: which shapes are worth specialising it for."""
    given = pattern.model_fields_set
    return Reach(
        _literal(pattern.type),
        places_named(pattern.from_, registry) if "from_" in given else None,
        places_named(pattern.to, registry) if "to" in given else None,
    )


def places_named(places: Places, registry: Registry) -> frozenset[str | None] | None:
    """All places that can match; None where a `*` leaves that open."""
    found: set[str | None] = set()
    for each in places if isinstance(places, list) else [places]:
        if each is None:
            found.add(None)
        elif each.partition(":")[0] in _CLASSES:
            found.update(
                known.id for known in registry.microsystems if place_matches(each, known.id, registry)
            )
            found.add(each)  # a place may be called so
        elif "*" in each:
            return None
        else:
            found.add(each)
    return frozenset(found)


def _literal(names: str | list[str] | None) -> frozenset[str] | None:
    if names is None:
        return None
    listed = [names] if isinstance(names, str) else names
    return None if any("*" in name for name in listed) else frozenset(listed)


def any_of(tests: Sequence[bool | Test]) -> bool | Test:
    """Whether one of the specialised patterns holds."""
    if True in tests:
        return True
    left = [test for test in tests if not isinstance(test, bool)]
    if not left:
        return False
    if len(left) == 1:
        return left[0]
    return lambda fact: any(test(fact) for test in left)


def both(one: bool | Test, other: bool | Test) -> bool | Test:
    """Whether two specialised patterns hold."""
    if one is False or other is False:
        return False
    return _all_of([test for test in (one, other) if not isinstance(test, bool)])


def at_test(at: At, shape: Shape, registry: Registry) -> Test:
    """Local time of an event's `occurred_at`, in the zone of `at`, else of `from`, else of `to`, else the registry's."""
    zone = at.tz or registry.timezone_of(shape.from_, shape.to)
    hours, days = at.hours, None if at.days is None else frozenset(at.days)
    return lambda fact: inside(fact.at.astimezone(zone), hours, days)


def place_matches(places: Places, place: str | None, registry: Registry) -> bool:
    """Whether a place is the one meant, or one of them; null means no place."""
    if isinstance(places, list):
        return any(place_matches(each, place, registry) for each in places)
    if places is None or place is None:
        return places is place
    if places == place:
        return True
    key, colon, value = places.partition(":")
    if colon and key in _CLASSES:
        return _classified(key, value, place, registry)
    return globbed(places, place)


def _classified(key: str, value: str, place: str, registry: Registry) -> bool:
    if key == "meso":
        return registry.within(place, value)
    found = registry.microsystem(place)
    if found is None:
        return False
    if key == "kind":
        return found.kind is not None and globbed(value, found.kind)
    return any(globbed(value, tag) for tag in found.tags)


def pairing(names: Sequence[str] | None) -> Pairing:
    """The test `same` makes of two events: the fields or attributes named are present in both, and equal.

    None is the default: equal encounters where both have one, else the whole journey.
    """
    if names is None:
        return _one_encounter
    if not names:
        return lambda one, other: True
    getters = [_getter(name) for name in names]

    def same(one: Fact, other: Fact) -> bool:
        for get in getters:
            value = get(one)
            if value is None or not _equal(value, get(other)):
                return False
        return True

    return same


def _one_encounter(one: Fact, other: Fact) -> bool:
    return one.encounter == other.encounter or one.encounter is None or other.encounter is None


_FIELDS: Final[dict[str, Callable[[Fact], Value | None]]] = {
    "type": lambda fact: fact.event.type,
    "from": lambda fact: fact.from_,
    "to": lambda fact: fact.to,
    "encounter": lambda fact: fact.encounter,
    "source": lambda fact: fact.event.source,
    "id": lambda fact: fact.id,
    "patient": lambda fact: fact.patient,
}


def _getter(name: str) -> Callable[[Fact], Value | None]:
    return _FIELDS.get(name) or (lambda fact: fact.event.attributes.get(name))


def _named(names: str | list[str] | None, text: str) -> bool:
    if names is None:
        return True
    if isinstance(names, str):
        return globbed(names, text)
    return any(globbed(name, text) for name in names)


def _encounter_test(names: str | list[str]) -> Test:
    return lambda fact: fact.encounter is not None and _named(names, fact.encounter)


def _attribute_test(name: str, wanted: Comparison | list[Value] | Value) -> Test:
    if isinstance(wanted, Comparison):
        return lambda fact: _compares(fact.event.attributes.get(name), wanted)
    values = wanted if isinstance(wanted, list) else [wanted]
    return lambda fact: _one_of(fact.event.attributes.get(name), values)


def _compares(value: Value | None, test: Comparison) -> bool:
    given = test.model_fields_set
    return (
        ("exists" not in given or (value is not None) == test.exists)
        and ("lt" not in given or (_ordered(value, test.lt) and value < test.lt))  # type: ignore[operator]
        and ("le" not in given or (_ordered(value, test.le) and value <= test.le))  # type: ignore[operator]
        and ("gt" not in given or (_ordered(value, test.gt) and value > test.gt))  # type: ignore[operator]
        and ("ge" not in given or (_ordered(value, test.ge) and value >= test.ge))  # type: ignore[operator]
        and ("ne" not in given or not _equal(value, test.ne))
        and ("in_" not in given or _one_of(value, test.in_ or []))
        and ("not_in" not in given or not _one_of(value, test.not_in or []))
    )


def _one_of(value: Value | None, values: Sequence[Value]) -> bool:
    return any(_equal(value, each) for each in values)


def _equal(value: Value | None, wanted: Value | None) -> bool:
    """Equal in value and kind: `true` is not 1, and 2 is not `"2"`."""
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _ordered(value: Value | None, limit: Value | None) -> bool:
    if isinstance(value, bool) or isinstance(limit, bool) or value is None or limit is None:
        return False
    return isinstance(value, str) == isinstance(limit, str)


def _negated(test: Test) -> Test:
    return lambda fact: not test(fact)


def _all_of(tests: Sequence[Test]) -> bool | Test:
    if not tests:
        return True
    if len(tests) == 1:
        return tests[0]
    return lambda fact: all(test(fact) for test in tests)
