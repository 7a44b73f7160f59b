"""Rules made ready for a registry, and what they have to do with each kind of event: worked out once, then remembered."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.core.event import MERGE_RANK, STATEFUL, Event, rank
from monitor.core.forms import form_for
from monitor.core.pattern import Shape
from monitor.core.place import Registry
from monitor.core.rule import CaseRule
from monitor.core.verdict import Plan


class Rulebook:
    """The forms of some rules, and their plans by shape, by move and by likeness of events."""

    __slots__ = ("_idle", "_moves", "_plans", "forms", "keeps_updates", "places", "registry")

    def __init__(self, rules: Sequence[CaseRule], registry: Registry) -> None:
        self.registry = registry
        self.places = registry.places()
        self.forms = [form_for(rule, registry) for rule in rules]
        self.keeps_updates = any(form.names("update") for form in self.forms)
        """Whether some rule can match an `update`; else they are not kept."""
        self._plans: dict[Shape, tuple[Shape, Plan]] = {}
        self._moves: dict[tuple[str | None, str | None], Plan] = {}
        self._idle: dict[tuple[str, str | None, str], bool] = {}

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

    def is_idle(self, event: Event) -> bool:
        """Whether an event can move nobody, undo nothing and concern no rule: it is known, and nothing follows."""
        if event.replaces is not None or event.cancels is not None:
            return False
        like = (event.type, event.to, event.source)
        idle = self._idle.get(like)
        if idle is None:
            idle = self._idle[like] = (
                event.type not in STATEFUL
                and rank(event.type) < MERGE_RANK
                and not any(form.may_concern(event) for form in self.forms)
            )
        return idle
