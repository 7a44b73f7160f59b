"""Rules made ready for a registry, and what they have to do with each kind of event: worked out once, then remembered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from monitor.core.event import HEARTBEAT, MERGE_RANK, STATEFUL, rank
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
    """The forms of some rules, and what they have to do with facts, moves and events: tables that fill as they are asked."""

    __slots__ = ("forms", "moves", "places", "plans", "registry", "weights")

    def __init__(self, rules: Sequence[CaseRule], registry: Registry) -> None:
        self.registry = registry
        self.places = registry.places()
        self.forms = [form_for(rule, registry) for rule in rules]
        index = _Index(self.forms)
        self.plans = _Plans(index)
        self.moves = _Moves(index)
        self.weights = _Weights(index)


class _Plans(dict[tuple[str, str | None, str | None, str], tuple[Shape, Plan]]):
    """By type, mapped `from` and `to`, and source: the shape, and what the rules do with facts of it."""

    def __init__(self, index: _Index) -> None:
        super().__init__()
        self._index = index

    def __missing__(self, key: tuple[str, str | None, str | None, str]) -> tuple[Shape, Plan]:
        shape = Shape(*key)
        plan = [entry for form in self._index.of_shape(shape) for entry in form.plan(shape)]
        found = self[shape] = (shape, plan)
        return found


class _Moves(dict[tuple[str | None, str | None], Plan]):
    """By the places before and after: what the rules do with facts that move a patient so."""

    def __init__(self, index: _Index) -> None:
        super().__init__()
        self._index = index

    def __missing__(self, move: tuple[str | None, str | None]) -> Plan:
        plan = self[move] = [entry for form in self._index.of_move(*move) for entry in form.moves(*move)]
        return plan


class _Weights(dict[tuple[str, str | None, str, bool], int]):
    """By type, `to`, source, and whether it names no other event: what an event can do to a journey.

    `NONE`, `IDLE`, `PLAIN` or `WEIGHTY`. An `update` is nothing unless some rule can match one.
    """

    def __init__(self, index: _Index) -> None:
        super().__init__()
        self._index = index

    def __missing__(self, key: tuple[str, str | None, str, bool]) -> int:
        weight = self[key] = self._weigh(*key)
        return weight

    def _weigh(self, event_type: str, to: str | None, source: str, is_alone: bool) -> int:
        forms = self._index.of_type(event_type)
        if event_type == HEARTBEAT:
            return NONE
        if not is_alone:
            return WEIGHTY
        if event_type == "update" and not any(form.names("update") for form in forms):
            return NONE
        if rank(event_type) >= MERGE_RANK:
            return WEIGHTY
        if event_type in STATEFUL or any(form.may_concern(event_type, to, source) for form in forms):
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
