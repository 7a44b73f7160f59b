"""Rules made ready for a registry, and what they have to do with each kind of event: worked out once, then remembered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from monitor.core.event import HEARTBEAT, MERGE_RANK, STATEFUL, Event, rank
from monitor.core.forms import form_for
from monitor.core.pattern import Shape
from monitor.core.place import Registry
from monitor.core.rule import CaseRule
from monitor.core.verdict import Form, Plan

NONE: Final = -1
"""Belongs to no journey: a heartbeat, or demographics that no rule asks for."""
IDLE: Final = 0
"""Moves nobody, undoes nothing and concerns no rule: it is known, and nothing follows."""
PLAIN: Final = 1
"""Stands at its place in the journey and changes nothing before it."""
WEIGHTY: Final = 2
"""A merge, a cancel or a correction: what came before may have to be read again."""


class Rulebook:
    """The forms of some rules, and their plans by shape, by move and by likeness of events."""

    __slots__ = ("_index", "_moves", "_plans", "_weights", "forms", "keeps_updates", "places", "registry")

    def __init__(self, rules: Sequence[CaseRule], registry: Registry) -> None:
        self.registry = registry
        self.places = registry.places()
        self.forms = [form_for(rule, registry) for rule in rules]
        self.keeps_updates = any(form.names("update") for form in self.forms)
        """Whether some rule can match an `update`; else they are not kept."""
        self._index = _Index(self.forms)
        self._plans: dict[Shape, tuple[Shape, Plan]] = {}
        self._moves: dict[tuple[str | None, str | None], Plan] = {}
        self._weights: dict[tuple[str, str | None, str], int] = {}

    def plan(self, event: Event, from_: str | None, to: str | None) -> tuple[Shape, Plan]:
        """The shape of an event in its place, and what the rules do with facts of that shape."""
        shape = (event.type, from_, to, event.source)
        found = self._plans.get(shape)  # type: ignore[call-overload]  # a tuple finds its equal
        if found is None:
            made = Shape(*shape)
            found = self._plans[made] = (made, self._plan(made))
        return found  # type: ignore[no-any-return]  # mypy does not see through the line above

    def _plan(self, shape: Shape) -> Plan:
        return [entry for form in self._index.of_shape(shape) for entry in form.plan(shape)]

    def moves(self, before: str | None, after: str | None) -> Plan:
        """What the rules do with facts that move a patient from one place to another."""
        plan = self._moves.get((before, after))
        if plan is None:
            forms = self._index.of_move(before, after)
            plan = [entry for form in forms for entry in form.moves(before, after)]
            self._moves[before, after] = plan
        return plan

    def weight(self, event: Event) -> int:
        """What an event can do to a journey: `NONE`, `IDLE`, `PLAIN` or `WEIGHTY`."""
        if event.replaces is not None or event.cancels is not None:
            return NONE if event.type == HEARTBEAT else WEIGHTY
        like = (event.type, event.to, event.source)
        weight = self._weights.get(like)
        if weight is None:
            weight = self._weights[like] = self._weigh(event)
        return weight

    def _weigh(self, event: Event) -> int:
        if event.type == HEARTBEAT or (event.type == "update" and not self.keeps_updates):
            return NONE
        if rank(event.type) >= MERGE_RANK:
            return WEIGHTY
        if event.type in STATEFUL or any(form.may_concern(event) for form in self._index.of_type(event.type)):
            return PLAIN
        return IDLE


class _Index:
    """Which forms to ask: found by a place or a type that they name, so that a thousand rules cost like a few.

    A pattern that names places is listed under these, one that names only types under those, any other always.
    """

    __slots__ = ("_by_from", "_by_move", "_by_to", "_by_type", "_by_type_alone", "_forms")

    def __init__(self, forms: Sequence[Form]) -> None:
        self._forms = forms
        self._by_to: _Listed = defaultdict(set)
        self._by_from: _Listed = defaultdict(set)
        self._by_type_alone: _Listed = defaultdict(set)
        self._by_type: _Listed = defaultdict(set)
        self._by_move: _Listed = defaultdict(set)
        for position, form in enumerate(forms):
            for reach in form.reaches():
                _list(self._by_type, reach.types, position)
                if reach.to is not None:
                    _list(self._by_to, reach.to, position)
                elif reach.from_ is not None:
                    _list(self._by_from, reach.from_, position)
                else:
                    _list(self._by_type_alone, reach.types, position)
            _list(self._by_move, form.move_places(), position)

    def of_shape(self, shape: Shape) -> list[Form]:
        """Those that may have a plan for facts of a shape, in the order of the rules."""
        return self._in_order(
            _found(self._by_to, shape.to)
            | _found(self._by_from, shape.from_)
            | _found(self._by_type_alone, shape.type)
        )

    def of_type(self, event_type: str) -> list[Form]:
        """Those of which some pattern may match events of a type."""
        return self._in_order(_found(self._by_type, event_type))

    def of_move(self, before: str | None, after: str | None) -> list[Form]:
        """Those that may have something to do with a move."""
        return self._in_order(_found(self._by_move, before) | _found(self._by_move, after))

    def _in_order(self, positions: set[int]) -> list[Form]:
        return [self._forms[position] for position in sorted(positions)]


_ANY: Final = "\0any"
_Listed = defaultdict[str | None, set[int]]
"""Positions of forms by what they name; under `_ANY` those that name nothing."""


def _list(listed: _Listed, names: Iterable[str | None] | None, position: int) -> None:
    for name in (_ANY,) if names is None else names:
        listed[name].add(position)


def _found(listed: _Listed, name: str | None) -> set[int]:
    return listed.get(name, _NOBODY) | listed.get(_ANY, _NOBODY)


_NOBODY: Final[set[int]] = set()
