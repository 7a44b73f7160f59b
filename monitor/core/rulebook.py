"""Rules made ready for a registry, and what they have to do with each kind of event: worked out once, then remembered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from monitor.core.event import HEARTBEAT, MERGE_RANK, STATEFUL, Event, rank
from monitor.core.forms import form_for
from monitor.core.pattern import Shape
from monitor.core.place import Registry
from monitor.core.rule import CaseRule
from monitor.core.verdict import Plan

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

    __slots__ = ("_moves", "_plans", "_weights", "forms", "keeps_updates", "places", "registry")

    def __init__(self, rules: Sequence[CaseRule], registry: Registry) -> None:
        self.registry = registry
        self.places = registry.places()
        self.forms = [form_for(rule, registry) for rule in rules]
        self.keeps_updates = any(form.names("update") for form in self.forms)
        """Whether some rule can match an `update`; else they are not kept."""
        self._plans: dict[Shape, tuple[Shape, Plan]] = {}
        self._moves: dict[tuple[str | None, str | None], Plan] = {}
        self._weights: dict[tuple[str, str | None, str], int] = {}

    def plan(self, event: Event, from_: str | None, to: str | None) -> tuple[Shape, Plan]:
        """The shape of an event in its place, and what the rules do with facts of that shape."""
        shape = (event.type, from_, to, event.source)
        found = self._plans.get(shape)  # type: ignore[call-overload]  # a tuple finds its equal
        if found is None:
            made = Shape(*shape)
            found = self._plans[made] = (made, [entry for form in self.forms for entry in form.plan(made)])
        return found  # type: ignore[no-any-return]  # mypy does not see through the line above

    def moves(self, before: str | None, after: str | None) -> Plan:
        """What the rules do with facts that move a patient from one place to another."""
        plan = self._moves.get((before, after))
        if plan is None:
            plan = [entry for form in self.forms for entry in form.moves(before, after)]
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
        if event.type in STATEFUL or any(form.may_concern(event) for form in self.forms):
            return PLAIN
        return IDLE
