"""Cases, and what a rule must be able to do with them (contract, section 4).

A *form* is a rule made ready: it says which facts concern it (`plan`, `moves`), gathers on its cases what it has
seen as facts come in order, and judges a case at a clock. Judging is pure: what was gathered and the clock, nothing else.
The eight forms are in `monitor.core.forms`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from monitor.core.alert import Alert, Judgement, Policy
from monitor.core.calendar import calendar_deadline
from monitor.core.clock import Clock
from monitor.core.journey import Fact, Journey
from monitor.core.pattern import (
    Reach,
    Shape,
    Test,
    at_test,
    both,
    may_concern,
    may_match,
    pairing,
    reach,
    specialise,
)
from monitor.core.place import CalendarDays, Registry
from monitor.core.rule import CaseRule, PairPattern, PairPatterns, Pattern, Step
from monitor.core.text import CalendarDuration

OPEN = Judgement("open")


class Case(msgspec.Struct, eq=False, gc=False, kw_only=True):
    """One opportunity for a handoff to go right: what opened it, and what has been seen of it since."""

    form: Form
    trigger: Fact
    """The fact that opened it, by which it is known."""
    start: Fact | None
    """The fact from which its time runs; None while a pathway has not come so far."""
    step: int = 0
    due: Clock | None = None
    hit: Fact | None = None
    """The expected (or forbidden, or leaving) fact."""
    veto: Fact | None = None
    """The fact of `unless` or `until`."""
    found: list[Fact | None] | None = None
    """Of several expected facts, those that have been seen."""
    superseded: Fact | None = None
    previous: Case | None = None
    """The step before, of a pathway."""
    first: Fact | None = None
    """The fact that opened the first of two stays, of `exclusive`."""
    away_at: datetime | None = None
    """Since when a leave of absence has stopped the time of a stay."""
    gone: bool = False
    """Whether a newer reading of the journey has taken its place."""
    judged: Judgement | None = None
    """The judgement last told."""
    told_due: Clock | None = None
    """The deadline at that time; that of a stay moves when a leave begins or ends."""
    look_at: Clock | None = None
    """When the clock alone may next change anything of it, as of then."""
    alert: Alert | None = None


Handler = Callable[[Journey, Fact, list[Case]], None]
"""Takes the next fact of a journey and adds the cases that it opened or changed to the list."""
Plan = list[tuple[Test | None, Handler]]


class Form:
    """A rule made ready for one registry: the base of the eight forms."""

    __slots__ = ("can_be_overdue", "id", "pairs", "patterns", "policy", "registry", "rule")

    def __init__(self, rule: CaseRule, registry: Registry) -> None:
        self.id = rule.id
        self.can_be_overdue = rule.can_be_overdue
        self.rule: Any = rule
        self.registry = registry
        self.pairs = pairing(rule.same)
        self.patterns = patterns_of(rule)
        self.policy = Policy.of(rule)

    def plan(self, shape: Shape) -> Plan:
        """What to do with facts of a shape: tests (None: always) and handlers, in the order in which they apply."""
        raise NotImplementedError

    def moves(self, before: str | None, after: str | None) -> Plan:
        """What to do with facts that move a patient from one place to another."""
        return []

    def reaches(self) -> list[Reach]:
        """Which facts `plan` can have something to do with."""
        return [reach(pattern, self.registry) for pattern in self.patterns]

    def move_places(self) -> frozenset[str | None] | None:
        """The places in or out of which a move must go for `moves` to have something to do; None: any."""
        return frozenset()

    def judge(self, case: Case, now: Clock) -> Judgement | None:
        raise NotImplementedError

    def due(self, case: Case) -> Clock | None:
        """The first clock at which the deadline has been exceeded; None while there is none."""
        return case.due

    def give_up_at(self, case: Case) -> Clock | None:
        """When an overdue case is given up; None: never."""
        return None

    def next_turn(self, case: Case, now: Clock) -> Clock | None:
        """When the clock alone will next change the verdict on an open case."""
        due = self.due(case)
        if due is None or now < due:
            return due
        give_up_at = self.give_up_at(case)
        return give_up_at if give_up_at is not None and now < give_up_at else None

    def names(self, event_type: str) -> bool:
        """Whether events of a type can match one of the rule's patterns."""
        return any(may_match(pattern, event_type) for pattern in self.patterns)

    def may_concern(self, event_type: str, to: str | None, source: str) -> bool:
        """Whether an event of a type, location and source can match one of the rule's patterns."""
        return any(may_concern(each, event_type, to, source, self.registry) for each in self.patterns)

    def step_name(self, case: Case) -> str | None:
        return None

    def trigger_test(self, pattern: Pattern, shape: Shape) -> bool | Test:
        """Whether a fact opens a case: it matches, and the rule is active then."""
        return both(specialise(pattern, shape, self.registry), self.active_test(shape))

    def is_active(self, fact: Fact) -> bool:
        test = self.active_test(fact.shape)
        return test if isinstance(test, bool) else test(fact)

    def active_test(self, shape: Shape) -> bool | Test:
        return True if self.rule.active is None else at_test(self.rule.active, shape, self.registry)

    def deadline(self, start: Fact, limit: timedelta | CalendarDuration) -> Clock:
        """The first clock at which the deadline has been exceeded."""
        if isinstance(limit, timedelta):
            return (start.at + limit, 1)
        name = self.rule.calendar or self.registry.calendar
        days = self.registry.calendars.get(name) if name else None
        zone = self.registry.timezone_of(start.from_, start.to)
        return (calendar_deadline(start.at, limit, days or CalendarDays(), zone), 0)


class Wanted:
    """A pattern that is looked for beside a trigger, with the `same` that pairs the two."""

    __slots__ = ("known", "pairs", "pattern", "registry")

    def __init__(self, pattern: PairPattern, form: Form) -> None:
        self.pattern = pattern
        self.registry = form.registry
        self.pairs = pairing(pattern.same) if pattern.same is not None else form.pairs
        self.known: dict[Shape, bool | Test] = {}

    def test(self, shape: Shape) -> bool | Test:
        found = self.known.get(shape)
        if found is None:
            found = self.known[shape] = specialise(self.pattern, shape, self.registry)
        return found

    def holds(self, fact: Fact) -> bool:
        test = self.test(fact.shape)
        return test if isinstance(test, bool) else test(fact)


def wanted_of(patterns: PairPatterns, form: Form) -> list[Wanted]:
    """The patterns of a key that takes one or several."""
    return [Wanted(each, form) for each in (patterns if isinstance(patterns, list) else [patterns])]


def vetoed_by(vetoes: list[Wanted], start: Fact, fact: Fact) -> bool:
    """Whether a fact is one of `unless` or `until` for what `start` began; which came first is for the caller to see."""
    for veto in vetoes:  # noqa: SIM110  # on the hot path, where `any` costs as much as the tests
        if veto.holds(fact) and veto.pairs(start, fact):
            return True
    return False


def entry(test: bool | Test, handler: Handler) -> Plan:
    """The plan that gives a handler the facts that pass a test."""
    if test is False:
        return []
    return [(None if test is True else test, handler)]


def patterns_of(rule: CaseRule) -> list[Pattern]:
    """Every pattern that a rule is written with."""
    found: list[Pattern] = []
    for name in type(rule).model_fields:
        value = getattr(rule, name)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Pattern):
                found.append(each)
            elif isinstance(each, Step):
                found.append(each.match)
    return found


def in_time(fact: Fact, due: Clock | None) -> bool:
    """Whether a fact is not after a deadline; exactly at it is in time, but a calendar's midnight is not."""
    return due is None or (fact.at, 0) < due
